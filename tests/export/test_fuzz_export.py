"Damaged and forged exports: the reader classifies, or raises ExportError, and needs no more memory for it"
import functools, io, json, sys, tempfile, zipfile
from pathlib import Path
import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from exports import FORMAT_4
from fuzzing import fuzz
from tellapart.images import NotAPhoto
from tellapart.use.app import body
from tellapart.use.classifier import Prediction, Classifier, ExportError, read_meta

pytest.importorskip('fastai')
resource = pytest.importorskip('resource')
pytestmark = pytest.mark.long # many readings


@functools.cache
def whole():
    "The records of a small export with everything in it: two graphs, reference features, and a head"
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize, nn
    from tellapart.export.export import export
    with tempfile.TemporaryDirectory() as folder:
        for label,red in ('blue', 0), ('red', 200):
            (Path(folder)/label).mkdir()
            for i in range(10): Image.new('RGB', (80 + 9*i, 64), (red, 9*i, 200 - red)).save(Path(folder)/label/f'{label}-{i}.png')
        dls = ImageDataLoaders.from_folder(folder, valid_pct=.5, seed=1, item_tfms=Resize(48), bs=4, num_workers=0)
        layers = nn.Conv2d(3, 4, 5, stride=4), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        path = export(Learner(dls, nn.Sequential(*layers), loss_func=CrossEntropyLossFlat()), Path(folder)/'export.pkl', int8=True)
        with zipfile.ZipFile(path) as z:
            return {o: z.read(o) for o in z.namelist()}


@functools.cache
def former():
    "The records of an export of format 4"
    with zipfile.ZipFile(FORMAT_4) as z:
        return {o: z.read(o) for o in z.namelist()}


@functools.cache
def photo():
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype='uint8')).save(f := io.BytesIO(), 'JPEG')
    return f.getvalue()


def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform == 'darwin' else 1024)


def classifies(content, int8):
    "Whether an export of this content classifies: in all ways, or not at all"
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder)/'export.pkl').write_bytes(content)
        try:
            read_meta(path)
            classify = Classifier(path, int8, threads=2)
            body(classify.meta)
            alone = classify(photo())
            many = list(classify.many([photo(), b'none', photo()]*3))
            assert classify.explain(photo()).mode == 'RGB'
        except (ExportError, NotAPhoto) as e: # with the limits that it has, the photo may be none
            assert '\n' not in str(e) and str(e).endswith('.')
            return False
        finally: assert peak() - before < 500*2**20
    for o in alone,*many[::3]: assert isinstance(o, Prediction) and (o.label in classify.labels or o.label is None and o.reason)
    assert many[1].label is None
    return True


def packed(records):
    with zipfile.ZipFile(f := io.BytesIO(), 'w') as z:
        for k,v in records.items(): z.writestr(k, v)
    return f.getvalue()


def paths(value, at=()):
    "The path to every part of a JSON value"
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k,v in parts: yield from paths(v, (*at, k))


def changed(value, at, new):
    "`value` with `new` at a path; without that part where `new` is `GONE`"
    if not at:
        return None if new is GONE else new
    value,(first,*rest) = value.copy(),at
    if rest or new is not GONE: value[first] = changed(value[first], rest, new)
    else: del value[first]
    return value


GONE = object()
ODD_NUMBERS = 0, 1, -1, 2, 3, 47, 48, 49, 4096, 4097, 2**31, 2**63, 10**30, .5, -1., 1e308, float('nan'), float('inf')
NUMBERS = st.sampled_from(ODD_NUMBERS) | st.integers() | st.floats()
WORDS = st.sampled_from(['', 'resize', 'pad', 'crop', 'L', 'RGB', 'constant', 'float32', 'float64', 'O', 'data/0', 'data/1',
                         'extra/reference-graph', 'extra/known-graph', 'graph', 'int8', 'head', 'knn', 'nearness', 'energy', 'center_crop',
                         'middle', '../../x']) | st.text(max_size=9)
COMPOUND = lambda o: st.lists(o, max_size=4) | st.dictionaries(WORDS, o, max_size=4)
VALUES = st.recursive(st.none() | st.booleans() | NUMBERS | WORDS, COMPOUND, max_leaves=9)


@st.composite
def metas(draw):
    "An export whose `meta.json` has a few values changed, left out, or swapped"
    records = draw(st.sampled_from([whole, former]))()
    name = next(o for o in records if o.endswith('meta.json'))
    meta = json.loads(records[name])
    for _ in range(draw(st.integers(1, 3))):
        if not isinstance(meta, (dict, list)): break
        at = draw(st.sampled_from(list(paths(meta))[1:] or [()]))
        inside = functools.reduce(lambda o, k: o[k], draw(st.sampled_from(list(paths(meta)))), meta)
        meta = changed(meta, at, draw(st.just(GONE) | st.just(inside) | VALUES))
    return records | {name: json.dumps(meta).encode()}


@st.composite
def spliced(draw, content):
    "Content with a part replaced by other bytes"
    at,n = draw(st.integers(0, len(content))),draw(st.integers(0, 40))
    return content[:at] + draw(st.binary(max_size=40)) + content[at + n:]


@st.composite
def damaged(draw):
    "Records of which one is missing, swapped, or damaged"
    records = dict(draw(st.sampled_from([whole, former]))())
    name = draw(st.sampled_from([o for o in records if '/extra/' in o or '/data/' in o]))
    match draw(st.sampled_from(['gone', 'spliced', 'another'])):
        case 'gone': del records[name]
        case 'spliced': records[name] = draw(spliced(records[name]))
        case 'another': records[name] = records[draw(st.sampled_from(list(records)))]
    return records


@pytest.mark.parametrize('records', [whole, former])
def test_undamaged(records): assert classifies(packed(records()), True) and classifies(packed(records()), False)


@fuzz
@given(metas(), st.booleans())
def test_fuzz_meta(records, int8): classifies(packed(records), int8)


@fuzz
@given(damaged(), st.booleans())
def test_fuzz_records(records, int8): classifies(packed(records), int8)


@fuzz
@given(st.data(), st.booleans())
def test_fuzz_bytes(data, int8): classifies(data.draw(spliced(packed(whole()))), int8)
