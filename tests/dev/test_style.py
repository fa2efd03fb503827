"The linter, the type checker, and two rules of style that they don't know"
import ast, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(o for top in ('tellapart', 'tests', 'benchmarks') for o in (ROOT/top).rglob('*.py')
               if o.name != '_modidx.py' and 'course_files' not in o.parts)
CALLS = {'bool', 'hasattr', 'isinstance', 'any', 'all'}


def check(*command):
    done = subprocess.run([sys.executable, '-m', *command], cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


def test_ruff(): check('ruff', 'check')


def test_types(): check('mypy')


def hidden_returns(tree):
    "Lines with a colon of a compound statement and a `return` behind it, which is easily overlooked; not those of one-line functions"
    for o in ast.walk(tree):
        for part in ('body', 'orelse', 'finalbody'):
            body = getattr(o, part, None)
            if not isinstance(body, list) or not isinstance(o, ast.stmt | ast.ExceptHandler | ast.match_case): continue
            is_function = isinstance(o, ast.FunctionDef | ast.AsyncFunctionDef) and len(body) == 1
            header = getattr(o, 'pattern', o).lineno
            for s in body:
                hidden = s.lineno == header or s is not body[0] and s.lineno == body[0].lineno
                if isinstance(s, ast.Return) and hidden and not is_function: yield s.lineno


def is_boolean(o):
    is_negation = isinstance(o, ast.UnaryOp) and isinstance(o.op, ast.Not)
    return isinstance(o, ast.Compare) or is_negation or isinstance(o, ast.Call) and getattr(o.func, 'id', '') in CALLS


def boolean_factors(tree):
    "Lines in which a string or a list is multiplied by a boolean"
    for o in ast.walk(tree):
        if isinstance(o, ast.BinOp) and isinstance(o.op, ast.Mult):
            for a,b in (o.left, o.right), (o.right, o.left):
                if is_boolean(b) and isinstance(a, ast.Constant | ast.List | ast.JoinedStr): yield o.lineno


@pytest.mark.parametrize('rule', [hidden_returns, boolean_factors])
def test_house_style(rule):
    found = [f'{file.relative_to(ROOT)}:{line}' for file in FILES for line in rule(ast.parse(file.read_text('utf-8')))]
    assert not found, f"{rule.__doc__}: {', '.join(found)}"


def test_house_style_is_seen():
    tree = ast.parse("def f(x):\n    if x: return 1\n    try: y = 1; return y\n    except OSError: return 's'*(x > 1)\n"
                     "def g(x): return x\n")
    assert sorted(hidden_returns(tree)) == [2, 3, 4] and list(boolean_factors(tree)) == [4]
