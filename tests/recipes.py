"What the tests of docs/extending.md share: the code of a recipe, and a copy of the tree to follow it in"
import json, os, re, subprocess, sys
from textwrap import dedent
from fresh import ROOT


def code_blocks(heading):
    "The code blocks of a section of docs/extending.md"
    section = (ROOT/'docs/extending.md').read_text('utf-8').partition(f'## {heading}\n')[2].partition('\n## ')[0]
    return [dedent(o) for o in re.findall(r'^ *```\w+\n(.*?)^ *```$', section, re.M | re.S)]


def code_cells(sources):
    kind = dict(cell_type='code', metadata={}, outputs=[], execution_count=None)
    return [kind | dict(id=f'recipe{i}', source=o) for i,o in enumerate(sources)]


def write_notebook(file, sources):
    "Write a notebook of code cells"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(cells=code_cells(sources), metadata={}, nbformat=4, nbformat_minor=5)), 'utf-8')


def add_cells(file, sources):
    "Add code cells to the end of a notebook"
    nb = json.loads(file.read_text('utf-8'))
    nb['cells'] += code_cells(sources)
    file.write_text(json.dumps(nb), 'utf-8')


def run(*args, cwd, **env):
    "Run Python in a tree, with the tree's package; what it printed"
    env = os.environ | dict(PYTHONPATH=str(cwd)) | env
    done = subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def nbdev_export(tree): run('-c', 'from nbdev.doclinks import nbdev_export; nbdev_export()', cwd=tree)
