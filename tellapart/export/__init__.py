"Export a trained model to `export.pkl`: the graph, 8 bits, thresholds."
from tellapart.errors import need

need('fastai', 'onnx', 'torch', extra='learn')

from .. import train as train # before the modules here, as it imports fastai without its warning
