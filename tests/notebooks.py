"What the tests of running notebooks share"
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def notebook(file, *cells):
    "Write a notebook: code cells, and markdown ones that begin with #"
    nb = new_notebook(cells=[(new_markdown_cell if o.startswith('# ') else new_code_cell)(o) for o in cells])
    nbformat.write(nb, file)
    return file.read_bytes()
