"From an idea to `export.pkl`: gather, check, train, clean, export."
from tellapart.errors import need

need("fastai", extra="learn")
