"From an idea to `export.pkl`: gather, check, train, clean, export."
import sys, warnings
from importlib.util import find_spec
from tellapart.errors import need

_PLAIN = 'project', 'sources' # A project's file is read and written by a plain install, too

class _Missing:
    "Says what to install where any other module is imported without the extra"
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith(f'{__name__}.') and name.rpartition('.')[2] not in _PLAIN: need("fastai", extra="learn")

if find_spec("fastai") is None: sys.meta_path.insert(0, _Missing)

# fastai and torch warn whoever runs a notebook of what only their own makers can change.
warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
warnings.filterwarnings("ignore", message="load_learner", category=UserWarning)
