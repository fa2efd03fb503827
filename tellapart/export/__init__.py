"Export a trained model to `export.pkl`: the graph, 8 bits, thresholds."
from tellapart.errors import need

need('fastai', 'onnx', 'torch', extra='learn')

import tellapart.train # First, as it imports fastai without its warning
