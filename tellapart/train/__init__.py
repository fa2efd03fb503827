"Train with fastai: resizing, data loaders, callbacks, time estimate, report."
import warnings
from importlib import import_module
from tellapart.errors import need

need('fastai', 'torch', extra='learn')

with warnings.catch_warnings(): # fastai uses torch.jit.script when it is imported, which only fastai's authors can change
    warnings.filterwarnings('ignore', message='.*torch.jit.script.*', category=FutureWarning)
    import_module('fastai.vision.all')
