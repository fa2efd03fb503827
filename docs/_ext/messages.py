"The error messages of the whole program, collected from its source"
import ast
from functools import cache
from source import Source, modules

BASE = 'TellapartError'


@cache
def error_classes()->set[str]:
    "Names of all errors that a user can act on"
    bases = {node.name: {ast.unparse(o).rpartition('.')[2] for o in node.bases}
             for module in modules().values() for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)}
    found = {BASE}
    while more := {name for name,of in bases.items() if of & found} - found: found |= more
    return found


def _words(node):
    "A message as it is written, with what differs in angle brackets; '' where it is made elsewhere"
    match node:
        case ast.Constant(str() as text): return text
        case ast.JoinedStr(values): return ''.join(map(_words, values))
        case ast.FormattedValue(value=value): return f'‹{_name(value)}›'
        case ast.BinOp(left, ast.Add(), right): return _words(left) + _words(right)
        case ast.IfExp(body=body): return _words(body)
    return ''


def _name(node):
    "What stands for a value: the outermost name in the expression that isn't a function"
    called = [o.func for o in ast.walk(node) if isinstance(o, ast.Call)]
    names = [o for o in ast.walk(node) if isinstance(o, (ast.Name, ast.Attribute))]
    names = [o for o in names if o not in called] or names
    return (getattr(names[0], 'attr', None) or names[0].id).strip('_') if names else '…'


def messages(
    module:Source, # A module
)->list[str]: # In their order
    "The messages of the errors that a module raises"
    errors = error_classes()
    calls = [o for o in ast.walk(module.tree) if isinstance(o, ast.Call) and ast.unparse(o.func).rpartition('.')[2] in errors and o.args]
    found = [' '.join(max(map(_words, o.args), key=len).split()) for o in sorted(calls, key=lambda o: o.lineno)]
    return list(dict.fromkeys(o for o in found if ' ' in o))
