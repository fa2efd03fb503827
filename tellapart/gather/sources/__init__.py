"Sources of photos: one module per source, all in the registry `SOURCES`"
from importlib import import_module
from pkgutil import iter_modules
from .base import SOURCES as SOURCES, Candidate as Candidate, SearchError as SearchError, source as source

for _o in iter_modules(__path__): import_module(f'{__name__}.{_o.name}') # each registers its source
