"Classify photos with an `export.pkl`, without torch or fastai: predictions, explanations, web app, sorting."
