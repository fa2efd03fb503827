"The hosted app, as Binder and Heroku set it up: requirements.txt alone in a fresh environment, and the Procfile's command"
import json, os, re, shutil, subprocess, sys
from pathlib import Path
import pytest
from fresh import environment, install, programs, tracked
from webapp import ask, served

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def copy(tmp_path_factory, export_pkl):
    "What a host is given: the files that git tracks, and an export.pkl"
    folder = tracked(tmp_path_factory.mktemp('host')/'repo')
    shutil.copy(export_pkl, folder)
    return folder


@pytest.fixture(scope='module')
def venv(copy):
    "A fresh environment with requirements.txt in it, and nothing else"
    hosted = re.search(r'\d+\.\d+', (ROOT/'runtime.txt').read_text())[0]
    if sys.version_info < tuple(map(int, hosted.split('.'))):
        pytest.skip(f"requirements.txt is pinned for Python {hosted}, which hosts run")
    return environment(copy.parent/'venv', '-r', copy/'requirements.txt')


@pytest.mark.skipif(os.name == 'nt', reason="hosts run Linux")
def test_the_procfile_serves_the_app(browser, copy, venv, free_port):
    "With nothing but requirements.txt installed, Voilà serves the app, and it classifies a photo"
    kind,_,line = (copy/'Procfile').read_text().strip().partition(': ')
    assert kind == 'web'
    env = dict(PORT=str(free_port), PATH=f'{programs(venv)}{os.pathsep}{os.environ["PATH"]}', VIRTUAL_ENV=str(venv),
               TELLAPART_EXPORT='export.pkl')
    photo = next((copy.parent.parent).glob('model*/photos/tennis/*'))
    with served(['sh', '-c', f'exec {line}'], f'http://localhost:{free_port}/voila/static/favicon.ico', copy, env):
        page = browser.new_page()
        page.goto(f'http://localhost:{free_port}/')
        page.wait_for_selector('.ta-upload', timeout=60_000)
        card, = ask(page, [photo])
        page.close()
    assert card[0] == photo.name and card[1] != 'Not classified' and card[-6] == 'tennis'


def test_a_plain_install_classifies_without_torch(copy, venv, export_pkl):
    "`pip install tellapart` is the half that classifies: no torch, no fastai, the same predictions"
    install(venv, copy)
    code = "import importlib.util as u; assert not any(u.find_spec(o) for o in ('torch', 'fastai', 'fastcore'))"
    subprocess.run([programs(venv)/'python', '-c', code], check=True, cwd=copy.parent)
    photos = sorted(map(str, export_pkl.parent.glob('photos/*/*')))
    done = subprocess.run([programs(venv)/'tellapart', 'classify', '--json', '--export', export_pkl, *photos], capture_output=True,
                          text=True, check=True, cwd=copy.parent)
    from tellapart.use.classifier import Classifier
    for row,prediction in zip(map(json.loads, done.stdout.splitlines()), Classifier(export_pkl).many(photos), strict=True):
        assert row['label'] == prediction.label and abs(row['probability'] - prediction.probability) < 1e-3


def test_pins_are_what_the_package_allows():
    "requirements.txt pins what the app needs of a plain install, each within pyproject's bounds; the notebooks' needs stay out"
    from packaging.requirements import Requirement
    tomllib = pytest.importorskip('tomllib')
    dependencies = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['dependencies']
    allowed = {r.name.replace('_', '-'): r for r in map(Requirement, dependencies)}
    pinned = [Requirement(o) for o in (ROOT/'requirements.txt').read_text().splitlines() if not o.startswith('#')]
    for o in pinned:
        version, = o.specifier
        assert version.operator == '==' and version.version in allowed[o.name].specifier
    assert (ROOT/'runtime.txt').read_text().strip() == 'python-3.11' # Binder refuses a third number
