"Tell things apart from photos of them."
__version__ = "0.1.0"
__url__ = "" # where the maintainers can be reached; search engines are told. A fork fills it in
