"The command line and the Makefile: help, errors, exit status, and what they print"
import json, os, re, shlex, shutil, socket, subprocess, sys, venv, zipfile
from pathlib import Path
import pytest
from tellapart import __version__
from tellapart.cli import main

ROOT = Path(__file__).resolve().parents[1]


def tellapart(*args, cwd, python=sys.executable, **env):
    "Run a command in its own process"
    return subprocess.run([python, '-m', 'tellapart', *args], cwd=cwd, env=os.environ | env, capture_output=True, text=True)


def refused(done, *words):
    "Check that a command failed with one sentence that contains these words"
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(r'tellapart: [^\n]+\n', done.stderr), done.stderr
    for o in words: assert o in done.stderr


def test_importing_the_command_line_loads_only_the_standard_library():
    code = "import sys; before = set(sys.modules); import tellapart.cli; print(*{o.split('.')[0] for o in set(sys.modules) - before})"
    loaded = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert 'tellapart' in loaded and {o for o in loaded if not o.startswith('_')} <= sys.stdlib_module_names | {'tellapart'}


def test_help_names_every_command(tmp_path):
    done = tellapart('--help', cwd=tmp_path)
    commands = 'install course new run serve share doctor classify sort undo review feedback export evaluate compare lab docs test bench'
    assert re.findall(r'^    (\w+)', done.stdout, re.M) == commands.split()


def test_an_old_name_of_an_option_works_with_one_line_that_gives_the_new_one(tmp_path, monkeypatch, capsys):
    pytest.importorskip('fastai')
    monkeypatch.chdir(tmp_path)
    def messages(option):
        assert main(['export', '--project', 'none.toml', option, 'ants']) == 1
        return [o for o in capsys.readouterr().err.splitlines() if o.startswith('tellapart:')] # other packages may warn
    error, = messages('--ood')
    assert 'none.toml' in error
    assert messages('--strangers') == ["tellapart: --strangers is now called --ood; the old name still works.", error]
    with pytest.raises(SystemExit): main(['export', '--help'])
    assert 'strangers' not in capsys.readouterr().out


def test_new_project_is_read_again_and_never_overwritten(tmp_path):
    done = tellapart('new', 'pets', 'cat', 'guinea pig', cwd=tmp_path)
    file = Path(re.search(r'--project (\S+)', done.stdout)[1])
    text = (tmp_path/file).read_text()
    assert 'guinea pig' in text
    refused(tellapart('new', 'pets', 'dog', 'cat', cwd=tmp_path), 'exists already')
    assert (tmp_path/file).read_text() == text


def test_a_mistake_is_reported_in_one_sentence(tmp_path):
    refused(tellapart('run', cwd=tmp_path), 'tellapart.toml', 'tellapart new')
    (tmp_path/'bad.toml').write_text('name = "x"\nlables = {}\n')
    refused(tellapart('run', '--project', 'bad.toml', cwd=tmp_path), 'bad.toml')
    refused(tellapart('classify', 'photo.jpg', cwd=tmp_path), 'export.pkl', '--export')
    refused(tellapart('bench', 'speed', cwd=tmp_path), "'speed'", 'answer')


def copy_export(export, new, made, project):
    "A copy of an export that says it was made at another time by another project"
    new.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(export) as z, zipfile.ZipFile(new, 'w') as out:
        for o in z.infolist():
            data = z.read(o)
            if o.filename.endswith('/meta.json'):
                meta = json.loads(data)
                data = json.dumps(meta | dict(made=made, card=meta['card'] | dict(project=project)))
            out.writestr(o, data)


def test_paths_in_suggested_commands_are_quoted(tmp_path):
    done = tellapart('new', 'my fruits', 'apple', 'pear', cwd=tmp_path)
    *_,file = shlex.split(done.stdout.partition('then: ')[2], posix=os.name != 'nt')
    assert (tmp_path/file.strip('"')).is_file()


def test_says_which_export_is_used_and_what_is_newer(export_pkl, tmp_path):
    "On stderr, so that a program can read the predictions; and with the command to type"
    photo = next(export_pkl.parent.glob('photos/tennis/*'))
    def messages(*args):
        done = tellapart('classify', '--json', str(photo), *args, cwd=tmp_path, TELLAPART_PROJECT='', TELLAPART_EXPORT='')
        assert done.returncode == 0 and json.loads(done.stdout)['label'] == 'tennis'
        return done.stderr.splitlines()
    (tmp_path/'projects').mkdir()
    (tmp_path/'projects/pets.toml').write_text('name = "pets"\ndata = "../data"\n[labels]\ncat = "cat"\ndog = "dog"\n')
    own = Path('data', 'pets', 'export.pkl')
    copy_export(export_pkl, tmp_path/'export.pkl', '2026-01-01T12:00:00+00:00', 'pets')
    assert messages() == ['Using export.pkl.'] and messages('--export', 'export.pkl') == []
    copy_export(export_pkl, tmp_path/own, '2026-01-02T12:00:00+00:00', 'pets')
    assert messages() == ['Using export.pkl.', f'{own} is newer: to use it, add --export {own}.'] and messages('--export', own) == []
    (tmp_path/'data/pets/trained.pkl').touch()
    command = f"tellapart export --project {Path('projects', 'pets.toml')}"
    assert messages('--export', own) == [f"{own.with_name('trained.pkl')} was trained since: to export it, {command}."]
    with socket.create_server(('127.0.0.1', 0)) as s:
        done = tellapart('serve', '--export', own, '--port', str(s.getsockname()[1]), cwd=tmp_path, TELLAPART_PROJECT='')
    assert 'trained since' in done.stderr and 'is taken' in done.stderr


def test_an_invalid_project_file_is_reported_by_commands_that_look_for_an_export(tmp_path):
    "They say that there is no export only if there is no project either"
    (tmp_path/'tellapart.toml').write_text('name = "x\n')
    for command in ('classify', 'photo.jpg'), ('sort', '.', '--to', 'sorted'), ('serve',):
        refused(tellapart(*command, cwd=tmp_path), 'tellapart.toml')
    refused(tellapart('classify', 'photo.jpg', cwd=tmp_path, TELLAPART_PROJECT='nowhere.toml'), 'nowhere.toml')
    (tmp_path/'export.pkl').write_text('hello')
    refused(tellapart('classify', 'photo.jpg', cwd=tmp_path), 'export.pkl is no archive')


def test_a_missing_package_names_the_extra_to_install(tmp_path):
    venv.create(tmp_path/'env')
    python = next((tmp_path/'env').glob('[bS]*/python*'))
    refused(tellapart('run', cwd=tmp_path, python=python, PYTHONPATH=str(ROOT)), 'fastai', 'pip install "tellapart[learn]"')
    refused(tellapart('test', cwd=tmp_path, python=python, PYTHONPATH=str(ROOT)), 'pytest', "tellapart[test]")


needs_make = pytest.mark.skipif(not shutil.which('make'), reason="make is not installed")


@needs_make
def test_make_help_lists_every_target():
    targets = re.search(r'\.PHONY: (.+)', (ROOT/'Makefile').read_text())[1].split()
    listed = re.findall(r'^  make (\S+) +\S', subprocess.run(['make'], cwd=ROOT, capture_output=True, text=True).stdout, re.M)
    assert set(listed) == {*targets, 'bench-%'}


@needs_make
@pytest.mark.parametrize('target, commands', [
    ('course', ['install learn', 'run']), ('demo', ['install learn', 'run', 'serve']), ('app', ['install', 'serve']),
    ('lab', ['install learn', 'lab']), ('docs', ['install docs', 'docs']), ('test', ['install test', 'test']),
    ('check', ['install test', 'test --quick']), ('test-all', ['install test', 'test --all']),
    ('bench', ['install bench', 'bench']), ('bench-answer', ['install bench', 'bench answer'])])
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
    "If making the environment fails, an existing folder stays as it is, and the next make tries again"
    shutil.copy(ROOT/'Makefile', tmp_path)
    (tmp_path/'python').write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} "$@"\ntouch .venv/pyvenv.cfg; exit 1\n')
    (tmp_path/'python').chmod(0o755)
    (tmp_path/'.venv').mkdir()
    (tmp_path/'.venv/mine').touch()
    done = subprocess.run(['make', 'app', 'PYTHON=./python'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and 'python3-venv' in done.stderr
    assert [o.name for o in (tmp_path/'.venv').iterdir()] == ['mine']


def test_a_course_for_a_repository(tmp_path, capsys):
    "Its notebooks have badges and a cell that fetches them; those in the package have neither, and a name that is none is refused"
    assert main(['course', str(tmp_path/'mine'), '--repo', 'me/fruits']) in (0, None)
    assert 'https://github.com/me/fruits' in capsys.readouterr().out
    for file in sorted((tmp_path/'mine/notebooks').glob('0*.ipynb')):
        title,badges,set_up,parameters = [''.join(o['source']) for o in json.loads(file.read_text('utf-8'))['cells'][:4]]
        assert badges.count('me/fruits') == 3 and badges.count(f'notebooks/{file.name}') == 3 and 'git clone' in set_up
        before = [o.stem for o in sorted((ROOT/'notebooks').glob('0[1-5]*.ipynb')) if o.name < file.name]
        assert (f'tellapart run {" ".join(before)} #' in set_up) == bool(before) and parameters.startswith('project = None')
        assert 'git clone' not in (ROOT/'notebooks'/file.name).read_text('utf-8')
    assert main(['course', str(tmp_path/'other'), '--repo', 'fruits']) == 1 and not (tmp_path/'other').exists()
