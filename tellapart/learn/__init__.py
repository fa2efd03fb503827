"From an idea to `export.pkl`: gather, check, train, clean, export."
import warnings
from tellapart.errors import need

need("fastai", extra="learn")

# fastai and torch warn whoever runs a notebook of what only their own makers can change.
warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="load_learner", category=UserWarning)
