"Out-of-distribution photos and 8 bits: the classifier does what the export measured"
import zipfile
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from exports import conv, draw_photos, learner, rewrite
from tellapart.cli import main
from tellapart.images import open_photo, shrink
from tellapart.use import classifier as model
from tellapart.use.classifier import Classifier, ExportError, read_meta

pytest.importorskip('fastai')
from fastai.vision.all import (CategoryBlock, CrossEntropyLossFlat, DataBlock, ImageBlock, Learner, Resize, error_rate, get_image_files,
                               load_learner, nn, parent_label)
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
def ood_photos(tmp_path_factory):
    "Photos of objects without stripes, and a file that is no photo"
    folder = tmp_path_factory.mktemp('ood_photos')
    for i in range(20): draw(None, i, size=(160, 120)).save(folder/f'{i}.jpg')
    (folder/'notes.txt').write_text('hello')
    return folder


@pytest.fixture(scope='module')
def exported(learn, ood_photos, tmp_path_factory):
    "An export that was measured with OOD photos, and chose by itself whether to use 8 bits"
    return export(learn, tmp_path_factory.mktemp('exported')/'export.pkl', ood_photos)


def test_the_card_says_what_the_classifier_does(exported, learn, ood_photos):
    "It is confident on nearly all correctly classified photos and rejects most OOD photos, as many as the card says"
    classify,card = Classifier(exported),read_meta(exported)['card']
    ours = list(classify.many(learn.dls.valid_ds.items))
    theirs = list(classify.many(sorted(ood_photos.glob('*.jpg'))))
    correct = [o.confident for o,file in zip(ours, learn.dls.valid_ds.items) if o.label == file.parent.name]
    assert (len(correct), sum(correct)) == (card['correct'], card['correct_confident']) and np.mean(correct) >= .95
    assert (60 - len(correct), sum(o.confident for o in ours) - sum(correct)) == (card['wrong'], card['wrong_confident'])
    assert len(theirs) == card['ood'] == 20 and np.mean([not o.confident for o in theirs]) == card['ood_rejected'] > .8
    assert card['ood_auroc'] > .9
    assert all(bool(o.reason) != o.confident for o in ours + theirs)
    assert any(o.reason.startswith('It may be none of these') for o in theirs)


def test_without_ood_photos_to_fit_on(learn, ood_photos, tmp_path):
    "It rejects photos that look different, and not new photos of the labels"
    path = export(learn, tmp_path/'export.pkl')
    for label in 'badminton', 'squash', 'tennis': draw_photos(tmp_path/label, 80)
    new = sorted(o for o in tmp_path.glob('*/*') if int(o.stem.split('-')[1]) >= 50)
    for file in new: shrink(open_photo(file), 64).save(file)
    classify = Classifier(path)
    assert read_meta(path)['thresholds']['graph']['ood']['score'] == 'knn'
    assert np.mean([not o.confident for o in classify.many(sorted(ood_photos.glob('*.jpg')))]) > .8
    assert np.mean([o.confident for o in classify.many(new)]) > .85


def test_too_few_reference_photos(photos, learn, tmp_path):
    "A model that was trained on five photos has the energy score"
    for label,n in dict(badminton=3, squash=3, tennis=2).items():
        (tmp_path/label).mkdir()
        for file in sorted((photos/label).iterdir())[:n]: (tmp_path/label/file.name).write_bytes(file.read_bytes())
    few = learner(tmp_path, learn.model)
    assert len(few.dls.train_ds) == 5 and read_meta(export(few, tmp_path/'export.pkl'))['thresholds']['graph']['ood']['score'] == 'energy'


def test_int8_is_chosen_where_labels_stay(exported, learn):
    "8 bits are the default if 99.5 % of the labels stay, and the card says how many do"
    meta,photos = read_meta(exported),learn.dls.valid_ds.items
    eight,full = (list(Classifier(exported, int8=o).many(photos)) for o in (True, False))
    assert np.mean([a.label == b.label for a,b in zip(eight, full)]) == meta['card']['int8_agreement'] >= .995
    assert 'int8' in meta['graphs'] and eight != full


def test_int8_where_cuda_cannot_be_used(exported, learn, monkeypatch):
    "An onnxruntime for GPUs on a machine without one, or without CUDA, uses 8 bits as any other does there"
    photo = learn.dls.valid_ds.items[0]
    plain = Classifier(exported)
    monkeypatch.setattr(model, 'has_cuda', lambda: True)
    classify = Classifier(exported)
    assert (classify.graph, classify.gpu) == (plain.graph, plain.gpu) == ('int8', False) and classify(photo) == plain(photo)


def test_each_graph_has_its_own_thresholds(exported, learn, monkeypatch):
    "By 8 bits, by 32, and where onnxruntime says that it runs on a GPU, which computes the graph of 32"
    thresholds,photos = read_meta(exported)['thresholds'],list(learn.dls.valid_ds.items)
    classifiers = [Classifier(exported), Classifier(exported, int8=False)]
    for o in 'has_cuda','_on_gpu': monkeypatch.setattr(model, o, lambda *_: True)
    classifiers.append(Classifier(exported))
    assert [o.graph for o in classifiers] == ['int8', 'graph', 'graph'] and classifiers[2].gpu
    assert thresholds['int8']['ood']['threshold'] != thresholds['graph']['ood']['threshold']
    for classify in classifiers:
        own,predictions = thresholds[classify.graph],list(classify.many(photos))
        assert all(o.confident == (not o.ood and o.probability >= own['probability']) for o in predictions)
        right = [o.confident for o,photo in zip(predictions, photos) if o.label == photo.parent.name]
        assert np.mean(right) >= .94


def test_int8_is_left_out_where_labels_change(photos, tmp_path):
    "One channel has a range so large that 8 bits lose the others"
    wide = nn.Sequential(nn.Conv2d(3, 8, 5, stride=3), nn.Conv2d(8, 3, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wide[0].weight.data[0] *= 1e5
    wide[1].weight.data[:, 0] = 0
    learn = learner(photos, wide)
    meta = read_meta(export(learn, tmp_path/'export.pkl'))
    assert meta['card']['int8_agreement'] < .995 and 'int8' not in meta['graphs']
    assert 'int8' in read_meta(export(learn, tmp_path/'export.pkl', int8=True))['graphs']
    assert 'int8_agreement' not in read_meta(export(learn, tmp_path/'export.pkl', int8=False))['card']


def test_int8_needs_the_weights_of_the_head_alone(exported, learn, tmp_path):
    "Of the weights in 32 bits, the graph in 8 reads the last layer's only; fastai still has all of them"
    photo,meta = learn.dls.valid_ds.items[0],read_meta(exported)
    head = {f"{meta['folder']}/{meta['weights'][o][0]}" for o in meta['graphs']['int8']}
    with zipfile.ZipFile(exported) as z: assert sum(z.getinfo(o).file_size for o in head) == 4*(3*32 + 3)
    without = rewrite(exported, tmp_path/'without.pkl', lambda name, content: None if '/data/' in name and name not in head else content)
    assert Classifier(without)(photo) == Classifier(exported)(photo)
    with pytest.raises(ExportError, match='without.pkl is damaged'): Classifier(without, int8=False)
    loaded = load_learner(exported)
    with loaded.no_bar(): theirs = loaded.predict(photo)[2].numpy()
    assert np.abs(theirs - [p for _,p in sorted(Classifier(exported, int8=False)(photo).ranked)]).max() < 1e-3


def test_little_is_added(exported, learn):
    "A quarter of the weights for 8 bits, the features of the reference photos, and a few kilobytes"
    with zipfile.ZipFile(exported) as z: added = {Path(o.filename).name: o.file_size for o in z.infolist() if '/extra/' in o.filename}
    assert set(added) <= {'graph.onnx', 'head.onnx', 'int8.onnx', 'reference-graph', 'reference-int8', 'meta.json'}
    assert added['reference-int8'] == added['reference-graph'] == 4*(2*16 + 32)*90 # each graph computes slightly different features
    assert sum(added.values()) < 120_000


def test_an_upgrade_has_no_photos_to_fit_on(exported, learn, ood_photos, tmp_path):
    learn.export((tmp_path/'old.pkl').absolute())
    assert read_meta(upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl'))['thresholds']['graph']['ood'] is None
    with pytest.raises(ExportError, match='compared with validation photos'): upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl', ood_photos)
    with pytest.raises(ExportError, match='8 bits need validation photos'): upgrade(tmp_path/'old.pkl', tmp_path/'new.pkl', int8=True)


def test_a_folder_without_photos(learn, tmp_path):
    (tmp_path/'ood').mkdir()
    (tmp_path/'ood'/'notes.txt').write_text('hello')
    with pytest.raises(ExportError, match='There are no photos in .*ood: name a folder with photos of anything but badminton, squash'):
        export(learn, tmp_path/'export.pkl', tmp_path/'ood')
    assert not (tmp_path/'export.pkl').exists()


def test_a_network_without_feature_maps(photos, tmp_path):
    "It classifies, has the energy score, and says that it can't explain"
    path = export(learner(photos, nn.Sequential(nn.Flatten(), nn.Linear(3*64*64, 3))), tmp_path/'export.pkl')
    assert read_meta(path)['thresholds']['graph']['ood']['score'] == 'energy'
    with pytest.raises(ExportError, match="can't explain predictions"): Classifier(path).explain(Image.new('RGB', (90, 90)))


def test_exporting_a_project(photos, ood_photos, tmp_path, capsys):
    "The command exports the trained model with the settings of the project, unless options differ, and says how well it classifies"
    settings = 'name = "stripes"\nint8 = true\n[labels]\nsquash = "squash"\ntennis = "tennis"\n[train]\nsize = 64\nbatch_size = 8\n'
    (tmp_path/'tellapart.toml').write_text(settings)
    p = read_project(tmp_path/'tellapart.toml')
    command = ['export', '--project', str(p.file), '--ood', str(ood_photos)]
    assert main(command) == 1 and 'stripes has not been trained yet' in capsys.readouterr().err
    with Catalog(p.folder) as catalog:
        for label in p.labels:
            for file in sorted((photos/label).iterdir())[:12]: catalog.add(label, file.read_bytes(), **inspect_image(file.read_bytes())[0])
    check(p)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                      item_tfms=Resize(64))
    learn = Learner(dataloaders(block, p.working, p), nn.Sequential(conv(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
                    loss_func=CrossEntropyLossFlat(), metrics=error_rate)
    save_trained(learn, block, p)
    capsys.readouterr()
    assert main(command) == 0
    printed,meta = capsys.readouterr().out,read_meta(p.export)
    assert f'Wrote {p.export}. It is confident on' in printed
    assert 'of 20 photos that show none of the labels' in printed and 'It computes in 8 bits' in printed
    assert 'int8' in meta['graphs'] and meta['card']['project'] == 'stripes' and 0 <= meta['card']['error_rate'] <= 1
    assert main([*command, '--no-int8', '--to', str(tmp_path/'other.pkl')]) == 0
    assert 'int8' not in read_meta(tmp_path/'other.pkl')['graphs']
