"Hosts for the app: one module per host, all in the registry `HOSTS`."
from importlib import import_module
from pkgutil import iter_modules
from .base import HOSTS as HOSTS, Host as Host, share as share

for _o in iter_modules(__path__): import_module(f'{__name__}.{_o.name}') # each registers itself
