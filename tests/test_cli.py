"The command line and the Makefile, as a person meets them"
import json, os, re, shlex, shutil, socket, subprocess, sys, venv, zipfile
from pathlib import Path
import pytest
from tellapart import __version__

ROOT = Path(__file__).resolve().parents[1]


def tellapart(*args, cwd, python=sys.executable, **env):
    "Run a command in a process of its own"
    return subprocess.run([python, '-m', 'tellapart', *args], cwd=cwd, env=os.environ | env, capture_output=True, text=True)


def refused(done, *words):
    "Check that a command failed with one sentence that has these words"
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(r'tellapart: [^\n]+\n', done.stderr), done.stderr
    for o in words: assert o in done.stderr


def test_starting_loads_the_standard_library_alone():
    code = "import sys; before = set(sys.modules); import tellapart.cli; print(*{o.split('.')[0] for o in set(sys.modules) - before})"
    loaded = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert 'tellapart' in loaded and {o for o in loaded if not o.startswith('_')} <= sys.stdlib_module_names | {'tellapart'}


def test_help_names_every_command(tmp_path):
    done = tellapart('--help', cwd=tmp_path)
    assert re.findall(r'^    (\w+)', done.stdout, re.M) == 'install course new run serve classify sort undo review export lab test bench'.split()


def test_new_project_is_read_again_and_never_overwritten(tmp_path):
    done = tellapart('new', 'pets', 'cat', 'guinea pig', cwd=tmp_path)
    file = Path(re.search(r'--project (\S+)', done.stdout)[1])
    text = (tmp_path/file).read_text()
    assert 'guinea pig' in text
    refused(tellapart('new', 'pets', 'dog', 'cat', cwd=tmp_path), 'exists already')
    assert (tmp_path/file).read_text() == text


def test_mistakes_are_told_in_a_sentence(tmp_path):
    refused(tellapart('run', cwd=tmp_path), 'tellapart.toml', 'tellapart new')
    (tmp_path/'bad.toml').write_text('name = "x"\nlables = {}\n')
    refused(tellapart('run', '--project', 'bad.toml', cwd=tmp_path), 'bad.toml')
    refused(tellapart('classify', 'photo.jpg', cwd=tmp_path), 'export.pkl', '--export')
    refused(tellapart('bench', 'speed', cwd=tmp_path), "'speed'", 'answer')


def remade(export, new, made, project):
    "A copy of an export, made at another time by another project"
    new.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(export) as z, zipfile.ZipFile(new, 'w') as out:
        for o in z.infolist():
            data = z.read(o)
            if o.filename.endswith('/meta.json'):
                meta = json.loads(data)
                data = json.dumps(meta | dict(made=made, card=meta['card'] | dict(project=project)))
            out.writestr(o, data)


def test_commands_to_type_are_quoted(tmp_path):
    done = tellapart('new', 'my fruits', 'apple', 'pear', cwd=tmp_path)
    *_,file = shlex.split(done.stdout.partition('then: ')[2], posix=os.name != 'nt')
    assert (tmp_path/file.strip('"')).is_file()


def test_says_which_export_answers_and_what_is_newer(export_pkl, tmp_path):
    "Beside the answers, so that they can be read by a program; in a sentence with what to type"
    photo = next(export_pkl.parent.glob('photos/tennis/*'))
    def told(*args):
        done = tellapart('classify', '--json', str(photo), *args, cwd=tmp_path, TELLAPART_PROJECT='', TELLAPART_EXPORT='')
        assert done.returncode == 0 and json.loads(done.stdout)['label'] == 'tennis'
        return done.stderr.splitlines()
    (tmp_path/'projects').mkdir()
    (tmp_path/'projects/pets.toml').write_text('name = "pets"\ndata = "../data"\n[labels]\ncat = "cat"\ndog = "dog"\n')
    own = Path('data', 'pets', 'export.pkl')
    remade(export_pkl, tmp_path/'export.pkl', '2026-01-01T12:00:00+00:00', 'pets')
    assert told() == ['export.pkl answers.'] and told('--export', 'export.pkl') == []
    remade(export_pkl, tmp_path/own, '2026-01-02T12:00:00+00:00', 'pets')
    assert told() == ['export.pkl answers.', f'{own} is newer: --export {own} answers by that one.'] and told('--export', own) == []
    (tmp_path/'data/pets/trained.pkl').touch()
    assert told('--export', own) == [f"{own.with_name('trained.pkl')} was trained since: to export it, tellapart export --project {Path('projects', 'pets.toml')}."]
    with socket.create_server(('127.0.0.1', 0)) as s:
        done = tellapart('serve', '--export', own, '--port', str(s.getsockname()[1]), cwd=tmp_path, TELLAPART_PROJECT='')
    assert 'trained since' in done.stderr and 'is taken' in done.stderr
def test_a_broken_project_is_told_where_its_export_is_looked_for(tmp_path):
    "Not that there is no export: only where there is no project at all that is what is wrong"
    (tmp_path/'tellapart.toml').write_text('name = "x\n')
    for command in ('classify', 'photo.jpg'), ('sort', '.', '--to', 'sorted'), ('serve',): refused(tellapart(*command, cwd=tmp_path), 'tellapart.toml')
    refused(tellapart('classify', 'photo.jpg', cwd=tmp_path, TELLAPART_PROJECT='nowhere.toml'), 'nowhere.toml')
    (tmp_path/'export.pkl').write_text('hello')
    refused(tellapart('classify', 'photo.jpg', cwd=tmp_path), 'export.pkl is no archive')


def test_what_is_not_installed_names_the_extra(tmp_path):
    venv.create(tmp_path/'env')
    python = next((tmp_path/'env').glob('[bS]*/python*'))
    refused(tellapart('run', cwd=tmp_path, python=python, PYTHONPATH=str(ROOT)), 'fastai', 'pip install "tellapart[learn]"')
    refused(tellapart('test', cwd=tmp_path, python=python, PYTHONPATH=str(ROOT)), 'pytest', "tellapart[test]")


needs_make = pytest.mark.skipif(not shutil.which('make'), reason="no make: Windows does without")


@needs_make
def test_make_help_lists_every_target():
    targets = re.search(r'\.PHONY: (.+)', (ROOT/'Makefile').read_text())[1].split()
    listed = re.findall(r'^  make (\S+) +\S', subprocess.run(['make'], cwd=ROOT, capture_output=True, text=True).stdout, re.M)
    assert set(listed) == {*targets, 'bench-%'}


@needs_make
@pytest.mark.parametrize('target, commands', [('course', ['install learn', 'run']), ('demo', ['install learn', 'run', 'serve']), ('app', ['install', 'serve']),
    ('lab', ['install learn', 'lab']), ('test', ['install test', 'test']), ('check', ['install test', 'test --quick']), ('test-all', ['install test', 'test --all']), ('bench', ['install bench', 'bench']), ('bench-answer', ['install bench', 'bench answer'])])
def test_make_targets_are_commands(target, commands, tmp_path):
    shutil.copy(ROOT/'Makefile', tmp_path)
    plan = subprocess.run(['make', '-n', target], cwd=tmp_path, capture_output=True, text=True).stdout
    assert re.findall(r'-m tellapart (.+?) *$', plan, re.M) == commands
    assert plan.index('-m venv .venv') < plan.index('-m tellapart')


def test_version():
    done = tellapart('--version', cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, f'tellapart {__version__}\n')


@needs_make
def test_make_says_which_python_it_needs(tmp_path):
    shutil.copy(ROOT/'Makefile', tmp_path)
    done = subprocess.run(['make', 'course', 'PYTHON=false'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and 'Python 3.11 or newer' in done.stderr and 'make course PYTHON=' in done.stderr
    assert not (tmp_path/'.venv').exists()


@needs_make
def test_make_removes_nothing_that_it_did_not_make(tmp_path):
    "A Python that can't make the environment leaves one that is there, and isn't taken for done"
    shutil.copy(ROOT/'Makefile', tmp_path)
    (tmp_path/'python').write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\ntouch .venv/pyvenv.cfg; exit 1\n')
    (tmp_path/'python').chmod(0o755)
    (tmp_path/'.venv').mkdir()
    (tmp_path/'.venv/mine').touch()
    done = subprocess.run(['make', 'app', 'PYTHON=./python'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and 'python3-venv' in done.stderr
    assert [o.name for o in (tmp_path/'.venv').iterdir()] == ['mine']
