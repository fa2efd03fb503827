"What the tests of docs/extending.md share: the code of a recipe, and a copy of the tree to follow it in"
import os, re, subprocess, sys
from textwrap import dedent
from fresh import ROOT


def code_blocks(heading):
    "The code blocks of a section of docs/extending.md"
    section = (ROOT/'docs/extending.md').read_text('utf-8').partition(f'## {heading}\n')[2].partition('\n## ')[0]
    return [dedent(o) for o in re.findall(r'^ *```\w+\n(.*?)^ *```$', section, re.M | re.S)]


def run(*args, cwd, **env):
    "Run Python in a tree, with the tree's package; what it printed"
    env = os.environ | dict(PYTHONPATH=str(cwd)) | env
    done = subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def nbdev_export(tree): run('-c', 'from nbdev.doclinks import nbdev_export; nbdev_export()', cwd=tree)
