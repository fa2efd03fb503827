"The half that classifies: what it imports, what it never does, and its errors for files that it can't use"
import json, os, pickle, subprocess, sys, threading, zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import pytest
import tellapart
from PIL import Image
from exports import change_meta, rewrite
from tellapart.cli import main
from tellapart.machine import cpu_count
from tellapart.images import NOTES, open_photo
from tellapart.use.classifier import FORMAT, Classifier, ExportError, read_meta

HEAVY = {'torch', 'fastai', 'fastcore', 'pandas', 'matplotlib', 'onnx'}

PACKAGE = Path(tellapart.__file__).parent
USE = sorted('.'.join(o.relative_to(PACKAGE).with_suffix('').parts) for o in PACKAGE.glob('use/**/[!_]*.py'))
SERVE = 'serve.server' # which takes seconds, for Voilà
LIGHT = ['errors', 'images', 'machine', 'pages', 'paths', 'project', 'spreadsheets', 'cli', SERVE, *USE]


@pytest.mark.parametrize('module', [pytest.param(o, marks=[pytest.mark.long] if o == SERVE else []) for o in LIGHT])
def test_importing_stays_light(module):
    "No library of the half that trains is imported"
    code = f'import sys, tellapart.{module}; print(*{{o.split(".")[0] for o in sys.modules}})'
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(found)


@pytest.mark.parametrize('name,content,why', [
    ('empty.pkl', b'', 'empty.pkl is no archive that `learn.export` made'),
    ('text.pkl', b'hello', 'text.pkl is no archive that `learn.export` made'),
    ('missing.pkl', None, "missing.pkl isn't there: make it with `tellapart run`"),
])
def test_what_is_no_export(tmp_path, name, content, why):
    if content is not None: (tmp_path/name).write_bytes(content)
    with pytest.raises(ExportError) as e: Classifier(tmp_path/name)
    assert why in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('part', [.01, .5, .999])
def test_cut_short(export_pkl, tmp_path, part):
    content = export_pkl.read_bytes()
    (tmp_path/'cut.pkl').write_bytes(content[:int(part*len(content))])
    with pytest.raises(ExportError, match='cut.pkl was cut short'): Classifier(tmp_path/'cut.pkl')


def test_from_a_newer_tellapart(export_pkl, tmp_path):
    newer = rewrite(export_pkl, tmp_path/'newer.pkl', change_meta(format=FORMAT + 1))
    with pytest.raises(ExportError, match='newer than this one'): Classifier(newer)
    with pytest.raises(ExportError, match='newer than this one'): read_meta(newer)


@pytest.mark.parametrize('change', [
    lambda name, content: None if len(content) == 64*3*7*7*4 else content,
    lambda name, content: content[:100] if len(content) == 64*3*7*7*4 else content,
    lambda name, content: b'{' if name.endswith('meta.json') else content,
    lambda name, content: b'hello' if name.endswith('graph.onnx') else content,
    change_meta(labels=['one']),
], ids=['weight missing', 'weight cut', 'meta', 'graph', 'labels'])
def test_damaged(export_pkl, tmp_path, change):
    with pytest.raises(ExportError, match='damaged.pkl is damaged'): Classifier(rewrite(export_pkl, tmp_path/'damaged.pkl', change))


def test_bytes_that_changed_on_the_way(export_pkl, tmp_path):
    "A weight with a flipped bit isn't used"
    content = bytearray(export_pkl.read_bytes())
    content[len(content)//2] ^= 1
    (tmp_path/'flipped.pkl').write_bytes(content)
    with pytest.raises(ExportError, match='flipped.pkl is damaged'): Classifier(tmp_path/'flipped.pkl')


def test_a_bomb_is_not_unpacked(tmp_path):
    "A small file with large records is refused before any is read"
    with zipfile.ZipFile(tmp_path/'bomb.pkl', 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('export/extra/meta.json', b' '*10**8)
    with pytest.raises(ExportError, match='bomb.pkl is no archive'): Classifier(tmp_path/'bomb.pkl')


def test_an_export_that_is_refused_is_closed(export_pkl, tmp_path):
    "Whatever the reason, and while the error is still referenced: Windows can't delete an open file"
    psutil,refused = pytest.importorskip('psutil'),tmp_path/'refused.pkl'
    def bomb():
        with zipfile.ZipFile(refused, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('export/extra/meta.json', b' '*10**8)
    ways = [bomb, lambda: refused.write_bytes(b'hello'), lambda: refused.write_bytes(export_pkl.read_bytes()[:5000]),
            lambda: rewrite(export_pkl, refused, change_meta(format=FORMAT + 1)),
            lambda: rewrite(export_pkl, refused, change_meta(labels=['one']))]
    for way in ways:
        way()
        with pytest.raises(ExportError) as e: Classifier(refused)
        assert str(refused) not in [o.path for o in psutil.Process().open_files()], e.value


class Canary:
    "Writes a file when it is unpickled"
    def __init__(self, path): self.path = path
    def __reduce__(self): return open, (str(self.path), 'w')


def test_a_hostile_pickle_does_not_run(export_pkl, tmp_path):
    "Classifying doesn't unpickle, so code in the pickle never runs"
    canary = tmp_path/'canary'
    def poison(name, content): return pickle.dumps(Canary(canary)) if name.endswith('data.pkl') else content
    hostile = rewrite(export_pkl, tmp_path/'hostile.pkl', poison)
    photo = next(export_pkl.parent.glob('photos/*/*'))
    assert Classifier(hostile)(photo) == Classifier(export_pkl)(photo)
    Classifier(hostile).explain(photo)
    assert not canary.exists()
    with zipfile.ZipFile(hostile) as z: pickle.loads(z.read('export/data.pkl')).close()
    assert canary.exists() # unpickling would have run it


@pytest.mark.parametrize('change', [
    dict(preprocess=[dict(step='resize', size=[1, 10**6], method='pad', pad='reflect', resample=2)]), dict(mean=[0, 0]),
    dict(labels=[1, 2, 3]), dict(std=[0, 0, 0]), dict(thresholds={}), dict(data=None), dict(n_shallow=10**9),
    dict(limits=dict(max_pixels=10**12)), dict(size=[64, 64])], ids=lambda o: next(iter(o)))
def test_impossible_metadata(export_pkl, tmp_path, change):
    "An export with invalid metadata is refused when it is opened, not in the middle of many photos or with the memory used up"
    with pytest.raises(ExportError, match='odd.pkl is damaged'): Classifier(rewrite(export_pkl, tmp_path/'odd.pkl', change_meta(**change)))


@pytest.mark.parametrize('batch', [None, 1, 6])
def test_many_goes_on_where_a_photo_is_none(export_pkl, tmp_path, batch):
    "Predictions come in order, one a photo, with a reason where there is no label"
    good = next(export_pkl.parent.glob('photos/*/*'))
    (tmp_path/'notes.txt').write_text('hello')
    predictions = Classifier(export_pkl).many(iter([good, tmp_path/'notes.txt', tmp_path/'nowhere.jpg', tmp_path, b'', good, *[good]*40]),
                                              batch)
    some = [next(predictions) for _ in range(6)]
    assert [o.label is None for o in some] == [False, True, True, True, True, False]
    assert all(o.reason.count('\n') == 0 and o.reason.endswith('.') for o in some if o.label is None)
    assert some[0].label == some[5].label and len(list(predictions)) == 40


def test_many_can_be_left_early(export_pkl):
    "A caller that stops leaves no threads behind, and few photos were read ahead"
    photo,taken,before = next(export_pkl.parent.glob('photos/*/*')),[],threading.active_count()
    predictions = Classifier(export_pkl).many(taken.append(o) or photo for o in range(10**6))
    next(predictions)
    assert threading.active_count() > before
    predictions.close()
    assert threading.active_count() == before and len(taken) <= 4*2*(cpu_count() + 1)


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason="only Linux binds a process to cores")
def test_no_more_threads_than_the_process_may_use(export_pkl):
    code = ('import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from tellapart.use.classifier import Classifier; '
            f'print(Classifier({str(export_pkl)!r}).threads)')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '1\n'


def test_threads_share_a_classifier(export_pkl):
    "Called by many threads at once, it gives each the prediction for its own photo"
    classify,photos = Classifier(export_pkl),sorted(export_pkl.parent.glob('photos/*/*'))*4
    alone = [classify(o) for o in photos]
    with ThreadPoolExecutor(8) as pool: together = list(pool.map(classify, photos))
    assert [(o.label, o.confident) for o in together] == [(o.label, o.confident) for o in alone]
    assert np.allclose([o.probability for o in together], [o.probability for o in alone], atol=1e-5)


def test_kinds_of_photos(export_pkl):
    "A path, its name, its content, the image itself and its pixels give the same prediction"
    classify,path = Classifier(export_pkl),next(export_pkl.parent.glob('photos/*/*.png'))
    grey = open_photo(path).convert('L')
    assert len({classify(o).probability for o in (path, str(path), path.read_bytes(), Image.open(path), np.asarray(open_photo(path)))}) == 1
    assert classify(grey) == classify(np.asarray(grey)) == classify(np.asarray(grey.convert('RGBA')))


def test_what_is_no_photo_has_a_reason(export_pkl, tmp_path):
    "A URL, pixels of another type and 200 megapixels are refused in a sentence each, and the predictions go on"
    Image.new('1', (20_000, 10_000)).save(tmp_path/'vast.png')
    good = next(export_pkl.parent.glob('photos/*/*'))
    *bad,last = Classifier(export_pkl).many(['https://example.com/racket.jpg?size=large', np.zeros((3, 90, 90), 'float32'),
                                             tmp_path/'vast.png', good])
    for prediction,why in zip(bad, ('download the photo first', 'give one of uint8', 'has 200 megapixels, more than')):
        assert prediction.label is None and not prediction.confident and why in prediction.reason and prediction.reason.endswith('.')
    assert last.label


def test_classify_prints_a_table(export_pkl, tmp_path, capsys):
    "One line a photo; a file that is none has a line with the reason"
    good = sorted(export_pkl.parent.glob('photos/tennis/*'))[0]
    (bad := tmp_path/'no\tphoto.txt').write_text('hello')
    assert main(['classify', '--export', str(export_pkl), str(bad), str(good)]) == 0
    head,first,second = capsys.readouterr().out.splitlines()
    assert head.split() == ['photo', 'label', 'second', 'confident']
    assert r'no\tphoto.txt' in first and first.endswith('is no photo that we can read; save it as JPEG or PNG.')
    assert second.split()[:2] == [str(good), 'tennis']


def test_classify_prints_json(export_pkl, tmp_path, capsys):
    photos = sorted(map(str, export_pkl.parent.glob('photos/*/*')))
    assert main(['classify', '--json', '--export', str(export_pkl), *photos, str(tmp_path/'nowhere.jpg')]) == 0
    *rows,last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [o['photo'] for o in rows] == photos
    assert all(abs(sum(p for _,p in o['ranked']) - 1) < .001 and o['label'] == o['ranked'][0][0] for o in rows)
    assert last['label'] is None and 'No such file' in last['reason']


def test_notes_on_a_file_are_told(export_pkl, tmp_path, capsys):
    whole = next(o for o in sorted(export_pkl.parent.glob('photos/*/*.jpg'))).read_bytes()
    (cut := tmp_path/'cut.jpg').write_bytes(whole[:-20])
    assert Classifier(export_pkl)(cut).notes == ('cut short',)
    main(['classify', '--export', str(export_pkl), str(cut)])
    assert capsys.readouterr().out.splitlines()[1].endswith(f" {NOTES['cut short']}")
    main(['classify', '--json', '--export', str(export_pkl), str(cut)])
    assert json.loads(capsys.readouterr().out)['notes'] == ['cut short']


def test_classify_without_an_export(tmp_path, capsys):
    assert main(['classify', '--export', str(tmp_path/'no.pkl'), 'a.jpg']) == 1
    assert "no.pkl isn't there" in capsys.readouterr().err
