"None of the labels, and 8 bits: what an export reads off photos is what its classifier then does"
import zipfile
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from exports import draw_photos, rewrite
from tellapart.cli import main
from tellapart.images import open_photo, shrink
from tellapart.use import classifier as model
from tellapart.use.classifier import Classifier, ExportError, read_meta

pytest.importorskip('fastai')
from fastai.vision.all import (CategoryBlock, CrossEntropyLossFlat, DataBlock, ImageBlock, ImageDataLoaders, Learner, Resize, error_rate, get_image_files, load_learner, nn, parent_label,
                               set_seed)
from tellapart.check.check import check
from tellapart.demo.draw import draw
from tellapart.export.export import export, upgrade
from tellapart.check.inspection import inspect_image
from tellapart.catalog import Catalog
from tellapart.project import read_project
from tellapart.check.splits import CatalogSplitter
from tellapart.train.train import dataloaders, save_trained

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stripes')
    for label in 'badminton', 'squash', 'tennis': draw_photos(folder/label, 50)
    for file in folder.glob('*/*'): shrink(open_photo(file), 64).save(file)
    return folder


@pytest.fixture(scope='module')
def strangers(tmp_path_factory):
    "Photos of things that aren't striped, and a file that is no photo"
    folder = tmp_path_factory.mktemp('strangers')
    for i in range(20): draw(None, i, size=(160, 120)).save(folder/f'{i}.jpg')
    (folder/'notes.txt').write_text('hello')
    return folder


def conv(a, b): return nn.Sequential(nn.Conv2d(a, b, 3, 2), nn.BatchNorm2d(b), nn.ReLU())


def learner(photos, model):
    dls = ImageDataLoaders.from_folder(photos, valid_pct=.4, seed=1, item_tfms=Resize(64), bs=10, num_workers=0)
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=error_rate)
    learn.remove_cb(learn.progress)
    return learn


@pytest.fixture(scope='module')
def learn(photos):
    "A learner that tells the stripes apart"
    set_seed(1, reproducible=True)
    learn = learner(photos, nn.Sequential(conv(3, 8), conv(8, 16), conv(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)))
    with learn.no_logging(): learn.fit_one_cycle(4, 1e-2)
    return learn


@pytest.fixture(scope='module')
def told(learn, strangers, tmp_path_factory):
    "An export that was measured with strangers, and chose itself whether to answer in 8 bits"
    return export(learn, tmp_path_factory.mktemp('told')/'export.pkl', strangers)


def test_the_card_says_what_the_classifier_does(told, learn, strangers):
    "Nearly all validation photos that are told rightly are answered for and most strangers turned away, as many as the card says, with a reason"
    classify,card = Classifier(told),read_meta(told)['card']
    ours = list(classify.many(learn.dls.valid_ds.items))
    theirs = list(classify.many(sorted(strangers.glob('*.jpg'))))
    right = [o.confident for o,file in zip(ours, learn.dls.valid_ds.items) if o.label == file.parent.name]
    assert (len(right), sum(right)) == (card['right'], card['right_sure']) and np.mean(right) >= .95
    assert (60 - len(right), sum(o.confident for o in ours) - sum(right)) == (card['wrong'], card['wrong_sure'])
    assert len(theirs) == card['strangers'] == 20 and np.mean([not o.confident for o in theirs]) == card['strangers_turned_away'] > .8
    assert card['strangers_auroc'] > .9
    assert all(bool(o.reason) != o.confident for o in ours + theirs)
    assert any(o.reason.startswith('It may be none of these') for o in theirs)


def test_without_strangers_to_choose_by(learn, strangers, tmp_path):
    "Photos that look otherwise are turned away, and new ones of the right kind are not"
    path = export(learn, tmp_path/'export.pkl')
    for label in 'badminton', 'squash', 'tennis': draw_photos(tmp_path/label, 80)
    new = sorted(o for o in tmp_path.glob('*/*') if int(o.stem.split('-')[1]) >= 50)
    for file in new: shrink(open_photo(file), 64).save(file)
    classify = Classifier(path)
    assert read_meta(path)['thresholds']['graph']['none']['score'] == 'nearness'
    assert np.mean([not o.confident for o in classify.many(sorted(strangers.glob('*.jpg')))]) > .8
    assert np.mean([o.confident for o in classify.many(new)]) > .85


def test_too_few_photos_to_be_near_to(photos, learn, tmp_path):
    "A model that has learned from five photos tells strangers by its outputs alone"
    for label,n in dict(badminton=3, squash=3, tennis=2).items():
        (tmp_path/label).mkdir()
        for file in sorted((photos/label).iterdir())[:n]: (tmp_path/label/file.name).write_bytes(file.read_bytes())
    few = learner(tmp_path, learn.model)
    assert len(few.dls.train_ds) == 5 and read_meta(export(few, tmp_path/'export.pkl'))['thresholds']['graph']['none']['score'] == 'energy'


def test_eight_bits_are_chosen_where_labels_stay(told, learn):
    "Unasked, they answer if 99.5 % of the labels stay, and the card says how many do"
    meta,photos = read_meta(told),learn.dls.valid_ds.items
    eight,full = (list(Classifier(told, int8=o).many(photos)) for o in (True, False))
    assert np.mean([a.label == b.label for a,b in zip(eight, full)]) == meta['card']['int8_agreement'] >= .995
    assert 'int8' in meta['graphs'] and eight != full


def test_eight_bits_where_there_is_no_gpu_after_all(told, learn, monkeypatch):
    "An onnxruntime for GPUs on a machine without one, or without CUDA, answers as any other does there"
    photo = learn.dls.valid_ds.items[0]
    plain = Classifier(told)
    monkeypatch.setattr(model, 'GPU', True)
    classify = Classifier(told)
    assert (classify.graph, classify.gpu) == (plain.graph, plain.gpu) == ('int8', False) and classify(photo) == plain(photo)


def test_eight_bits_are_left_alone_where_labels_change(photos, tmp_path):
    "One channel that is far out of the others' range, and nothing is left of these in 8 bits"
    far = nn.Sequential(nn.Conv2d(3, 8, 5, stride=3), nn.Conv2d(8, 3, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    far[0].weight.data[0] *= 1e5
    far[1].weight.data[:, 0] = 0
    learn = learner(photos, far)
    meta = read_meta(export(learn, tmp_path/'export.pkl'))
    assert meta['card']['int8_agreement'] < .995 and 'int8' not in meta['graphs']
    assert 'int8' in read_meta(export(learn, tmp_path/'export.pkl', int8=True))['graphs']
    assert 'int8_agreement' not in read_meta(export(learn, tmp_path/'export.pkl', int8=False))['card']


def test_eight_bits_need_the_head_alone(told, learn, tmp_path):
    "What answers in 8 bits looks at no weights in 32 but the last layer's, and all stay as they were for fastai"
    photo,meta = learn.dls.valid_ds.items[0],read_meta(told)
    head = {f"{meta['folder']}/{meta['weights'][o][0]}" for o in meta['graphs']['int8']}
    with zipfile.ZipFile(told) as z: assert sum(z.getinfo(o).file_size for o in head) == 4*(3*32 + 3)
    without = rewrite(told, tmp_path/'without.pkl', lambda name, content: None if '/data/' in name and name not in head else content)
    assert Classifier(without)(photo) == Classifier(told)(photo)
    with pytest.raises(ExportError, match='without.pkl is damaged'): Classifier(without, int8=False)
    loaded = load_learner(told)
    with loaded.no_bar(): theirs = loaded.predict(photo)[2].numpy()
    assert np.abs(theirs - [p for _,p in sorted(Classifier(told, int8=False)(photo).ranked)]).max() < 1e-3


def test_little_is_added(told, learn):
    "A quarter of the weights for 8 bits, what describes each photo that nearness goes by, and a few kilobytes"
    with zipfile.ZipFile(told) as z: added = {Path(o.filename).name: o.file_size for o in z.infolist() if '/extra/' in o.filename}
    assert set(added) <= {'graph.onnx', 'head.onnx', 'int8.onnx', 'known-graph', 'known-int8', 'meta.json'}
    assert added['known-int8'] == added['known-graph'] == 4*(2*16 + 32)*90 # each graph sees photos in its own way
    assert sum(added.values()) < 120_000


def test_an_upgrade_has_nothing_to_read_off(told, learn, strangers, tmp_path):
    learn.export((tmp_path/'old.pkl').absolute())
    assert read_meta(upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl'))['thresholds']['graph']['none'] is None
    with pytest.raises(ExportError, match='beside validation photos'): upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl', strangers)
    with pytest.raises(ExportError, match='8 bits take validation photos'): upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl', int8=True)


def test_a_folder_without_strangers(learn, tmp_path):
    (tmp_path/'strangers').mkdir()
    (tmp_path/'strangers'/'notes.txt').write_text('hello')
    with pytest.raises(ExportError, match='There are no photos in .*strangers: name a folder with photos of anything but badminton, squash, tennis'):
        export(learn, tmp_path/'export.pkl', tmp_path/'strangers')
    assert not (tmp_path/'export.pkl').exists()


def test_a_network_without_maps(photos, tmp_path):
    "It answers, tells strangers by its outputs alone, and says that it can't say why"
    path = export(learner(photos, nn.Sequential(nn.Flatten(), nn.Linear(3*64*64, 3))), tmp_path/'export.pkl')
    assert read_meta(path)['thresholds']['graph']['none']['score'] == 'energy'
    with pytest.raises(ExportError, match="can't say what an answer rests on"): Classifier(path).explain(Image.new('RGB', (90, 90)))


def test_exporting_a_project(photos, strangers, tmp_path, capsys):
    "The command exports what the notebook on training has left, as the project wants it unless it is told otherwise, and says how well it answers"
    (tmp_path/'tellapart.toml').write_text('name = "stripes"\nint8 = true\n[labels]\nsquash = "squash"\ntennis = "tennis"\n[train]\nsize = 64\nbatch_size = 8\n')
    p = read_project(tmp_path/'tellapart.toml')
    command = ['export', '--project', str(p.file), '--strangers', str(strangers)]
    assert main(command) == 1 and 'stripes has not been trained yet' in capsys.readouterr().err
    with Catalog(p.folder) as catalog:
        for label in p.labels:
            for file in sorted((photos/label).iterdir())[:12]: catalog.add(label, file.read_bytes(), **inspect_image(file.read_bytes())[0])
    check(p)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p), item_tfms=Resize(64))
    learn = Learner(dataloaders(block, p.working, p), nn.Sequential(conv(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)), loss_func=CrossEntropyLossFlat(), metrics=error_rate)
    save_trained(learn, block, p)
    capsys.readouterr()
    assert main(command) == 0
    said,meta = capsys.readouterr().out,read_meta(p.export)
    assert f'Wrote {p.export}. It is sure of' in said and 'Of 20 strangers it turns' in said and 'It answers in 8 bits' in said
    assert 'int8' in meta['graphs'] and meta['card']['project'] == 'stripes' and 0 <= meta['card']['error_rate'] <= 1
    assert main([*command, '--no-int8', '--to', str(tmp_path/'other.pkl')]) == 0
    assert 'int8' not in read_meta(tmp_path/'other.pkl')['graphs']
