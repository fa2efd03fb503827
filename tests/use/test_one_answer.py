"One photo, one answer: whichever way a photo takes, and however it has been opened before"
import io, json
import numpy as np
import pytest
from PIL import Image
from test_ood import learn, photos # fixtures
from exports import rewrite
from tellapart.cli import main
from tellapart.check.inspection import working_copy
from tellapart.images import open_photo
from tellapart.use import classifier as model
from tellapart.use.app import _look
from tellapart.use.sort.journal import Row
from tellapart.use.classifier import Classifier
from tellapart.use.sort.sort import classify_rows

pytest.importorskip('fastai')
from tellapart.export.export import _photos, export

pytestmark = pytest.mark.usefixtures('one_thread')
SIDES = {300: 2, 600: 4, 1100: 8} # pixels of the short side, and the part that libjpeg need make at most of it for a model that sees 64


@pytest.fixture(scope='module')
def told(learn, tmp_path_factory):
    "An export that can answer in 8 bits and in 32"
    return export(learn, tmp_path_factory.mktemp('told')/'export.pkl', int8=True)


@pytest.fixture(scope='module')
def jpegs(tmp_path_factory):
    "Photos like those that were learned from, far larger than what the model sees, as cameras write them: some lie on their side"
    folder,rng = tmp_path_factory.mktemp('jpegs'),np.random.default_rng(0)
    for side in SIDES:
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
def test_every_way_gives_the_same_answer(told, jpegs, int8, tmp_path, capsys):
    "By path or content, alone or among many, on one thread or several; in the app, on the command line, sorted, and on a cluster"
    classify = Classifier(told, int8)
    alone = [classify(o) for o in jpegs]
    assert len({o.label for o in alone}) > 1 and len({o.confident for o in alone}) > 1
    assert [classify(o.read_bytes()) for o in jpegs] == alone
    for batch in None, 1, 3: same(classify.many(jpegs, batch), alone)
    same(Classifier(told, int8, threads=1).many(o.read_bytes() for o in jpegs), alone)
    for file,answer in zip(jpegs, alone):
        card = _look(classify, file.name, file.read_bytes(), 0)
        assert ('ta-sure' in card) == answer.confident and f'<span>{answer.label}</span>' in card and f'<b>{answer.probability:.0%}</b>' in card
    rows = list(classify_rows(classify, ((Row(str(o)), o) for o in jpegs)))
    assert [(o.label, o.confident == 'yes', o.probability) for o in rows] == [(o.label, o.confident, f'{o.probability:.4f}') for o in alone]
    if not int8:
        return # the commands answer as the export chooses
    main(['classify', '--json', '--export', str(told), *map(str, jpegs)])
    said = [json.loads(o) for o in capsys.readouterr().out.splitlines()]
    assert [(o['label'], o['confident'], o['probability']) for o in said] == [(o.label, o.confident, pytest.approx(o.probability, abs=1e-4)) for o in alone]
    pytest.importorskip('pyarrow'); pytest.importorskip('fsspec')
    from tellapart.use.batch_inference import ShardClassifier, _rows, _store, plan_shards
    for folder in str(jpegs[0].parent), 'memory://photos':
        to = str(tmp_path/'to') if '://' not in folder else 'memory://to'
        if '://' in folder:
            fs = _store(folder)[0]
            for o in jpegs: fs.pipe_file(f'/photos/{o.name}', o.read_bytes())
        plan_shards(folder, to, told.read_bytes())
        ShardClassifier(to).classify_shard('000000.parquet')
        fs,root = _store(to)
        table = {o['path'].rpartition('/')[2]: o for o in _rows(fs, f'{root}/answers/000000.parquet')}
        assert [(table[o.name]['label'], table[o.name]['confident']) for o in jpegs] == [(o.label, o.confident) for o in alone]


@pytest.mark.parametrize('int8', [True, False])
def test_thresholds_come_from_the_same_numbers(told, learn, int8):
    "What is read off validation photos is what the classifier computes for them, each graph with what was read off itself"
    classify = Classifier(told, int8)
    ours = [classify(o) for o in learn.dls.valid_ds.items]
    right = [o.confident for o,file in zip(ours, learn.dls.valid_ds.items) if o.label == file.parent.name]
    assert np.mean(right) >= .95
    prepared = [o for o,_ in _photos(learn.dls.train_ds, classify.meta, '')]
    described, = classify.session.run(['described'], {'photos': np.stack(prepared)})
    with model._reading(told) as (z, meta): known = model._weight(z, meta['folder'], *classify.least['known'])
    assert np.abs(known - described).max() < 1e-4*np.abs(described).max()


def test_each_graph_has_its_own_thresholds(told):
    eight,full = Classifier(told),Classifier(told, int8=False)
    assert (eight.graph, full.graph) == ('int8', 'graph') and eight.least['none']['threshold'] != full.least['none']['threshold'] and eight.least['known'] != full.least['known']


def test_an_export_of_format_3_is_read(told, jpegs, tmp_path):
    "It has one set of thresholds, those of the graph that answers unasked; with these it answers as ever"
    def older(name, content):
        if not name.endswith('meta.json'):
            return content
        meta = json.loads(content)
        thresholds = meta.pop('thresholds')
        return json.dumps(meta | dict(format=3) | thresholds['int8']).encode()
    old = rewrite(told, tmp_path/'old.pkl', older)
    assert [Classifier(old)(o) for o in jpegs] == [Classifier(told)(o) for o in jpegs]
    full = [Classifier(old, int8=False)(o) for o in jpegs]
    assert [o.probability for o in full] == [Classifier(told, int8=False)(o).probability for o in jpegs] and any(o.confident for o in full)


def test_opened_or_shrunk_before(told, jpegs):
    "A picture, its pixels, a PNG of it, and the working copy that training reads have the label of the file"
    classify = Classifier(told, int8=False)
    def png(o):
        open_photo(o).save(f := io.BytesIO(), 'PNG')
        return f.getvalue()
    kinds = dict(lazy=Image.open, picture=open_photo, pixels=lambda o: np.asarray(open_photo(o)), png=png, small=lambda o: working_copy(open_photo(o, 640), 640))
    theirs = [classify(o) for o in jpegs]
    for kind in kinds.values():
        ours = [classify(kind(o)) for o in jpegs]
        assert [o.label for o in ours] == [o.label for o in theirs]
        assert np.abs(np.subtract([o.probability for o in ours], [o.probability for o in theirs])).max() < .02


def test_working_copies_keep_their_colours():
    "JPEG usually halves them, and then a model answers otherwise for the copy than for the photo"
    stripes = np.zeros((64, 64, 3), 'uint8')
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    assert np.abs(np.asarray(open_photo(working_copy(Image.fromarray(stripes), 640)), float) - stripes).mean() < 20
