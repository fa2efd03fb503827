"Sources of photos: one module per source, all in the registry `SOURCES`"
from importlib import import_module
from pkgutil import iter_modules
from .base import SOURCES, Candidate, source, SearchError

for _o in iter_modules(__path__): import_module(f'{__name__}.{_o.name}') # each registers its source
