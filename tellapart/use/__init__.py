"From `export.pkl` to answers, with neither torch nor fastai."
