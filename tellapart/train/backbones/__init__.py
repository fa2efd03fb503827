"Networks of our own: one module each, registered with timm, so that `train.arch` can name them beside torchvision's and timm's."
from importlib import import_module
from pkgutil import iter_modules

for _o in iter_modules(__path__): import_module(f'{__name__}.{_o.name}') # each registers its network
