"What the tests of installing share: a copy of the checkout, and environments with nothing in them"
import os, shutil, subprocess, sys
from pathlib import Path
from tellapart.machine import program

ROOT = Path(__file__).resolve().parents[1]
UV = program('uv')


def tracked(folder):
    "Copy the files that git tracks into `folder`, which is made"
    files = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    for o in subprocess.check_output(files, cwd=ROOT, text=True).split('\0'):
        if o and (ROOT/o).exists():
            (folder/o).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/o, folder/o)
    return folder


def programs(venv): return venv/('Scripts' if os.name == 'nt' else 'bin')


def install(venv, *what):
    "Install into `venv`, with uv where it is at hand"
    python = programs(venv)/'python'
    pip = [UV, 'pip', 'install', '--python', python] if UV else [python, '-m', 'pip', 'install']
    subprocess.run([*pip, '--quiet', *what], check=True)


def environment(folder, *what):
    "Make a virtual environment in `folder` with `what` in it"
    subprocess.run([sys.executable, '-m', 'venv', *(['--without-pip'] if UV else []), folder], check=True)
    install(folder, *what)
    return folder
