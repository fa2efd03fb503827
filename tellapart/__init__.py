"Tell things apart from photos of them."
__version__ = "0.1.0"
