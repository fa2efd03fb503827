"Each command of the README, in a fresh clone: environments are installed, the course runs, and what it serves answers"
import os, re, shutil, subprocess
from pathlib import Path
from urllib.request import urlopen
import pytest
from fresh import programs, tracked
from webapp import served

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    'make test': 'which runs these tests', 'make check': 'the same', 'make test-all': 'the same',
    'make course': 'make demo does it, and then serves', 'make bench': 'measures for an hour; make bench-answer is one of them',
    'tellapart run --project projects/fruits.toml': 'searches the real web',
}
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which('make'), reason="no make: Windows does without")]


def commands():
    "The commands that the README names, without those of its block for Windows"
    text = re.sub(r'### On Windows.*?\n### ', '', (ROOT/'README.md').read_text('utf-8'), flags=re.S)
    return {*re.findall(r'`((?:tellapart|make) [^`]+)`', text), *re.findall(r'^((?:tellapart|make) .+)', text, re.M)}


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    "A clone in which `make demo` has run until the app answered"
    folder = tracked(tmp_path_factory.mktemp('fresh')/'tellapart')
    with served(['make', 'demo'], 'http://localhost:8866/voila/static/favicon.ico', folder, ENV, patience=3000):
        assert 'tellapart' in urlopen('http://localhost:8866/', timeout=120).read().decode()
    return folder


ENV = dict.fromkeys(['PYTHONPATH', 'TELLAPART_PROJECT', 'TELLAPART_EXPORT', 'VIRTUAL_ENV', 'OMP_NUM_THREADS'], '')
ENV |= dict(BROWSER='true', JUPYTER_TOKEN='known', JUPYTER_PORT='8867')


@pytest.fixture
def run(clone):
    "Run a command of the README, with the environment activated"
    env = os.environ | ENV | dict(PATH=f'{programs(clone/".venv")}{os.pathsep}{os.environ["PATH"]}')
    def run(command):
        tried.add(command)
        done = subprocess.run(command, shell=True, cwd=clone, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f'{command}\n{done.stdout}{done.stderr}'
        return done.stdout
    def serves(command, url):
        tried.add(command)
        with served(['sh', '-c', f'exec {command}'], url, clone, env):
            return urlopen(url, timeout=120).read()
    run.serves = serves
    return run


tried = {'make demo'}


def test_make(run):
    assert 'make demo' in run('make help')
    assert run.serves('make app', 'http://localhost:8866/')
    assert run.serves('make lab', 'http://localhost:8867/lab?token=known')
    assert '**' in run('make bench-answer')
    assert 'index.html' in run('make docs')


def test_five_steps(run, clone):
    run('tellapart new fruits apple pear')
    assert 'fruits' in (clone/'projects/fruits.toml').read_text()
    run('tellapart run --rehearse --project projects/fruits.toml')
    assert run.serves('tellapart lab --project projects/fruits.toml', 'http://localhost:8867/lab?token=known')
    shutil.copytree(clone/'data/fruits-rehearsal', clone/'data/fruits') # which the real web would fill
    assert run.serves('tellapart serve --export data/fruits/export.pkl', 'http://localhost:8866/')


def test_answering(run, clone):
    "On photos of the course, with placeholders filled in"
    photo = next((clone/'data/rackets/photos').rglob('*.jpg'))
    assert photo.name in run(f'tellapart classify {photo}')
    shutil.copytree(photo.parent, clone/'heap')
    for o in 'tellapart sort FOLDER --to DIR', 'tellapart review DIR', 'tellapart undo DIR':
        run(o.replace('FOLDER', 'heap').replace('DIR', 'sorted'))
        tried.add(o)
    shutil.copytree(photo.parent, clone/'strangers')
    run('tellapart export --ood strangers')
    run('tellapart course mine')
    tried.update(['tellapart export --ood DIR', 'tellapart course DIR'])


def test_exams(run, clone):
    "On the course's own photos; a run's export is the one to compare with"
    kept = next((clone/'data/rackets/runs').glob('*/export.pkl'))
    assert 'confident on' in run('tellapart evaluate data/rackets/photos')
    assert 'which may be chance' in run(f'tellapart compare {kept} data/rackets/export.pkl data/rackets/photos')
    run('tellapart export --rename squash=indoor')
    assert 'indoor' in run(f"tellapart classify {next((clone/'data/rackets/photos/squash').iterdir())}")
    tried.update(['tellapart evaluate FOLDER', 'tellapart compare OLD.pkl NEW.pkl FOLDER', 'tellapart export --rename old=new'])


def test_sharing(run, clone):
    "Each line, and last the doctor, who finds nothing wrong"
    lines = [o for o in commands() if o.startswith(('tellapart share', 'tellapart doctor'))]
    for o in sorted(lines, key=lambda o: ('doctor' in o, o)): run(o)
    assert (clone/'my-page/app.html').exists() and (clone/'my-app/jupyter_config.json').exists()


def test_none_is_missing():
    "A command that the README gains has to be run here, or left out for a reason"
    assert commands() - {'tellapart classify', 'tellapart run', 'tellapart lab', 'tellapart sort'} <= tried | LEFT_OUT.keys()
