"The hosted app, as Binder and Heroku set it up: requirements.txt alone in a fresh environment, and the Procfile's command"
import json, os, re, shutil, subprocess, sys
from pathlib import Path
import httpx, pytest
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
def test_the_procfile_serves_the_app(browser, copy, venv, export_pkl, free_port):
    "With nothing but requirements.txt installed it four visitors fit into 512 MB, the API answers, and no kernel loads a model"
    psutil = pytest.importorskip('psutil')
    kind,_,line = (copy/'Procfile').read_text().strip().partition(': ')
    assert kind == 'web'
    path = f'{programs(venv)}{os.pathsep}{os.environ["PATH"]}'
    env = dict(PORT=str(free_port), PATH=path, VIRTUAL_ENV=str(venv), TELLAPART_PROJECT='')
    photo,at = next(export_pkl.parent.glob('photos/tennis/*')),f'http://localhost:{free_port}'
    with served(['sh', '-c', f'exec {line}'], f'{at}/healthz', copy, env) as server:
        pages = [browser.new_page() for _ in range(4)]
        for page in pages: page.goto(at)
        (card,),*_ = [ask(page, [photo]) for page in pages]
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert sum(o.memory_full_info().pss for o in family) < 512*2**20 # what Heroku's and Render's smallest machines have
        for page in pages: page.close()
        found, = httpx.post(f'{at}/api/classify', files=dict(photo=photo.open('rb')), timeout=60).json()['predictions']
        assert httpx.get(f'{at}/api').json()['paths']
        maps = [m.path for o in family[1:] for m in o.memory_maps()]
        assert not [o for o in maps if 'onnxruntime' in o]
    assert card[0] == photo.name and card[1] != 'Not classified' and card[-6] == 'tennis' == found['label']


def test_a_plain_install_classifies_without_torch(copy, venv, export_pkl, tmp_path):
    "`pip install tellapart` is the half that classifies: no torch, no fastai, the same predictions; it sorts, too"
    install(venv, copy)
    code = "import importlib.util as u; assert not any(u.find_spec(o) for o in ('torch', 'fastai', 'fastcore'))"
    subprocess.run([programs(venv)/'python', '-c', code], check=True, cwd=copy.parent)
    env = {k: v for k,v in os.environ.items() if k != 'PYTHONPATH'} # which may lead to a checkout
    def tellapart(*args): return subprocess.check_output([programs(venv)/'tellapart', *args], text=True, cwd=tmp_path, env=env)
    assert 'classify' in tellapart('--help')
    photos = sorted(map(str, export_pkl.parent.glob('photos/*/*')))
    from tellapart.use.classifier import Classifier
    predictions = list(Classifier(export_pkl).many(photos))
    rows = map(json.loads, tellapart('classify', '--json', '--export', export_pkl, *photos).splitlines())
    for row,prediction in zip(rows, predictions, strict=True):
        assert row['label'] == prediction.label and abs(row['probability'] - prediction.probability) < 1e-3
    tellapart('sort', export_pkl.parent/'photos', '--to', 'sorted', '--export', export_pkl)
    went = {o.name: o.parent.name for o in (tmp_path/'sorted').rglob('*.*g')}
    assert went == {Path(o).name: prediction.label if prediction.confident else 'unsure' for o,prediction in zip(photos, predictions)}


def test_pins_are_what_the_package_allows():
    "requirements.txt pins what the app needs of a plain install, each within pyproject's bounds; the notebooks' needs stay out"
    from packaging.requirements import Requirement
    tomllib = pytest.importorskip('tomllib')
    needs = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['dependencies']
    allowed = {r.name.replace('_', '-'): r for r in map(Requirement, needs)}
    pinned = [Requirement(o) for o in (ROOT/'requirements.txt').read_text().splitlines() if not o.startswith('#')]
    for o in pinned:
        version, = o.specifier
        assert version.operator == '==' and version.version in allowed[o.name].specifier
    assert (ROOT/'runtime.txt').read_text().strip() == 'python-3.11' # Binder refuses a third number
