"For Sphinx's autodoc: fastcore's docments, the comments beside parameters, as lists of parameters; and names in backticks as links"
import ast, inspect, re
from importlib import import_module
from fastcore.docments import docments
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer, ast as sphinx_ast
from sphinx.util.typing import stringify_annotation
from source import modules


def target(
    name:str, # As it stands in backticks
    module:str='', # Where it is looked up
)->str|None: # `None` where it is nothing of ours, or a parameter, or no name at all
    "The full name of a function or class of ours"
    if re.fullmatch(r'tellapart(\.\w+)+', name):
        return name
    o = import_module(module) if module in modules() else None
    for part in name.removesuffix('()').split('.'):
        if o is None or not part.isidentifier():
            return None
        o = inspect.getattr_static(o, part, None)
    is_ours = (inspect.isfunction(o) or inspect.isclass(o)) and o.__module__ in modules()
    return f'{o.__module__}.{o.__qualname__}' if is_ours else None


def as_rst(
    text:str, # Markdown, of which docstrings and comments have `code` alone
    module:str='', # Where its names are looked up
)->str:
    "The same in reStructuredText"
    def code(o):
        name = target(o, module)
        return f':py:obj:`{o} <{name}>`\\ ' if name else f'``{o}``\\ '
    parts = re.split(r'`([^`]+)`', text)
    return ''.join(code(o) if i%2 else re.sub(r'([\\*_|`])', r'\\\1', o) for i,o in enumerate(parts)).removesuffix('\\ ')


def _fields(obj):
    "The fields of a class of ours that has no `__init__` of its own"
    return modules()[obj.__module__].fields(obj.__qualname__) if obj.__module__ in modules() else []


def _parameters(what, obj):
    "The parameters of a function or class: (name, type, comment), and 'return' among them if there is something to say of it"
    if what == 'class' and (fields := _fields(obj)):
        return [(o.name, o.type, o.comment) for o in fields]
    try: found = docments(obj, full=True)
    except (TypeError, ValueError, OSError, AttributeError): found = {} # such as of an exception that keeps Python's own `__init__`
    kind = lambda o: '' if o.anno in (None, inspect.Parameter.empty) else stringify_annotation(o.anno, 'smart')
    return [(k, kind(o), o.docment or '') for k,o in found.items() if k not in ('self', 'cls') and (o.docment or k != 'return' and kind(o))]


def document(app:Sphinx, what, name, obj, options, lines):
    "Turn a docstring into reStructuredText, and add the parameters to it"
    module = name if what == 'module' else getattr(obj, '__module__', '')
    lines[:] = [as_rst(o, module) for o in lines] + ['']
    for k,kind,comment in _parameters(what, obj) if what in ('class', 'exception', 'function', 'method') else ():
        comment = as_rst(' '.join(comment.split()), module)
        if k == 'return': lines.append(f':returns: {comment}')
        else: lines += [f':param {k}: {comment}', *([f':type {k}: {kind}'] if kind else [])]
    lines.append('')


def _showable(signature):
    "A signature with an ellipsis for each default that Sphinx can't show, such as a comparison"
    code = f'def f{signature}: pass'
    args = ast.parse(code).body[0].args
    for o in filter(None, args.defaults + args.kw_defaults):
        try: sphinx_ast.unparse(o, code)
        except NotImplementedError: signature = signature.replace(ast.get_source_segment(code, o), '...')
    return signature


def sign(app:Sphinx, what, name, obj, options, signature, returns):
    "A signature with the type of what is returned; that of a class with fields is as it stands in the source"
    if what == 'class' and (fields := _fields(obj)):
        named = ['*'] if hasattr(obj, 'model_fields') else [] # pydantic's models take them by name alone
        signature = f'({", ".join([*named, *(f"{o.name}={o.value}" if o.value else o.name for o in fields)])})'
    elif what in ('function', 'method'):
        kind = inspect.signature(obj).return_annotation
        if kind is not inspect.Signature.empty: returns = stringify_annotation(kind, 'smart')
    return signature and _showable(signature), returns


def skip(app:Sphinx, what, name, obj, skipped, options):
    "Leave out methods that a library has put into a class of ours"
    return True if inspect.isfunction(obj) and obj.__module__ not in modules() else None


def place_patches(app:Sphinx):
    "Tell Sphinx where patched methods stand, which it looks for in their class: for their order, and for the pages of source"
    for name,module in modules().items():
        if not module.patches(): continue
        analyzer = ModuleAnalyzer.for_module(name) # which is kept
        analyzer.analyze()
        for method,place in module.patches().items():
            analyzer.tags[method] = place
            analyzer.tagorder[method] = len(analyzer.tagorder)


def setup(app:Sphinx):
    "Called by Sphinx"
    app.connect('builder-inited', place_patches)
    app.connect('autodoc-process-docstring', document)
    app.connect('autodoc-process-signature', sign)
    app.connect('autodoc-skip-member', skip)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
