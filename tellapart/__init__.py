"Tell things apart from photos of them."
__version__ = "0.1.0"
__url__ = "" # Contact address, sent to search engines in the User-Agent; empty until a fork sets it
