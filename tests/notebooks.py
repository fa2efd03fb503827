"What the tests that write notebooks share"
import json
from itertools import count

_ids = count()


def cell(source, tags=()):
    "A cell as it stands in a notebook's file: markdown if it begins with #, else code"
    made = dict(cell_type='code', id=f'cell{next(_ids)}', metadata={'tags': [*tags]} if tags else {}, source=source)
    if source.startswith('# '):
        return made | dict(cell_type='markdown')
    return made | dict(outputs=[], execution_count=None)


def write_notebook(file, *cells, parameters=''):
    "Write a notebook of `cells`, and before them one of parameters; its bytes. nbformat would take seconds to import"
    cells = [*([cell(parameters, ['parameters'])] if parameters else []), *map(cell, cells)]
    metadata = dict(kernelspec=dict(name='python3', display_name='Python 3'))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(cells=cells, metadata=metadata, nbformat=4, nbformat_minor=5)), 'utf-8')
    return file.read_bytes()


def add_cells(file, *cells):
    "Add cells to the end of a notebook"
    nb = json.loads(file.read_text('utf-8'))
    nb['cells'] += map(cell, cells)
    file.write_text(json.dumps(nb), 'utf-8')
