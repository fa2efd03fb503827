"The same photo gets the same prediction in every part of the app, and however it was opened before"
import io, json, zipfile
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from tellapart.cli import main
from tellapart.check.inspection import working_copy
from tellapart.images import open_photo
from tellapart.use.app import classify_upload
from tellapart.use.sort.journal import Row
from tellapart.use.classifier import Classifier
from tellapart.use.sort.sort import classify_rows

pytest.importorskip('fastai')
from tellapart.export.export import _dataset_photos, export

pytestmark = pytest.mark.usefixtures('one_thread')
SHORT_SIDES = {300: 2, 600: 4, 1100: 8} # in pixels: the factor by which libjpeg can shrink a photo for a model that sees 64


@pytest.fixture(scope='module')
def exported(learn, tmp_path_factory):
    "An export with graphs in 8 bits and in 32"
    return export(learn, tmp_path_factory.mktemp('exported')/'export.pkl', int8=True)


@pytest.fixture(scope='module')
def jpegs(tmp_path_factory):
    "Photos like the training photos, but as large as from a camera, and some rotated by EXIF"
    folder,rng = tmp_path_factory.mktemp('jpegs'),np.random.default_rng(0)
    for side in SHORT_SIDES:
        for i in range(8):
            w,h = (side, side*4//3) if i % 2 else (side*4//3, side)
            x,y = np.meshgrid(np.arange(w), np.arange(h))
            stripes = np.sin((x, y, x + y)[i % 3]*rng.uniform(5, 25)/side)[..., None]*90 + 120
            pixels = stripes*np.eye(3)[i % 3]*rng.uniform(.1, .6) + stripes*.4 + rng.normal(0, 12, (h, w, 3))
            exif = Image.Exif()
            exif[0x0112] = [1, 6, 3, 8][i % 4]
            Image.fromarray(pixels.clip(0, 255).astype('uint8')).save(folder/f'{side}-{i}.jpg', quality=88, exif=exif)
    return sorted(folder.iterdir())


def same(ours, theirs, atol=1e-5):
    ours = list(ours)
    assert [(o.label, o.confident, bool(o.reason)) for o in ours] == [(o.label, o.confident, bool(o.reason)) for o in theirs]
    assert np.allclose([o.probability for o in ours], [o.probability for o in theirs], atol=atol)


@pytest.mark.parametrize('int8', [True, False])
def test_every_way_gives_the_same_prediction(exported, jpegs, int8, tmp_path, capsys):
    "By path or content, one by one or in batches, on one thread or several; in the app, on the command line, sorted, and on a cluster"
    classify = Classifier(exported, int8)
    alone = [classify(o) for o in jpegs]
    assert len({o.label for o in alone}) > 1 and len({o.confident for o in alone}) > 1
    assert [classify(o.read_bytes()) for o in jpegs] == alone
    for batch in None, 1, 3: same(classify.many(jpegs, batch), alone)
    same(Classifier(exported, int8, threads=1).many(o.read_bytes() for o in jpegs), alone)
    for file,prediction in zip(jpegs, alone):
        assert classify_upload(classify, file.read_bytes()) == prediction
    rows = list(classify_rows(classify, ((Row(str(o)), o) for o in jpegs)))
    assert [(o.label, o.confident == 'yes', o.probability) for o in rows] == [(o.label, o.confident, f'{o.probability:.4f}') for o in alone]
    if not int8:
        return # the commands use the export's default
    main(['classify', '--json', '--export', str(exported), *map(str, jpegs)])
    printed = [json.loads(o) for o in capsys.readouterr().out.splitlines()]
    assert [(o['label'], o['confident']) for o in printed] == [(o.label, o.confident) for o in alone]
    assert [o['probability'] for o in printed] == pytest.approx([o.probability for o in alone], abs=1e-4)
    fsspec,pq = pytest.importorskip('fsspec'),pytest.importorskip('pyarrow.parquet')
    from tellapart.use.batch_inference import ShardClassifier, plan_shards
    memory = fsspec.filesystem('memory')
    for o in jpegs: memory.pipe_file(f'/photos/{o.name}', o.read_bytes())
    for folder,to in (str(jpegs[0].parent), str(tmp_path/'to')), ('memory://photos', 'memory://to'):
        plan_shards(folder, to, exported.read_bytes())
        ShardClassifier(to).classify_shard('000000.parquet')
        with fsspec.open(f'{to}/answers/000000.parquet') as f: table = {Path(o['path']).name: o for o in pq.read_table(f).to_pylist()}
        assert [(table[o.name]['label'], table[o.name]['confident']) for o in jpegs] == [(o.label, o.confident) for o in alone]


@pytest.mark.parametrize('int8', [True, False])
def test_thresholds_fit_what_the_classifier_computes(exported, learn, int8):
    "Each graph has thresholds and reference features that agree with what the classifier computes by it"
    classify = Classifier(exported, int8)
    ours = [classify(o) for o in learn.dls.valid_ds.items]
    correct = [o.confident for o,file in zip(ours, learn.dls.valid_ds.items) if o.label == file.parent.name]
    assert np.mean(correct) >= .95
    images = [o for o,_ in _dataset_photos(learn.dls.train_ds, classify.meta, '')]
    features, = classify.session.run(['features'], {'images': np.stack(images)})
    record,dtype,shape = classify.thresholds['reference']
    with zipfile.ZipFile(exported) as z: reference = np.frombuffer(z.read(f"{classify.meta['folder']}/{record}"), dtype).reshape(shape)
    assert np.abs(reference - features).max() < 1e-4*np.abs(features).max()


def test_each_graph_has_its_own_thresholds(exported):
    int8,full = (Classifier(exported, o).thresholds for o in (True, False))
    assert int8['ood']['threshold'] != full['ood']['threshold'] and int8['reference'] != full['reference']


def test_opened_or_shrunk_before(exported, jpegs):
    "An image, its pixels, a PNG of it, and the working copy that training reads have the label of the file"
    classify = Classifier(exported, int8=False)
    def png(o):
        open_photo(o).save(f := io.BytesIO(), 'PNG')
        return f.getvalue()
    kinds = dict(lazy=Image.open, image=open_photo, pixels=lambda o: np.asarray(open_photo(o)), png=png,
                 small=lambda o: working_copy(open_photo(o, 640), 640))
    theirs = [classify(o) for o in jpegs]
    for kind in kinds.values():
        ours = [classify(kind(o)) for o in jpegs]
        assert [o.label for o in ours] == [o.label for o in theirs]
        assert np.abs(np.subtract([o.probability for o in ours], [o.probability for o in theirs])).max() < .02


def test_working_copies_keep_their_colours():
    "JPEG usually subsamples chroma, and then a model predicts something else for the copy than for the photo"
    stripes = np.zeros((64, 64, 3), 'uint8')
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    assert np.abs(np.asarray(open_photo(working_copy(Image.fromarray(stripes), 640)), float) - stripes).mean() < 20
