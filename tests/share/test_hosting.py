"The hosted app, as Binder and Heroku set it up: requirements.txt alone in a fresh environment, and the Procfile's command"
import json, os, re, shutil, subprocess, sys
from pathlib import Path
from tempfile import TemporaryDirectory
import httpx, pytest
from fresh import UV, environment, install, programs, tracked
from tellapart.share import share
from webapp import ask, served, wait_for

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
    psutil,_ = pytest.importorskip('psutil'),pytest.importorskip('honcho')
    path = f'{programs(venv)}{os.pathsep}{os.environ["PATH"]}'
    env = dict(PORT=str(free_port), PATH=path, VIRTUAL_ENV=str(venv), TELLAPART_PROJECT='')
    photo,at = next(export_pkl.parent.glob('photos/tennis/*')),f'http://localhost:{free_port}'
    with served([sys.executable, '-m', 'honcho', 'start', '--port', str(free_port), 'web'], f'{at}/healthz', copy, env) as server:
        pages = [browser.new_page() for _ in range(4)]
        for page in pages: page.goto(at)
        (card,),*_ = [ask(page, [photo]) for page in pages]
        family = psutil.Process(server.pid).children(recursive=True) # honcho itself isn't on the host
        assert sum(o.memory_full_info().pss for o in family) < 512*2**20 # what Heroku's and Render's smallest machines have
        for page in pages: page.close()
        found, = httpx.post(f'{at}/api/classify', files=dict(photo=photo.open('rb')), timeout=60).json()['predictions']
        assert httpx.get(f'{at}/api').json()['paths']
        maps = [m.path for o in family if 'ipykernel_launcher' in ' '.join(o.cmdline()) for m in o.memory_maps()]
        assert not [o for o in maps if 'onnxruntime' in o]
    assert card[0] == photo.name and card[1] != 'Not classified' and card[-6] == 'tennis' == found['label']


@pytest.mark.skipif(sys.platform != 'linux', reason="hosts run Linux")
def test_binder_takes_its_python(copy, tmp_path, monkeypatch):
    "repo2docker, which Binder runs, reads the Python of a checkout and of a folder that is shared, and installs their requirements by pip"
    buildpacks = pytest.importorskip('repo2docker.buildpacks')
    share('binder', tmp_path/'binder', copy/'export.pkl', 'me/fruits')
    for folder in copy,tmp_path/'binder':
        monkeypatch.chdir(folder)
        pack = buildpacks.PythonBuildPack('ubuntu:22.04')
        assert pack.detect() and pack.python_version == '3.11' and '-'.join(pack.runtime[:2]) == (folder/'runtime.txt').read_text().strip()
        assert 'requirements.txt' in str(pack.get_preassemble_scripts() + pack.get_assemble_scripts())
        assert not buildpacks.DockerBuildPack('ubuntu:22.04').detect()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux' or os.geteuid(), reason="only root becomes another user")
def test_the_container_serves_as_another_user(copy, export_pkl, free_port):
    "The Dockerfile's steps without a container: its user isn't root, and writes nowhere but into its home"
    python = next((o for o in ('/usr/bin/python3', '/usr/local/bin/python3') if Path(o).exists()), None)
    if not (python and UV): pytest.skip("no uv, or no Python that other users may run")
    with TemporaryDirectory() as tmp: # pytest's own folders are open to one user alone
        home = Path(tmp)/'home/app'
        share('docker', home, copy/'export.pkl', 'me/fruits')
        for o in (Path(tmp), *Path(tmp).rglob('*')): o.chmod(0o755 if o.is_dir() else 0o644)
        os.chown(home, 1000, 1000)
        lines = (home/'Dockerfile').read_text().splitlines()
        assert 'USER 1000' in lines and 'ENV PORT=7860' in lines
        subprocess.run([python, '-m', 'venv', '--without-pip', made := Path(tmp)/'venv'], check=True)
        install(made, '-r', home/'requirements.txt')
        command = json.loads(next(o for o in lines if o.startswith('CMD ')).removeprefix('CMD '))
        env = dict(PATH=f'{programs(made)}{os.pathsep}/usr/bin:/bin', HOME=str(home), PORT=str(free_port))
        server = subprocess.Popen(command, cwd=home, env=env, user=1000, group=1000, extra_groups=[], stdin=subprocess.DEVNULL)
        try:
            wait_for(f'http://localhost:{free_port}/healthz', server)
            photo = next(export_pkl.parent.glob('photos/tennis/*'))
            asked = httpx.post(f'http://localhost:{free_port}/api/classify', files=dict(photo=photo.read_bytes()), timeout=60)
            assert asked.json()['predictions'][0]['label'] == 'tennis'
        finally:
            server.terminate()
            server.wait(20)


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
