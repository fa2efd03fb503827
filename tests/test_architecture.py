"Which folder of the package may import which: the course's steps in their order, and inference apart from training"
import ast
from pathlib import Path
import pytest

PACKAGE = Path(__file__).resolve().parents[1]/'tellapart'
TOP = {'', 'errors', 'paths', 'machine', 'images', 'file_moves', 'split_methods', 'spreadsheets', 'pages', 'project', 'catalog', 'credits',
       'course', 'pretrained', 'tracing', 'features', 'neighbours'}
MAY = { # folder → the other folders that its modules may import; all may import TOP
    'use': set(),
    'check': {'use'},
    'gather': {'use', 'check'},
    'train': {'use', 'check'},
    'clean': {'use', 'check', 'train'},
    'export': {'use', 'check', 'train'},
    'demo': {'clean'},
    'dev': set(),
    'share': {'use'},
    'serve': {'use'},
}
EXCEPT = { # single modules that may do more
    'project': {'gather.sources'}, # which sources there are
    'credits': {'gather.sources'}, # their terms of use
    'gather.sources': {'demo.web'}, # one of them is the demo
    'features': {'use.classifier'}, # how a photo becomes a network's input
}
HEAVY = {'torch', 'torchvision', 'fastai', 'fastcore', 'pandas', 'sklearn', 'scipy'}
# What a plain install has the libraries for
LIGHT = {'use', 'share', 'serve'} | TOP - {'catalog', 'credits', 'tracing', 'features', 'neighbours'}


def name(file): return '.'.join(file.relative_to(PACKAGE).with_suffix('').parts).removesuffix('__init__').strip('.')
LEFT_OUT = '_modidx.py', '__main__.py', 'cli.py'
MODULES = {name(o): o for o in PACKAGE.rglob('*.py') if o.name not in LEFT_OUT and 'course_files' not in o.parts}
def room(module): return 'top' if module in TOP else module.partition('.')[0]


def imported(module):
    "The modules of ours and the packages of others that a module imports, anywhere in it; and those that it can't be imported without"
    file = MODULES[module]
    tree,here = ast.parse(file.read_text('utf-8')),('tellapart', *module.split('.'))
    lazy = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
    at_once = {id(o) for top in tree.body if not isinstance(top, lazy) for o in ast.walk(top)}
    for o in ast.walk(tree):
        if isinstance(o, ast.Import): names = [a.name for a in o.names]
        elif isinstance(o, ast.ImportFrom):
            above = here if file.name == '__init__.py' else here[:-1]
            base = '.'.join(filter(None, ('.'.join(above[:len(above) - o.level + 1]) if o.level else '', o.module)))
            names = [base, *(f'{base}.{a.name}' for a in o.names)]
        else: continue
        for n in names: yield n, id(o) in at_once


@pytest.mark.parametrize('module', sorted(MODULES))
def test_imports_go_one_way(module):
    ours = {n.removeprefix('tellapart').strip('.') for n,_ in imported(module) if n.partition('.')[0] == 'tellapart'} & MODULES.keys()
    allowed = MAY.get(room(module), set()) | {room(module), 'top'}
    excepted = tuple(f'{e}.' for k,some in EXCEPT.items() if f'{module}.'.startswith(f'{k}.') for e in some)
    wrong = {o for o in ours if room(o) not in allowed and not f'{o}.'.startswith(excepted)}
    assert not wrong, f'tellapart.{module} imports {wrong}; what it needs from there is to be handed in, or moved'


@pytest.mark.parametrize('module', sorted(o for o in MODULES if room(o) in LIGHT or o in LIGHT))
def test_inference_imports_no_heavy_library(module):
    assert not {n.partition('.')[0] for n,at_once in imported(module) if at_once or room(module) == 'use'} & HEAVY


def test_every_folder_has_a_rule(): assert {room(o) for o in MODULES} == {*MAY, 'top'}
