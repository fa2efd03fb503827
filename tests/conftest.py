"What the tests share: a browser, free ports, a trained model, and the README's pictures; and which tests run where"
import io, os, random, shutil, signal, socket
from contextlib import suppress
from pathlib import Path
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from exports import draw_photos
from tellapart.dev.install import chromium

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-first-run']


def pytest_addoption(parser):
    parser.addoption('--renew-pictures', action='store_true', help="write the README's pictures anew instead of comparing with them")


# The mark of a test by the fixtures that it asks for
FIXTURES = dict(browser={'browser'}, training={'course', 'export_pkl', 'exported', 'one_thread', 'trained'},
                long={'demo_process', 'gathered'})
# What begins first: the longest, so that no worker ends long after the others; then, beside them, what waits more than it works
FIRST = ['dev/test_course.py', 'dev/test_rehearsal.py', 'dev/test_library.py', 'gather/test_fetch.py', 'gather/test_sources.py',
         'demo/test_demo.py', 'use/test_classifier.py']


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    "Mark tests by their fixtures, and put some files first"
    for item in items:
        for mark,fixtures in FIXTURES.items():
            if fixtures & {*item.fixturenames}: item.add_marker(mark)
    files = [o.path.relative_to(ROOT/'tests').as_posix() for o in items]
    rank = {id(item): FIRST.index(o) if o in FIRST else len(FIRST) for item,o in zip(items, files)}
    items.sort(key=lambda o: rank[id(o)]) # which keeps the order of the others


@pytest.fixture(scope='session')
def shared_folder(tmp_path_factory):
    "Have a folder filled once in a run of the tests, by whichever worker comes first: `shared_folder(name, make)`"
    def folder(name, make):
        base = tmp_path_factory.getbasetemp()
        folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base)/name
        with FileLock(f'{folder}.lock'):
            if not folder.exists():
                shutil.rmtree(part := folder.with_name(f'{name}.part'), ignore_errors=True) # another worker's that failed
                part.mkdir()
                make(part)
                part.rename(folder)
        return folder
    return folder


@pytest.fixture(scope='module') # Playwright holds the thread's event loop: other modules' asyncio.run would fail beside it
def browser():
    "A headless Chromium, driven by Playwright"
    path = chromium()
    if not path: pytest.skip("no Chromium: install chromium from the system's packages to test in a browser")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=path, args=FLAGS)
        yield b
        b.close()


@pytest.fixture
def ctrl_c():
    "Restore Python's handling of SIGINT, which a background job ignores, for this process and its children"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def free_port():
    "A port on loopback that nobody uses"
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])
    for port in random.sample(range(20_000 + 1000*worker, 21_000 + 1000*worker), 1000): # other workers take others, and so does the system
        with socket.socket() as s, suppress(OSError):
            s.bind(('127.0.0.1', port))
            return port


@pytest.fixture
def picture(request):
    "Compare a screenshot with the README's: `picture('app', png)` fails where docs/app.png has gone stale"
    def check(name, png):
        file = ROOT/'docs'/f'{name}.png'
        if request.config.getoption('--renew-pictures'):
            file.parent.mkdir(parents=True, exist_ok=True)
            return file.write_bytes(png)
        command = f'pytest --renew-pictures {request.node.nodeid}'
        renew = f"docs/{name}.png is not what it shows any more; look at the change, and renew it by: {command}"
        assert file.exists() and likeness(Image.open(file), Image.open(io.BytesIO(png))) > .9, renew
    return check


def likeness(a, b):
    "How like each other two pictures are at a glance: the correlation of their grey values; 0 if their sizes differ"
    if any(abs(m - n) > .05*n for m,n in zip(a.size, b.size)):
        return 0
    a,b = (np.asarray(o.convert('L').resize((100, 100))).ravel() for o in (a, b))
    return np.corrcoef(a, b)[0,1]


@pytest.fixture(scope='session')
def export_pkl(shared_folder):
    "An export.pkl of a small model, trained for a moment as the course does it; its validation photos lie in `photos` beside it"
    return shared_folder('model', _train)/'export.pkl'


def _train(folder):
    from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, Pipeline, RandomResizedCrop, RandomSplitter,
                                   aug_transforms, error_rate, get_image_files, imagenet_stats, parent_label, resnet18, set_seed,
                                   vision_learner)
    from tellapart.export.export import export
    from tellapart.use.classifier import Sample
    from tellapart.use.classify import printable
    photos = folder/'photos'
    for label in 'badminton', 'squash', 'tennis': draw_photos(photos/label)
    set_seed(1, reproducible=True)
    # printable is ours, and so has to travel by value: fastai reads the export where tellapart isn't installed.
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=Pipeline([parent_label, printable]),
                      splitter=RandomSplitter(.4, seed=1), item_tfms=RandomResizedCrop(128, min_scale=.5),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(block.dataloaders(photos, bs=8, num_workers=0), resnet18, metrics=error_rate, pretrained=False)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(4, 1e-3)
    sample = Sample(next((photos/'squash').glob('*.jpg')).read_bytes(), 'squash', 'Squash by Ann, CC BY 4.0')
    export(learn, folder/'export.pkl', samples=[sample], error_rate=.125)
    for file in learn.dls.train_ds.items: file.unlink()


@pytest.fixture(scope='module')
def one_thread():
    "Limit torch to one thread: for models this small, more threads only slow down tests that run at the same time"
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
