"Features: computed once for each content, kept over a kill, by two programs at once; and what is said where they can't be had"
import io, os, signal, sqlite3, subprocess, sys, time
import numpy as np
import pytest

pytest.importorskip('timm')
from tellapart import features as module, pretrained
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.demo.draw import draw
from tellapart.errors import MissingExtra, TellapartError
from tellapart.features import ARCH, N_FEATURES, features, unit
from tellapart.project import read_project

pytestmark = pytest.mark.long # where the network hasn't been converted yet, that takes some seconds

PROJECT = 'name = "rackets"\n[labels]\nsquash = "squash"\ntennis = "tennis"\n'


def add(p, label, *seeds):
    with Catalog(p.folder) as catalog:
        for seed in seeds:
            draw(label, seed, size=(160, 120)).save(f := io.BytesIO(), 'PNG')
            catalog.add(label, f.getvalue(), **inspect_image(f.getvalue())[0])


def frame(p):
    with Catalog(p.folder) as catalog:
        return catalog.frame()


def stored(p):
    "How many photos have features on disk"
    if not (p.folder/'features.db').exists():
        return 0
    db = sqlite3.connect(p.folder/'features.db', timeout=30)
    try:
        return db.execute('select count(*) from features').fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally: db.close()


@pytest.fixture
def p(tmp_path):
    "A checked project of twelve photos, whose features have to be computed again"
    (tmp_path/'tellapart.toml').write_text(PROJECT)
    p = read_project(tmp_path/'tellapart.toml')
    for label in p.labels: add(p, label, *range(6))
    check(p)
    for o in p.folder.glob('features.db*'): o.unlink()
    return p


def test_computed_once_for_each_content(p, monkeypatch):
    "Another label or name changes nothing, and of photos that come later only they are computed"
    before,described = features(p),[]
    assert before.shape == (12, N_FEATURES) and before.dtype == np.float32 and stored(p) == 12
    describe = module._describe
    monkeypatch.setattr(module, '_describe', lambda files: described.extend(files) or describe(files))
    old = frame(p)
    with Catalog(p.folder) as catalog: catalog.apply(labels={old.file[0]: 'tennis'})
    new = frame(p)
    assert set(new.file) != set(old.file) and described == []
    moved = new.index[new.sha256 == old.sha256[0]][0]
    assert (features(p)[moved] == before[0]).all() and described == []
    add(p, 'squash', 7, 8)
    assert features(p).shape == (14, N_FEATURES) and len(described) == 2


def test_a_photo_that_has_vanished(p):
    "It has no features, and the others do; without its working copy, the photo itself is described"
    df = frame(p)
    for o in df.working[0],df.path[0],df.working[1]: o.unlink()
    df.path[2].write_bytes(b'\xff\xd8\xff no photo')
    df.working[2].unlink()
    found = features(p, df)
    assert list(np.isnan(found).all(1)) == [True, False, True] + [False]*9


def test_a_damaged_cache_is_made_anew(p):
    before = features(p)
    file = p.folder/'features.db'
    for damage in b'no database', file.read_bytes()[:5000], bytes(100) + file.read_bytes()[100:]:
        file.write_bytes(damage)
        assert (unit(features(p)) == unit(before)).all()


CODE = """import sys
from tellapart.features import features
from tellapart.project import read_project
features(read_project(sys.argv[1]))"""


def start(p): return subprocess.Popen([sys.executable, '-c', CODE, p.file], stderr=subprocess.DEVNULL)


@pytest.mark.skipif(os.name == 'nt', reason="Windows has no SIGKILL")
def test_a_kill_loses_little(p):
    add(p, 'squash', *range(10, 310))
    running = start(p)
    while not stored(p): time.sleep(.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < (n := stored(p)) < 312
    found = features(p)
    assert stored(p) == 312 and not np.isnan(found).any() and n > 0


def test_two_programs_at_once(p):
    running = [start(p), start(p)]
    assert [o.wait(120) for o in running] == [0, 0] and stored(p) == 12
    assert not np.isnan(features(p)).any()


def test_a_full_disk_is_reported_in_one_sentence(p):
    resource = pytest.importorskip('resource')
    features(p)
    add(p, 'tennis', *range(20, 60))
    before,limits = stored(p),resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((p.folder/'features.db').stat().st_size, limits[1]))
    try:
        with pytest.raises(TellapartError, match=r"features\.db can't be written: .*; fix that, then run this step again\.$"): features(p)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert stored(p) >= before and not np.isnan(features(p)).any()


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    "Nothing has been converted before"
    monkeypatch.setattr(module, 'user_cache_path', lambda name: tmp_path/'cache')
    module._session.cache_clear()
    yield
    module._session.cache_clear()


def test_without_the_package(p, monkeypatch, no_network):
    monkeypatch.setitem(pretrained.PACKAGES, ARCH, pretrained.PACKAGES[ARCH]._replace(name='no-such-package', file='no_such_package/x.pth'))
    with pytest.raises(MissingExtra, match='needs no_such_package: run pip install'): features(p)


def test_a_damaged_package(p, monkeypatch, no_network):
    monkeypatch.setitem(pretrained.PACKAGES, ARCH, pretrained.PACKAGES[ARCH]._replace(sha256='0'*64))
    with pytest.raises(TellapartError, match='are damaged, or of another version'): features(p)


def test_a_damaged_conversion_is_made_anew(p, no_network, tmp_path):
    (tmp_path/'cache').mkdir()
    (tmp_path/'cache'/f'{ARCH}-{pretrained.PACKAGES[ARCH].sha256[:8]}.onnx').write_bytes(b'no network')
    assert not np.isnan(features(p)).any()
