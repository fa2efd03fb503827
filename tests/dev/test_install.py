"Installing: into a virtual environment, once, and never a torch and torchvision that don't fit"
import os, shutil, subprocess, sys, venv
from pathlib import Path
import pytest
from fresh import ROOT, UV

pytestmark = pytest.mark.long
FAST = Path(UV).parent if UV else '' # The place of uv, whose work pip does where there is none
NEEDS = '''[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "tellapart"
version = "0"
dependencies = [{needs}]
optional-dependencies.learn = ["iniconfig"]
optional-dependencies.test = []
[tool.setuptools]
packages = ["tellapart", "tellapart.dev"]
'''


@pytest.fixture
def checkout(tmp_path):
    "A checkout that needs little, and an environment of its own"
    shutil.copytree(ROOT/'tellapart', tmp_path/'tellapart', ignore=shutil.ignore_patterns('use', '__pycache__'))
    (tmp_path/'notebooks').mkdir()
    (tmp_path/'pyproject.toml').write_text(NEEDS.format(needs=''))
    venv.create(tmp_path/'env', with_pip=True)
    return tmp_path


def python(checkout): return next((checkout/'env').glob('[bS]*/python*'))


def install(checkout, part, path=FAST):
    "Run `tellapart install` where only the programs in `path` are found"
    return subprocess.run([python(checkout), '-m', 'tellapart', 'install', part], cwd=checkout, capture_output=True, text=True,
                          env=os.environ | dict(PATH=str(path)))


def provide(checkout, code):
    "Put a torchvision with this code into the environment"
    site = subprocess.check_output([python(checkout), '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], text=True).strip()
    Path(site, 'torchvision.py').write_text(code)


@pytest.mark.parametrize('path', [FAST, pytest.param('', marks=pytest.mark.slow)] if FAST else [''], ids=lambda o: 'uv' if o else 'pip')
def test_installs_once_for_one_list_of_needs(checkout, path):
    provide(checkout, 'class ops: nms = None')
    first = install(checkout, 'learn', path)
    assert first.returncode == 0, first.stderr
    subprocess.run([python(checkout), '-c', 'import iniconfig, tellapart'], cwd=checkout/'notebooks', check=True)
    for part in 'learn', 'use': # which is part of it
        again = install(checkout, part, path)
        assert (again.returncode, again.stdout, again.stderr) == (0, '', '')
    (checkout/'pyproject.toml').write_text(NEEDS.format(needs='"no-such-thing==0.0.0"'))
    changed = install(checkout, 'use', path)
    assert changed.returncode == 1 and changed.stderr.splitlines()[-1].startswith('tellapart: Installing failed')


def test_refuses_torch_and_torchvision_that_do_not_fit(checkout):
    provide(checkout, 'raise RuntimeError("operator torchvision::nms does not exist")')
    for _ in range(2): # it isn't taken for done afterwards
        done = install(checkout, 'learn')
        why = "tellapart: torch and torchvision don't fit each other (RuntimeError: operator"
        assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(why)


def test_tests_and_benchmarks_come_with_a_checkout(checkout):
    (checkout/'notebooks').rmdir()
    for part in 'docs', 'test', 'bench':
        done = install(checkout, part)
        assert done.returncode == 1 and 'clone its repository' in done.stderr and done.stderr.count('\n') == 1


@pytest.mark.skipif(os.name == 'nt', reason="no apt-get and no sudo there")
def test_nothing_runs_as_root_unasked(tmp_path):
    "Who isn't root is told what to type, even where sudo would ask for no password"
    for o in 'sudo', 'apt-get':
        (tmp_path/o).write_text(f'#!/bin/sh\necho {o} "$@" >> {tmp_path}/called\n')
        (tmp_path/o).chmod(0o755)
    code = ('import os; os.geteuid = lambda: 1000; from tellapart.dev import install; '
            'install.chromium = install.postgresql = lambda: None; install.install_programs()')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=os.environ | dict(PATH=str(tmp_path)), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '') and 'sudo apt-get install chromium postgresql' in done.stdout
    assert not (tmp_path/'called').exists()
