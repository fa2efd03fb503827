"Train with fastai: resize, loaders, callbacks, estimate, report."
import warnings
from tellapart.errors import need

need('fastai', 'torch', extra='learn')

# fastai and torch warn whoever runs a notebook of what only their own makers can change.
warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="load_learner", category=UserWarning)
