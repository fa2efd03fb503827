"Each command of the README and the documents, in a fresh clone: environments are installed, the course runs, and what it serves answers"
import os, re, shutil, subprocess
from pathlib import Path
from urllib.request import urlopen
import pytest
from fresh import programs, tracked
from webapp import served

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    'make test': 'which runs these tests', 'make check': 'the same', 'make test-all': 'the same',
    'make course': 'make demo does it, and then serves', 'make bench-classify': 'takes a quarter of an hour; make bench-answer is run',
    'make bench-resize PHOTOS=DIR': 'the same',
    'tellapart run --project projects/fruits.toml': 'searches the real web', 'tellapart install learn': 'make demo does it',
    'tellapart run 03_train 04_clean 05_export': 'make demo runs them', 'tellapart run 05_export': 'the same',
    'tellapart run --rehearse': 'a project of six steps is rehearsed',
    'tellapart export --rename console=table': 'old=new is run', 'tellapart feedback delete ID': 'needs a visitor: serve/test_feedback',
    'tellapart serve --lan': 'needs a network: serve/test_server', 'tellapart serve --lan --per-minute 3000': 'the same',
    'tellapart sort --ray': 'needs Ray: use/test_batch_inference', 'tellapart share museum DIR': 'the recipe in extending.md adds it',
    'tellapart sort SOME --to /tmp/some --ray --export export.pkl': 'the same as sort --ray',
}
LEFT_OUT |= {f'tellapart run --rehearse --project projects/{o}.toml': 'test_rehearsal does it'
             for o in ('NAME', *(o.stem for o in ROOT.glob('projects/*.toml')))}
NAMES = {f'tellapart {o}' for o in ('classify', 'run', 'lab', 'sort', 'serve', 'share', 'review', 'share page')} # of commands
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which('make'), reason="no make: Windows does without")]


def commands():
    "The commands that the README and the documents name"
    text = '\n'.join(o.read_text('utf-8') for o in (ROOT/'README.md', *ROOT.glob('docs/**/*.md')))
    return {*re.findall(r'`((?:tellapart|make) [^`]+)`', text), *re.findall(r'^((?:tellapart|make) .+)', text, re.M)}


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    "A clone in which `make demo` has run until the app answered"
    folder = tracked(tmp_path_factory.mktemp('fresh')/'tellapart')
    with served(['make', 'demo'], 'http://localhost:8866/voila/static/favicon.ico', folder, ENV, patience=3000):
        assert 'ta-upload' in urlopen('http://localhost:8866/', timeout=120).read().decode()
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


def test_six_steps(run, clone):
    run('tellapart new fruits apple pear')
    assert 'fruits' in (clone/'projects/fruits.toml').read_text()
    run('tellapart run --rehearse --project projects/fruits.toml')
    assert run.serves('tellapart lab --project projects/fruits.toml', 'http://localhost:8867/lab?token=known')
    shutil.copytree(clone/'data/fruits-rehearsal', clone/'data/fruits') # which the real web would fill
    assert run.serves('tellapart serve --export data/fruits/export.pkl', 'http://localhost:8866/')
    for o in 'tellapart serve', 'tellapart serve --debug', 'tellapart serve --frame-ancestors https://blog.example':
        assert run.serves(o, 'http://localhost:8866/')
    assert run.serves('tellapart serve --port 8867', 'http://localhost:8867/')


def test_answering(run, clone):
    "On photos of the course, with placeholders filled in"
    photo = next((clone/'data/rackets/photos').rglob('*.jpg'))
    assert photo.name in run(f'tellapart classify {photo}')
    tried.add('tellapart classify PHOTO')
    shutil.copytree(photo.parent, clone/'heap')
    for o in ('tellapart sort FOLDER --to DIR', 'tellapart review DIR', 'tellapart undo DIR',
              'tellapart sort ARCHIVE --to SORTED --keep-tree tree/label', 'tellapart review SORTED'):
        run(o.replace('FOLDER', 'heap').replace('ARCHIVE', 'heap').replace('DIR', 'sorted').replace('SORTED', 'tree'))
        tried.add(o)
    shutil.copytree(photo.parent, clone/'strangers')
    run('tellapart export --ood strangers')
    run('tellapart course mine --repo YOU/FRUITS')
    (clone/'theirs.py').write_text(THEIRS)
    run('python theirs.py')
    assert 'Wrote' in run('tellapart export --from old.pkl')
    (clone/'export.pkl').unlink()
    for o in 'tellapart feedback', 'tellapart feedback pull': run(o)
    tried.update(['tellapart export --ood DIR', 'tellapart course DIR --repo YOU/FRUITS', 'tellapart export --from old.pkl'])


THEIRS = """from fastai.vision.all import *
dls = ImageDataLoaders.from_folder('data/rackets/working', valid_pct=.2, item_tfms=Resize(64), bs=8, num_workers=0)
vision_learner(dls, resnet18, pretrained=False).export(Path('old.pkl').absolute())
"""


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
    lines = [o for o in commands() - LEFT_OUT.keys() - NAMES if o.startswith(('tellapart share', 'tellapart doctor'))]
    for o in sorted(lines, key=lambda o: ('doctor' in o, o)):
        run(o.replace('DIR', 'my-app' if 'doctor' in o else f'my-{o.split()[2]}'))
        tried.add(o)
    assert (clone/'my-page/app.html').exists() and (clone/'my-app/jupyter_config.json').exists()


def test_none_is_missing():
    "A command that a document gains has to be run here, or left out for a reason"
    assert commands() <= tried | LEFT_OUT.keys() | NAMES
