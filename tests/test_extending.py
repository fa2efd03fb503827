"docs/extending.md: its recipes for a way to split, a backbone and a host, each followed in a copy of the tree"
import pytest
from exports import FORMAT_4
from fresh import tracked
from notebooks import add_cells, write_notebook
from recipes import code_blocks, nbdev_export, run

pytest.importorskip('fastai')
SPLIT = '''
from pathlib import Path
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.splits import training_photos
from tellapart.demo.draw import draw
from tellapart.gather.gather import gather
from tellapart.project import read_project
for label in 'squash','tennis':
    for i in range(8):
        (file := Path('own', label, f'{i}.jpg')).parent.mkdir(parents=True, exist_ok=True)
        im = draw(label, i, size=(96, 72))
        exif = im.getexif()
        exif.get_ifd(0x8769)[0x9003] = f'2026:05:0{i + 1} 10:00:00'
        im.save(file, exif=exif)
text = 'name = "rackets"\\nsource = "folder"\\n[labels]\\nsquash = "s"\\ntennis = "t"\\n[train]\\nsplit = "latest"\\n'
Path('tellapart.toml').write_text(text)
p = read_project('tellapart.toml')
gather(p)
check(p)
with Catalog(p.folder) as catalog: df = catalog.frame()
assert set(df[df.split == 'valid'].taken.str[9]) == {'7', '8'} and len(training_photos(p)) == 16, df[['taken', 'split']]
'''
TRAIN = '''
import sys
sys.path.insert(0, 'tests')
from pathlib import Path
from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, RandomSplitter, Resize, get_image_files, parent_label, vision_learner
from exports import draw_photos
from tellapart.export.export import export
from tellapart.train.weights import model_kwargs
from tellapart.use.classifier import Classifier
for label in 'squash','tennis': draw_photos(Path('photos', label))
block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
                  splitter=RandomSplitter(seed=1), item_tfms=Resize(64))
learn = vision_learner(block.dataloaders('photos', bs=8, num_workers=0), **model_kwargs('resnet10_narrow', 'none'))
with learn.no_bar(), learn.no_logging(): learn.fit(1)
assert learn.model[0].model.conv1.out_channels == 64 and sum(o.numel() for o in learn.model[0].parameters()) < 2e6
classify = Classifier(export(learn))
assert classify.meta['arch'] == 'resnet10_narrow' and classify(get_image_files('photos')[0]).label in ('squash', 'tennis')
'''


@pytest.fixture
def tree(tmp_path): return tracked(tmp_path/'tree')


@pytest.mark.slow
def test_a_way_to_split(tree):
    method,lesson = code_blocks('A split method')
    add_cells(tree/'notebooks/library/05_split_methods.ipynb', method, lesson)
    nbdev_export(tree)
    run('-c', 'from nbdev.test import nbdev_test; nbdev_test("notebooks/library/05_split_methods.ipynb")', cwd=tree)
    run('-c', SPLIT, cwd=tree)


@pytest.mark.slow
@pytest.mark.training
def test_a_backbone(tree):
    write_notebook(tree/'notebooks/library/train/backbones/00_resnet10_narrow.ipynb', *code_blocks('A backbone'))
    nbdev_export(tree)
    run('-c', TRAIN, cwd=tree)


@pytest.mark.slow
def test_a_host(tree):
    write_notebook(tree/'notebooks/library/share/06_museum.ipynb', *code_blocks('A host'))
    nbdev_export(tree)
    told = run('-m', 'tellapart', 'share', 'museum', 'out', '--repo', 'me/fruits', '--export', FORMAT_4, cwd=tree)
    assert 'carry out to the desk' in told and 'https://museum.example/fruits' in (tree/'out/README.md').read_text('utf-8')
    run('-m', 'pytest', 'tests/share/test_share.py::test_each_host', 'tests/test_architecture.py', cwd=tree)
