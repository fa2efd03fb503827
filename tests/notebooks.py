"What the tests of running notebooks share"
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def notebook(file, *cells, parameters=''):
    "Write a notebook: code cells, and markdown ones that begin with #; before them a cell of parameters"
    nb = new_notebook(cells=[(new_markdown_cell if o.startswith('# ') else new_code_cell)(o) for o in cells])
    if parameters: nb.cells.insert(0, new_code_cell(parameters, metadata=dict(tags=['parameters'])))
    nbformat.write(nb, file)
    return file.read_bytes()
