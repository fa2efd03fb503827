"What the tests share: a browser, free ports, and the README's pictures"
import io, socket
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from tellapart.install import chromium

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']


def pytest_addoption(parser):
    parser.addoption('--renew-pictures', action='store_true', help="write the README's pictures anew instead of comparing with them")


@pytest.fixture(scope='session')
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
def free_port():
    "A port on loopback that nobody uses"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@pytest.fixture
def picture(request):
    "Compare a screenshot with the README's: `picture('app', png)` fails where docs/app.png has gone stale"
    def check(name, png):
        file = ROOT/'docs'/f'{name}.png'
        if request.config.getoption('--renew-pictures'):
            file.parent.mkdir(exist_ok=True)
            return file.write_bytes(png)
        renew = f"docs/{name}.png is not what it shows any more; look at the change, and renew it by: pytest --renew-pictures {request.node.nodeid}"
        assert file.exists() and likeness(Image.open(file), Image.open(io.BytesIO(png))) > .9, renew
    return check


def likeness(a, b):
    "How like each other two pictures are at a glance: the correlation of their grey values; 0 if their sizes differ"
    if any(abs(m - n) > .05*n for m,n in zip(a.size, b.size)): return 0
    a,b = (np.asarray(o.convert('L').resize((100, 100))).ravel() for o in (a, b))
    return np.corrcoef(a, b)[0,1]
