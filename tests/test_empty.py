"The course's notebooks on a project without photos: each reports what is missing"
import json
from pathlib import Path
import matplotlib, pytest
from tellapart.errors import TellapartError

pytest.importorskip('fastai')
NOTEBOOKS = sorted((Path(__file__).resolve().parents[1]/'notebooks').glob('0*.ipynb'))


def cells(file): return [''.join(o['source']) for o in json.loads(file.read_text('utf-8'))['cells'] if o['cell_type'] == 'code']


@pytest.mark.parametrize('source, made', [('folder', 'own/cat own/dog'), ('csv', '')])
def test_a_notebook_stops_with_a_sentence(tmp_path, monkeypatch, source, made):
    for o in made.split(): (tmp_path/o).mkdir(parents=True)
    if source == 'csv': (tmp_path/'photos.csv').write_text('URL,Label\n/no/a.jpg,cat\nC:\\b.jpg,dog\n,dog\n')
    (tmp_path/'tellapart.toml').write_text(f'name = "pets"\nsource = "{source}"\n[labels]\ncat = "cat"\ndog = "dog"\n')
    monkeypatch.setenv('TELLAPART_PROJECT', str(tmp_path/'tellapart.toml'))
    monkeypatch.chdir(NOTEBOOKS[0].parent)
    matplotlib.use('agg')
    errors = {}
    for file in NOTEBOOKS:
        names = {}
        try:
            for cell in cells(file):
                if not cell.startswith('!'): exec(cell, names)
        except TellapartError as e: errors[file.stem] = str(e)
    assert list(errors) == [o.stem for o in NOTEBOOKS[1:]]
    assert "There is no photo of 'cat'; run 01_gather" in errors['02_check'] and 'too few photos' in errors['03_train']
    assert all(f'run {o} first' in errors[k] for k,o in [('04_clean', '03_train'), ('05_export', '03_train'), ('07_share', '05_export')])
