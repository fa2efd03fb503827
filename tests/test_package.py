"The package without a checkout: built, installed into a fresh environment, and used in an empty folder"
import json, os, re, shutil, subprocess, sysconfig, tarfile
from pathlib import Path
from urllib.request import urlopen
import pytest
from fresh import environment, programs, tracked
from webapp import served

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow # share/test_hosting.py has a plain install of the checkout


def build(kind, source, out, python):
    "Build a distribution of `source` as an installer does"
    out.mkdir(exist_ok=True)
    code = f'from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})'
    subprocess.run([python, '-c', code], cwd=source, check=True, capture_output=True)
    return next(out.iterdir())


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "The wheel that comes of the source distribution, which therefore lacks nothing"
    folder = tmp_path_factory.mktemp('package')
    try: tool = programs(environment(folder/'tool', 'setuptools>=77'))/'python'
    except subprocess.CalledProcessError: pytest.skip("the package index can't be reached")
    with tarfile.open(build('sdist', tracked(folder/'repo'), folder/'sdist', tool)) as f: f.extractall(folder/'unpacked')
    return build('wheel', next((folder/'unpacked').iterdir()), folder/'wheel', tool)


@pytest.fixture(scope='module')
def plain(wheel): return environment(wheel.parents[1]/'plain', wheel)


def with_packages_behind(venv):
    "Let an environment find all that is installed here, except for this checkout"
    code = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    site = subprocess.check_output([programs(venv)/'python', '-c', code], text=True).strip()
    Path(site, 'behind.pth').write_text(sysconfig.get_path('purelib'))
    return venv


@pytest.fixture(scope='module')
def learning(wheel):
    "An environment with the wheel in it, and behind it all that is installed here"
    return with_packages_behind(environment(wheel.parents[1]/'learning', '--no-deps', wheel))


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    "No checkout and no project that the environment names"
    for o in 'PYTHONPATH', 'TELLAPART_PROJECT', 'TELLAPART_EXPORT': monkeypatch.delenv(o, raising=False)


def tellapart(venv, *args, cwd):
    done = subprocess.run([programs(venv)/'tellapart', *args], cwd=cwd, capture_output=True, text=True)
    assert 'Traceback' not in done.stderr, done.stderr
    return done


def works(venv, *args, cwd):
    done = tellapart(venv, *args, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_plain_install_answers(plain, export_pkl, free_port, tmp_path):
    photos = export_pkl.parent/'photos'
    shutil.copy(export_pkl, tmp_path)
    answers = [json.loads(o) for o in works(plain, 'classify', '--json', *photos.rglob('*.*'), cwd=tmp_path).splitlines()]
    assert {o['label'] for o in answers} == {'badminton', 'squash', 'tennis'}
    works(plain, 'sort', photos, '--to', 'sorted', cwd=tmp_path)
    sorted_photos = [o for o in (tmp_path/'sorted').rglob('*') if o.name in {o.name for o in photos.rglob('*.*')}]
    assert len(sorted_photos) == len(answers)
    works(plain, 'undo', 'sorted', cwd=tmp_path)
    assert not any(o.exists() for o in sorted_photos)
    command = [programs(plain)/'tellapart', 'serve', '--port', str(free_port)]
    with served(command, f'http://localhost:{free_port}/voila/static/favicon.ico', tmp_path):
        page = urlopen(f'http://localhost:{free_port}/', timeout=60)
        assert page.status == 200 and 'ta-upload' in page.read().decode()


def test_a_plain_install_makes_projects(plain, tmp_path):
    file = re.search(r'--project (\S+)', works(plain, 'new', 'fruits', 'apple', 'pear', cwd=tmp_path))[1]
    assert 'apple' in (tmp_path/file).read_text('utf-8')
    for args in ('run', '--project', file), ('lab',), ('export',), ('review', '.'):
        done = tellapart(plain, *args, cwd=tmp_path)
        assert done.returncode == 1 and 'tellapart[learn]' in done.stderr and done.stderr.count('\n') == 1


def test_the_course_is_written_and_nothing_over_what_is_there(plain, tmp_path):
    works(plain, 'course', 'mine', cwd=tmp_path)
    mine = tmp_path/'mine'
    for notebook in mine.glob('notebooks/*.ipynb'): # all that they link to is there
        links = re.findall(r'\]\((?!http)([^)#]+)', ''.join(''.join(o['source']) for o in json.loads(notebook.read_text('utf-8'))['cells']))
        assert [o for o in links if not (notebook.parent/o).exists()] == []
    for page in mine.glob('docs/**/*.md'): # and all that these link to
        links = re.findall(r'\]\((?!http)([^)#]+)', page.read_text('utf-8'))
        assert [o for o in links if not (page.parent/o).exists()] == []
    assert {o.name for o in mine.glob('notebooks/*.ipynb')} == {o.name for o in ROOT.glob('notebooks/*.ipynb')}
    assert (mine/'app.ipynb').read_bytes() == (ROOT/'app.ipynb').read_bytes()
    (mine/'tellapart.toml').write_text('changed')
    (mine/'voila.json').unlink()
    told = works(plain, 'course', 'mine', cwd=tmp_path)
    assert 'tellapart.toml' in told and (mine/'tellapart.toml').read_text() == 'changed' and (mine/'voila.json').exists()
    (tmp_path/'file').touch()
    done = tellapart(plain, 'course', 'file', cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count('\n') == 1


def test_the_course_runs_where_it_was_written(learning, tmp_path):
    works(learning, 'course', '.', cwd=tmp_path)
    notebook = tmp_path/'notebooks/01_gather.ipynb'
    cells = json.loads(notebook.read_text('utf-8'))
    cells['cells'][5]['source'].append('\nprint("This is mine.")')
    notebook.write_text(json.dumps(cells), 'utf-8')
    told = works(learning, 'run', '--rehearse', '--save', '01_gather', '02_check', cwd=tmp_path)
    assert 'This is mine.' in told and 'Set aside' in told and (tmp_path/'data/rackets-rehearsal/ledger.db').exists()
    assert 'This is mine.' in str(json.loads(notebook.read_text('utf-8'))['cells'][5]['outputs'])


SMALL = """name = "rackets"
source = "demo"
per_label = 6
timeout = 5

[labels]
squash = "squash racket"
tennis = "tennis racket"
"""

def test_a_notebook_opened_from_a_repository_fetches_what_it_needs(learning, wheel, tmp_path):
    "As on Colab: one cell in an empty folder; tellapart isn't installed, and a repository on this disk stands in for the one on GitHub"
    works(learning, 'course', 'mine', '--repo', 'me/fruits', cwd=tmp_path)
    mine = tmp_path/'mine'
    (mine/'tellapart.toml').write_text(SMALL)
    git = ['git', '-c', 'user.name=me', '-c', 'user.email=me@example.org']
    for o in ['init', '--initial-branch', 'main'], ['add', '.'], ['commit', '--message', 'My course']:
        subprocess.run([*git, *o], cwd=mine, check=True, capture_output=True)
    cells = [''.join(o['source']) for o in json.loads((mine/'notebooks/02_check.ipynb').read_text('utf-8'))['cells']]
    assert 'github/me/fruits/blob/main/notebooks/02_check.ipynb' in cells[1]
    venv,away = with_packages_behind(environment(tmp_path/'colab', 'pip')),tmp_path/'content'
    away.mkdir()
    (away/'cell.ipy').write_text(cells[2] + '\nprint("Now in", Path.cwd())')
    env = os.environ | dict(PATH=f'{programs(venv)}{os.pathsep}{os.environ["PATH"]}', PIP_FIND_LINKS=str(wheel.parent))
    env |= dict(GIT_CONFIG_COUNT='1', GIT_CONFIG_KEY_0=f'url.{mine.as_uri()}.insteadOf', GIT_CONFIG_VALUE_0='https://github.com/me/fruits')
    done = subprocess.run([programs(venv)/'python', '-m', 'IPython', 'cell.ipy'], cwd=away, env=env, capture_output=True, text=True)
    assert 'Gathered 12 photos' in done.stdout and f"Now in {away/'fruits/notebooks'}" in done.stdout, done.stdout + done.stderr
    assert (away/'fruits/data/rackets/ledger.db').exists()
    done = tellapart(learning, 'course', 'other', '--repo', 'fruits', cwd=tmp_path)
    assert done.returncode == 1 and 'owner/name' in done.stderr and not (tmp_path/'other').exists()


def test_without_the_course_its_notebooks_run_from_the_package_and_stay_as_they_are(learning, tmp_path):
    works(learning, 'new', 'fruits', 'apple', 'pear', cwd=tmp_path)
    told = works(learning, 'run', '--rehearse', '--project', 'projects/fruits.toml', '01_gather', cwd=tmp_path)
    assert 'Gathered' in told and (tmp_path/'data/fruits-rehearsal').exists()
    done = tellapart(learning, 'run', '--save', '--project', 'projects/fruits.toml', '01_gather', cwd=tmp_path)
    assert done.returncode == 1 and 'tellapart course DIR' in done.stderr
    done = tellapart(learning, 'lab', '--project', 'projects/fruits.toml', cwd=tmp_path)
    assert done.returncode == 1 and 'tellapart course DIR' in done.stderr


def test_the_lab_opens_where_all_of_the_course_can_be_reached(learning, free_port, tmp_path):
    works(learning, 'course', '.', cwd=tmp_path)
    env = dict(JUPYTER_TOKEN='known', JUPYTER_PORT=str(free_port), BROWSER='true', JUPYTER_PREFER_ENV_PATH='1')
    at = f'http://localhost:{free_port}'
    with served([programs(learning)/'tellapart', 'lab'], f'{at}/api', tmp_path, env):
        assert urlopen(f'{at}/?token=known', timeout=60).url.partition('?')[0] == f'{at}/lab/tree/notebooks/01_gather.ipynb'
        for o in 'tellapart.toml', 'projects/bears.toml', 'app.ipynb', 'benchmarks/README.md':
            assert json.load(urlopen(f'{at}/api/contents/{o}?token=known&content=0', timeout=60))['path'] == o
