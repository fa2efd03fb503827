"Label errors: with a learner from its file and without, after labels have changed, and with few photos"
import io
import numpy as np
import pytest
from PIL import Image
from tellapart.catalog import Catalog
from tellapart.project import read_project

pytest.importorskip('fastai')
from fastai.vision.all import (DataBlock, CategoryBlock, ImageBlock, Normalize, error_rate, get_image_files,
                               imagenet_stats, parent_label, vision_learner)
from tellapart.check.check import check
from tellapart.check.check import working_copies
from tellapart.clean.label_errors import LabelErrorFinder, TrainingDynamics, find_label_errors
from tellapart.errors import TellapartError
from tellapart.check.inspection import inspect_image
from tellapart.check.splits import CatalogSplitter
from tellapart.train.resize import resize_transform
from tellapart.train.train import AutoMixedPrecision, dataloaders, find_callback, keep_best, load_trained, save_trained
from tellapart.train.weights import model_kwargs

PROJECT = '''name = "pets"
[labels]
cat = "cat"
dog = "dog"
[train]
size = 32
arch = "resnet10t"
weights = "none"
epochs = 5
lr = 5e-3
batch_size = 8
'''

pytestmark = pytest.mark.usefixtures('one_thread')


def project(folder, photos, settings=PROJECT):
    "A project in which cats are red and dogs are blue, but for four; and the names of those"
    (folder/'tellapart.toml').write_text(settings)
    p,rng,wrong = read_project(folder/'tellapart.toml'),np.random.default_rng(0),set()
    with Catalog(p.folder) as catalog:
        for i in range(photos):
            pixels = rng.integers(0, 100, (64, 64, 3), dtype='uint8')
            pixels[..., 2*(i%2)] += 150
            Image.fromarray(pixels).save(f := io.BytesIO(), 'PNG')
            file = catalog.add(['cat', 'dog'][(i + (i < 4)) % 2], f.getvalue(), **inspect_image(f.getvalue())[0])
            if i < 4: wrong.add(file)
    check(p)
    return p,wrong


def learner(p, cbs=()):
    "A learner as the notebook on training leaves it, and the one on cleaning finds it"
    photos = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                       item_tfms=resize_transform('white', p.train.size), batch_tfms=Normalize.from_stats(*imagenet_stats))
    dls = dataloaders(photos, p.working, p)
    learn = vision_learner(dls, **model_kwargs(p.train.arch, p.train.weights), metrics=error_rate, cbs=[AutoMixedPrecision(), *cbs])
    with learn.no_bar(), learn.no_logging(), keep_best(learn): learn.fine_tune(p.train.epochs, p.train.lr)
    save_trained(learn, photos, p)
    return load_trained(p)[0]


@pytest.fixture(scope='module')
def pets(tmp_path_factory): return project(tmp_path_factory.mktemp('label_errors'), 100)


@pytest.fixture(scope='module')
def learn(pets): return learner(pets[0], [TrainingDynamics()])


def test_photos_of_both_splits_are_ordered_by_score(pets, learn):
    p,wrong = pets
    found = find_label_errors(learn, p)
    with Catalog(p.folder) as catalog: df = catalog.frame().set_index('file')
    assert set(found.index) == set(df.index) and (found.label == df.label[found.index]).all()
    assert wrong <= set(found.index[:6])
    assert (found.label_error_score.diff()[1:] <= 0).all() and found.label_error_score.between(0, 1).all()
    given = found.given_probability
    assert np.allclose(found.probability, np.where(found.label == found.predicted, given, 1 - given), atol=1e-5)


def test_only_training_is_recorded(pets, learn):
    "Neither lr_find nor predicting adds to the probabilities; they are in the file, and training adds to them"
    p,_ = pets
    with Catalog(p.folder) as catalog: df = catalog.frame()
    def recorded(): return {k: len(v) for k,v in find_callback(learn, TrainingDynamics).probabilities.items()}
    before = recorded()
    assert before.keys() == set(df.file.str[:-4]) and {before[o] for o in df.file[df.split == 'valid'].str[:-4]} == {p.train.epochs + 1}
    learn.dls = dataloaders(load_trained(p)[1], p.working, p)
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=12, show_plot=False, suggest_funcs=None)
        learn.validate()
        learn.get_preds()
        assert recorded() == before
        learn.fit(1)
    assert all(recorded()[o] == before[o] + 1 for o in df.file[df.split == 'valid'].str[:-4])


def test_a_corrected_label_is_scored_anew(pets, learn):
    p,wrong = pets
    first,file = find_label_errors(learn, p),min(wrong)
    with Catalog(p.folder) as catalog: catalog.apply(labels={file: 'dog' if file.startswith('cat') else 'cat'})
    now = find_label_errors(learn, p)
    with Catalog(p.folder) as catalog: catalog.undo()
    moved, = set(now.index) - set(first.index)
    assert now.label_error_score[moved] < .5 < first.label_error_score[file]
    assert find_label_errors(learn, p).equals(first)


def test_corrections_teach_the_rest(pets, learn):
    "A corrected photo has its new label, one that is set aside isn't learned from, and nothing is written"
    p,wrong = pets
    finder,file = LabelErrorFinder(p, learn),min(wrong)
    first,other = finder.rank(),'dog' if file.startswith('cat') else 'cat'
    found = finder.rank({file: other, max(wrong): None})
    assert found.label[file] == other and found.label_error_score[file] < first.label_error_score[file]
    assert set(found.index) == set(first.index)
    assert finder.rank().label.equals(first.label[finder.rank().index])


def test_reasons_in_words(pets, learn):
    p,wrong = pets
    why = find_label_errors(learn, p).why
    assert all('nearest neighbours are' in why[o] and "a model that hasn't seen it says" in why[o] for o in wrong)
    assert sum(o == '' for o in why) > len(why)/2


@pytest.mark.long
def test_without_a_learner(pets):
    p,wrong = pets
    found = find_label_errors(None, p)
    assert wrong <= set(found.index[:8])


@pytest.mark.long
@pytest.mark.parametrize('photos', [{'cat': 1, 'dog': 12}, {'cat': 3, 'dog': 3}, {'cat': 8, 'dog': 8}])
def test_few_photos_and_photos_all_alike(tmp_path, photos):
    "A label with a single photo, three a label, and copies that differ by nothing but noise"
    (tmp_path/'tellapart.toml').write_text(PROJECT)
    p,rng = read_project(tmp_path/'tellapart.toml'),np.random.default_rng(0)
    with Catalog(p.folder) as catalog:
        for label,n in photos.items():
            for _ in range(n):
                pixels = rng.integers(120, 136, (64, 64, 3), dtype='uint8')
                Image.fromarray(pixels).save(f := io.BytesIO(), 'PNG')
                catalog.add(label, f.getvalue(), **inspect_image(f.getvalue())[0])
        df = catalog.frame()
        split = {file: dict(split='valid' if file in set(df.groupby('label').file.last()) else 'train') for file in df.file}
        catalog.set_metadata(split)
    working_copies(p, df)
    if 1 in photos.values():
        with pytest.raises(TellapartError, match='too few photos to train on'): find_label_errors(None, p)
        return
    found = find_label_errors(None, p)
    assert len(found) == sum(photos.values()) and found.label_error_score.between(0, 1).all()
