"Each project of ours, from nothing to answers, as a person rehearses it"
import io, json, os, shutil, subprocess, sys
from pathlib import Path
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from tellapart.project import read_project

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.training]


def tellapart(*args, cwd):
    env = os.environ | dict(TELLAPART_PROJECT='')
    done = subprocess.run([sys.executable, '-m', 'tellapart', *args], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize('project', sorted(o.stem for o in ROOT.glob('projects/*.toml')))
def test_rehearsal(project, tmp_path, picture):
    "What it prints at its end is what it found; photos are credited, and most are classified as what they show"
    (tmp_path/'projects').mkdir()
    shutil.copy(ROOT/f'projects/{project}.toml', tmp_path/'projects')
    told = tellapart('run', '--rehearse', '--project', f'projects/{project}.toml', cwd=tmp_path)
    p = read_project(tmp_path/f'projects/{project}.toml', rehearse=True)
    summary = json.loads((p.folder/'summary.json').read_text('utf-8'))
    assert summary and told.endswith('\n'.join(summary.values()) + '\n')
    credited = set(pd.read_csv(p.folder/'CREDITS.csv').file)
    assert credited == {o.name for o in p.photos.rglob('*') if o.is_file()} # also after cleaning
    photos = sorted(p.working.rglob('*.jpg'))[::2]
    answers = [json.loads(o) for o in tellapart('classify', '--json', '--export', p.export, *photos, cwd=tmp_path).splitlines()]
    assert [o['photo'] for o in answers] == [str(o) for o in photos]
    assert {o['label'] for o in answers} <= p.labels.keys()
    right = [o['label'] == Path(o['photo']).parent.name for o in answers]
    assert sum(right) > .8*len(right)
    picture(f'projects/{project}', as_offered(p))
    if project == 'emotions': picture('projects/emotions-augmented', augmented(p))


def as_offered(p):
    "The first six photos of each label, as the search offered them"
    from tellapart.catalog import Catalog
    from tellapart.check.check import contact_sheet
    from tellapart.demo.web import ground_truth_of, load_ground_truth
    truth = load_ground_truth(p.ground_truth)
    with Catalog(p.folder) as catalog: rows = {ground_truth_of(truth, o.url).id: o.path for o in catalog.frame('all').itertuples()}
    shown = [(o.offered, [rows[i] for i,t in truth.items() if t.offered == o.offered and i in rows][:6])
             for o in {o.offered: o for o in truth.values()}.values()]
    shown = [(label, path) for label,paths in sorted(shown) for path in paths]
    sheet = contact_sheet([path for _,path in shown], [label for label,_ in shown], columns=12, side=76)
    sheet.quantize(128).save(f := io.BytesIO(), 'PNG') # a quarter of the size
    return f.getvalue()


def augmented(p):
    "One photo as the model gets to see it in eight epochs"
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, aug_transforms, get_image_files, parent_label, set_seed
    from tellapart.check.splits import CatalogSplitter
    from tellapart.train.resize import resize_transform
    from tellapart.train.train import dataloaders
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                      item_tfms=resize_transform('random crop', 160, min_scale=p.train.min_scale), batch_tfms=aug_transforms())
    set_seed(1, reproducible=True)
    dataloaders(block, p.working, p).show_batch(max_n=8, nrows=2, unique=True, figsize=(10, 5.4))
    plt.savefig(f := io.BytesIO(), format='png', dpi=70, bbox_inches='tight')
    return f.getvalue()
