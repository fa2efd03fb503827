"One export.pkl, two readers: what each needs, what they predict, and what happens when writing fails"
import json, os, pickle, subprocess, sys, zipfile
from functools import partial
from pathlib import Path
import numpy as np
import pytest
from exports import quick_learner
from tellapart.images import open_photo
from tellapart.use.classifier import Classifier, ExportError, decode_size, preprocess, read_meta

pytest.importorskip('fastai')
import pandas as pd, torch
from fastai.vision.all import (CategoryBlock, ColReader, CrossEntropyLossFlat, DataBlock, ImageBlock, ImageDataLoaders,
                               LabelSmoothingCrossEntropy, Learner, MultiCategoryBlock, Normalize, PILImageBW, RandomSplitter, Resize,
                               get_image_files, load_learner, nn, parent_label, resnet18, vision_learner)
from tellapart.export.export import _dataset_photos, export, upgrade
from tellapart.train.resize import RESIZE_METHODS, resize_transform


@pytest.fixture(scope='module')
def photos(export_pkl): return sorted(export_pkl.parent.glob('photos/*/*'))


@pytest.fixture
def learn(export_pkl): return quick_learner(export_pkl.parent/'photos', Resize(48))


FASTAI = """
import json, pathlib, pickle, sys, warnings
sys.modules['tellapart'] = None # as where it isn't installed
class Elsewhere(pickle.Unpickler): # as on an operating system that can't create this one's paths
    def find_class(self, module, name):
        def refuse(*args): raise NotImplementedError(f'cannot instantiate {name} on your system')
        return refuse if name in ('PosixPath', 'WindowsPath') else super().find_class(module, name)
elsewhere = type(sys)('elsewhere'); elsewhere.__dict__.update(pickle.__dict__, Unpickler=Elsewhere)
from fastai.learner import load_learner
learn = load_learner(sys.argv[1], pickle_module=elsewhere)
def probabilities(photo): return learn.predict(pathlib.Path(photo))[2].tolist()
with learn.no_bar(): print(json.dumps([[str(o) for o in learn.dls.vocab], *map(probabilities, sys.argv[2:])]))
"""


def test_fastai_and_classifier_agree_on_every_validation_photo(export_pkl, photos):
    "fastai reads it where tellapart isn't installed and this system's paths can't be created, and both compute the same probabilities"
    done = subprocess.run([sys.executable, '-c', FASTAI, export_pkl, *photos], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels,*theirs = json.loads(done.stdout.splitlines()[-1])
    classify = Classifier(export_pkl)
    assert classify.labels == labels == ['badminton', 'squash', 'tennis']
    predictions = list(classify.many(map(open_photo, photos))) # opened before: files are decoded at a smaller size
    ours = np.array([[dict(o.ranked)[label] for label in labels] for o in predictions])
    assert len(ours) == 12
    assert np.abs(ours - np.array(theirs)).max() < 1e-3
    assert np.allclose(ours.sum(1), 1, atol=1e-5)
    assert [o.label for o in predictions] == [o.label for o in classify.many(photos)] == [labels[i] for i in np.argmax(theirs, 1)]


@pytest.mark.parametrize('kept, chosen', [(('int8', 'float16'), 'int8'), (('float16',), 'float16'), ((), 'float32')])
def test_a_page_gets_the_smallest_weights_that_keep_the_labels(learn, tmp_path, monkeypatch, kept, chosen):
    rarest = learn.get_preds()[0].mean(0).argmin().item()
    spoilt = lambda w: w*0 + (np.eye(3, dtype='float32')[rarest] if w.shape == (3,) else 0) # says the rarest label of each photo
    monkeypatch.setattr('tellapart.export.export.round_weights', lambda w, dtype: w if dtype in kept else spoilt(w))
    meta = read_meta(export(learn, tmp_path/'export.pkl', int8=False))
    assert meta['page_weights'] == chosen and (meta['card'].get('page_agreement', 0) >= .99) == bool(kept)


@pytest.mark.parametrize('how', [*RESIZE_METHODS, 'white', '#123456'])
def test_both_readers_resize_in_the_same_way(export_pkl, photos, tmp_path, how):
    path = export(quick_learner(export_pkl.parent/'photos', resize_transform(how, 48)), tmp_path/'export.pkl')
    loaded,classify = load_learner(path),Classifier(path)
    for o in photos[::3]:
        with loaded.no_bar(): theirs = loaded.predict(o)[2].numpy()
        assert np.abs(theirs - [p for _,p in sorted(classify(o).ranked)]).max() < 1e-3
    if how == 'white': # a transform of ours, read by fastai where tellapart isn't installed
        done = subprocess.run([sys.executable, '-c', FASTAI.replace('with learn.no_bar(): ', ''), path, photos[0]], capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr


def test_nothing_of_this_computer_is_inside(export_pkl):
    "Neither the folder of the photos nor source lines from tracing"
    with zipfile.ZipFile(export_pkl) as z:
        for o in z.namelist():
            if '/data/' not in o: assert str(export_pkl.parent).encode() not in z.read(o), o
        assert b'site-packages' not in z.read('export/extra/graph.onnx')


def test_the_datablock_is_left_out(learn, tmp_path):
    "A learner that keeps the DataBlock it was made from, as the course's does, is exported without it and has it afterwards"
    learn.photos = photos = DataBlock(get_items=partial(get_image_files, folders=[str(tmp_path)]))
    with zipfile.ZipFile(export(learn, tmp_path/'export.pkl')) as z: assert str(tmp_path).encode() not in z.read('export/data.pkl')
    assert learn.photos is photos


def test_our_records_are_small(export_pkl):
    "The weights are in the file once; our records are a fraction of a resnet18's 45 MB"
    with zipfile.ZipFile(export_pkl) as z: assert sum(o.file_size for o in z.infolist() if '/extra/' in o.filename) < 128*2**10


def test_confident_on_nearly_all_correctly_classified_photos(export_pkl, photos):
    assert np.mean([o.confident for o,file in zip(Classifier(export_pkl).many(photos), photos) if o.label == file.parent.name]) >= .95


def test_the_learner_is_unchanged(learn, tmp_path):
    "Training can go on after an export"
    learn.fit(1)
    before = learn.model,learn.opt,learn.path,learn.dls.path
    export(learn, tmp_path/'export.pkl')
    assert all(a is b for a,b in zip(before, (learn.model, learn.opt, learn.path, learn.dls.path)))
    learn.fit(1)


@pytest.mark.parametrize('speed_up', [lambda o: o.model.to(memory_format=torch.channels_last), Learner.to_bf16, Learner.to_fp16],
                         ids=['channels last', 'bf16', 'fp16'])
def test_fast_training_is_exported_as_float32(learn, photos, tmp_path, speed_up):
    "Whatever makes training fast, the export is float32 in the usual layout, with its weights in the file once"
    speed_up(learn)
    path = export(learn, tmp_path/'export.pkl')
    loaded,classify = load_learner(path),Classifier(path)
    with loaded.no_bar(): theirs = loaded.predict(photos[0])[2].numpy()
    assert np.abs(theirs - [p for _,p in sorted(classify(photos[0]).ranked)]).max() < 1e-3
    assert len(classify.meta['weights']) == 4


def test_a_full_disk_leaves_the_previous_export(learn, tmp_path):
    "Where a file can't grow, the previous export is still there, and nothing else is"
    resource = pytest.importorskip('resource')
    import signal
    path = export(learn, tmp_path/'export.pkl')
    before,limits,handler = path.read_bytes(),resource.getrlimit(resource.RLIMIT_FSIZE),signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(ExportError, match="couldn't be written .*; what was there before is unchanged"): export(learn, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['export.pkl']


def test_each_run_keeps_its_export(learn, tmp_path):
    "A copy in the folder of the run that the learner is of; later exports leave it, and those of no run make none"
    file,kept = tmp_path/'export.pkl',{}
    for o in 'first','second': (tmp_path/'runs'/o).mkdir(parents=True)
    for learn.run_name in 'first','second','gone':
        learn.model[0].weight.data += 1
        export(learn, file, int8=False)
        kept[learn.run_name] = file.read_bytes()
    assert {o.parent.name: o.read_bytes() for o in tmp_path.glob('runs/*/*')} == {k: kept[k] for k in ('first', 'second')}
    assert len(set(kept.values())) == 3


def test_upgrade_of_a_plain_export(learn, photos, tmp_path, capsys):
    "An export by fastai alone classifies after the upgrade, and the user is warned that it is unpickled"
    learn.export(tmp_path/'plain.pkl')
    with pytest.raises(ExportError, match='tellapart export --from plain.pkl'): Classifier(tmp_path/'plain.pkl')
    upgrade(tmp_path/'plain.pkl', tmp_path/'plain.pkl')
    assert 'plain.pkl is being unpickled' in capsys.readouterr().err
    assert Classifier(tmp_path/'plain.pkl')(photos[0]).label in ('badminton', 'squash', 'tennis')
    with pytest.raises(ExportError, match='can be used as it is'):
        upgrade(tmp_path/'plain.pkl', tmp_path/'new.pkl') # it would lose its thresholds


@pytest.mark.parametrize('content,why', [(b'hello', "can't be loaded by fastai"), (None, "isn't there")])
def test_upgrade_of_what_is_no_export(tmp_path, content, why):
    if content: (tmp_path/'old.pkl').write_bytes(content)
    with pytest.raises(ExportError, match=why): upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl')
    assert not (tmp_path/'new.pkl').exists()


@pytest.mark.parametrize('labels', ['badminton', 'squash', 'tennis'], ids=['three', 'two', 'one'])
@pytest.mark.parametrize('loss', [None, nn.BCEWithLogitsLoss()], ids=["fastai's loss", "torch's"])
def test_several_labels_at_once_are_refused(photos, tmp_path, labels, loss):
    "A multi-label model is refused, however many labels there are"
    some = [o for o in photos if o.parent.name >= labels]
    block = DataBlock((ImageBlock, MultiCategoryBlock), get_y=lambda o: [o.parent.name], splitter=RandomSplitter(.5, seed=1),
                      item_tfms=Resize(48))
    learn = vision_learner(block.dataloaders(some, bs=1, num_workers=0), resnet18, pretrained=False, loss_func=loss)
    with pytest.raises(ExportError, match='several labels at once'): export(learn, tmp_path/'export.pkl')
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('loss', [nn.CrossEntropyLoss(), nn.functional.cross_entropy, LabelSmoothingCrossEntropy()],
                         ids=["torch's", 'function', 'smoothed'])
def test_any_cross_entropy_will_do(photos, tmp_path, loss):
    "Also torch's own, which doesn't define probabilities, and with two labels, too"
    dls = ImageDataLoaders.from_path_func(tmp_path, [o for o in photos if o.parent.name != 'tennis'], parent_label, valid_pct=.5, seed=1,
                                          item_tfms=Resize(48), bs=2, num_workers=0)
    learn = Learner(dls, nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
                    loss_func=loss)
    classify = Classifier(export(learn, tmp_path/'export.pkl'))
    x, = dls.test_dl(photos[:1]).one_batch()
    with torch.no_grad(): theirs = learn.model.cpu()(x.cpu()).softmax(1)[0]
    assert np.abs(theirs.numpy() - [p for _,p in sorted(classify(photos[0]).ranked)]).max() < 1e-3


def test_a_loss_without_probabilities_is_refused(learn, tmp_path):
    learn.loss_func = nn.MultiMarginLoss()
    with pytest.raises(ExportError, match="MultiMarginLoss doesn't define probabilities"): export(learn, tmp_path/'export.pkl')


@pytest.mark.parametrize('normalize', [None, Normalize.from_stats([.4], [.2]), Normalize.from_stats([.4, .5, .6], [.2, .3, .4])],
                         ids=['plain', 'one channel', 'three channels'])
def test_photos_in_grey(photos, tmp_path, normalize):
    "A network for grey images predicts as fastai does, in 8 bits nearly so, and explains its predictions"
    block = DataBlock((ImageBlock(PILImageBW), CategoryBlock), get_y=parent_label, splitter=RandomSplitter(.5, seed=1),
                      item_tfms=resize_transform('white', 48), batch_tfms=normalize)
    channels = 3 if normalize and normalize.mean.numel() == 3 else 1
    model = nn.Sequential(nn.Conv2d(channels, 4, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    learn = Learner(block.dataloaders(photos, bs=4, num_workers=0), model, loss_func=CrossEntropyLossFlat())
    learn.remove_cb(learn.progress)
    learn.fit(2, 1e-2)
    plain = Classifier(export(learn, tmp_path/'export.pkl', int8=True), int8=False)
    assert plain.meta['mode'] == 'L'
    for o in photos[::3]:
        theirs = [float(p) for p in learn.predict(PILImageBW.create(o))[2]]
        assert np.abs(np.subtract(theirs, [p for _,p in sorted(plain(open_photo(o)).ranked)])).max() < 1e-3
        assert np.abs(np.subtract(theirs, [p for _,p in sorted(Classifier(plain.path)(o).ranked)])).max() < .1
    assert plain.explain(photos[0]).size == (48, 48) and plain.explain(photos[0]).mode == 'RGB'
    png = next(o for o in photos if o.suffix == '.png')
    assert plain(png) == plain(open_photo(png, 96).convert('L').convert('RGB'))


def is_squash(o): return Path(o).parent.name == 'squash'


@pytest.mark.parametrize('where', ['__main__', 'somebodys_notebook'])
def test_upgrade_without_the_label_function(photos, tmp_path, where):
    "An export that refers to a function of somebody's notebook is read without it; one that refers to their network needs it, and says so"
    class Net(nn.Sequential): pass
    layers = nn.Conv2d(3, 4, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    there = sys.modules.setdefault(where, type(sys)(where))
    for o in is_squash, Net: setattr(there, o.__name__, o); o.__module__,o.__qualname__ = where,o.__name__
    block = DataBlock((ImageBlock, CategoryBlock), get_y=is_squash, splitter=RandomSplitter(.5, seed=1), item_tfms=Resize(48))
    for net,file in (nn.Sequential, 'old.pkl'), (Net, 'own.pkl'):
        learn = Learner(block.dataloaders(photos, bs=2, num_workers=0), net(*layers), loss_func=CrossEntropyLossFlat())
        learn.export(tmp_path/file, pickle_module=pickle)
    for o in is_squash, Net: delattr(there, o.__name__)
    if where != '__main__': del sys.modules[where]
    classify = Classifier(upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl'))
    assert classify.labels == ['False', 'True'] and classify(photos[0]).label in classify.labels
    loaded = load_learner(tmp_path/'new.pkl')
    with loaded.no_bar():
        assert np.abs(loaded.predict(photos[0])[2].numpy() - [p for _,p in sorted(classify(photos[0]).ranked)]).max() < 1e-3
    with pytest.raises(ExportError, match=rf"own.pkl needs .*{where}\.Net.*, which isn't here"):
        upgrade(tmp_path/'own.pkl', tmp_path/'other.pkl')
    assert not (tmp_path/'other.pkl').exists()


def test_an_error_before_writing_is_not_reported_as_writing(learn, tmp_path):
    class Odd(nn.Module):
        def forward(self, x): raise RuntimeError('shapes cannot be multiplied')
    learn.model = nn.Sequential(learn.model, Odd())
    with pytest.raises(Exception, match='shapes cannot be multiplied') as e: export(learn, tmp_path/'export.pkl')
    assert "couldn't be written" not in str(e.value) and not os.listdir(tmp_path)


def test_thresholds_are_fitted_on_files_as_the_classifier_reads_them(photos, tmp_path):
    "Also where the files are in a table, or each item is only the name of one"
    (tmp_path/'large').mkdir()
    for o in photos: open_photo(o).resize((900, 700)).save(tmp_path/'large'/f'{o.stem}.jpg')
    table = pd.DataFrame(dict(file=[str(tmp_path/'large'/f'{o.stem}.jpg') for o in photos], label=[o.parent.name for o in photos]))
    sources = dict(table=(table, ColReader('file'), ColReader('label')),
                   names=([Path(o).name for o in table.file], lambda o: tmp_path/'large'/o, lambda o: o.split('-')[0]))
    for source,get_x,get_y in sources.values():
        block = DataBlock((ImageBlock, CategoryBlock), get_x=get_x, get_y=get_y, splitter=RandomSplitter(.5, seed=1), item_tfms=Resize(64))
        learn = Learner(block.dataloaders(source, bs=4, num_workers=0),
                        nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
                        loss_func=CrossEntropyLossFlat())
        classify = Classifier(export(learn, tmp_path/'export.pkl'))
        ds = learn.dls.valid_ds
        items = ds.items.itertuples() if source is table else ds.items
        files = [Path(get_x(o)) for o in items]
        meta = classify.meta
        for (ours,_),file in zip(_dataset_photos(ds, meta, ''), files, strict=True):
            assert np.array_equal(ours, preprocess(open_photo(file, decode_size(meta)), meta))
