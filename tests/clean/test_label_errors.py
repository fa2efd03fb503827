"Label errors: with a learner from its file, interrupted, and after a label has changed"
import io
import numpy as np
import pytest
from PIL import Image
from tellapart.catalog import Catalog
from tellapart.project import read_project

pytest.importorskip('fastai')
import torch
from fastai.vision.all import (Brightness, DataBlock, CategoryBlock, ImageBlock, Normalize, Transform, error_rate, get_image_files,
                               imagenet_stats, parent_label, vision_learner)
from tellapart.check.check import check
from tellapart.clean import label_errors
from tellapart.clean.label_errors import TrainingDynamics, find_label_errors
from tellapart.check.inspection import inspect_image
from tellapart.check.splits import CatalogSplitter, training_photos
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
    torch.manual_seed(7)
    found,drawn = find_label_errors(learn, p),torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3)) # chance goes on as if nothing had been
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


def test_cached_results_are_current(pets, learn, tmp_path, monkeypatch):
    "Other transforms, weights, versions, or photos under the same name make another key, and the same ones don't"
    p,_ = pets
    df = training_photos(p)
    learn.dls = dataloaders(load_trained(p)[1], p.working, p)
    def key(p=p): return label_errors._cache_key(learn, df, p)
    first = key()
    learn.dls.train.one_batch()
    assert key() == first
    learn.dls.train.after_batch.add(extra := Brightness(.5))
    other = key()
    learn.dls.train.after_batch.fs.remove(extra)
    keys = {first, other}
    for content in b'one', b'two':
        (tmp_path/'weights.pth').write_bytes(content)
        keys.add(key(p.model_copy(update=dict(train=p.train.model_copy(update=dict(weights=str(tmp_path/'weights.pth')))))))
    hub = p.model_copy(update=dict(train=p.train.model_copy(update=dict(weights='pretrained'))))
    for there in False, True: # offline the first time
        monkeypatch.setattr('tellapart.train.weights._reachable', lambda url, there=there: there)
        keys.add(key(hub))
    monkeypatch.setattr(label_errors, 'version', lambda o: '0')
    keys.add(key())
    monkeypatch.undo()
    keys.add(label_errors._cache_key(learn, df.assign(group_id='one'), p))
    assert len(keys) == 8 and key() == first


class Interrupt(Transform):
    "Ctrl-C, when so many photos have been opened"
    def __init__(self, after): self.after = after
    def encodes(self, o):
        self.after -= 1
        if not self.after: raise KeyboardInterrupt
        return o


def test_ctrl_c_leaves_nothing_behind(pets, learn):
    "Neither an answer that isn't whole, nor a model that has changed; and made from the start it is the same again, to the last digit"
    p,_ = pets
    first = find_label_errors(learn, p)
    for o in (p.folder/'label_errors').iterdir(): o.unlink()
    weights = {k: v.clone() for k,v in learn.model.state_dict().items()}
    learn.dls.train.after_item.add(stop := Interrupt(200))
    with pytest.raises(KeyboardInterrupt): find_label_errors(learn, p)
    learn.dls.train.after_item.fs.remove(stop)
    assert not any((p.folder/'label_errors').iterdir())
    assert all(torch.equal(v, weights[k]) for k,v in learn.model.state_dict().items())
    assert find_label_errors(learn, p).equals(first)


def test_a_corrected_label_is_scored_anew(pets, learn):
    p,wrong = pets
    first,file = find_label_errors(learn, p),min(wrong)
    with Catalog(p.folder) as catalog: catalog.apply(labels={file: 'dog' if file.startswith('cat') else 'cat'})
    now = find_label_errors(learn, p)
    with Catalog(p.folder) as catalog: catalog.undo()
    moved, = set(now.index) - set(first.index)
    assert now.label_error_score[moved] < .5 < first.label_error_score[file]
    assert find_label_errors(learn, p).equals(first)


def test_photos_that_filled_no_batch_have_a_score(tmp_path):
    "With two epochs and batches of eight, some of thirteen are left out each time"
    p,_ = project(tmp_path, 26, PROJECT.replace('epochs = 5', 'epochs = 1'))
    found = find_label_errors(learner(p), p)
    assert found.label_error_score.between(0, 1).all() and len(found) == 26
    assert 0 < np.isclose(found.label_error_score, 1 - found.given_probability).sum() < 26
