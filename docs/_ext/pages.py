"The site's generated pages: one for each module and folder of the package, and the contents of the library's notebooks"
import ast, json, os, re
from pathlib import Path
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
import overview, settings
from docments import as_rst, target
from messages import messages
from source import ROOT, Source, modules, of_notebook

OUT = ROOT/'docs/api' # ignored by git
LIBRARY = Path('notebooks/library') # from the root
STEPS = 'gather', 'check', 'train', 'clean', 'export', 'use', 'share', 'demo', 'dev' # the order of folders; others come after them


def _heading(text, line): return f'{text}\n{line*len(text)}\n'
def _indent(text): return '\n'.join(f'   {o}' if o else '' for o in text.splitlines())
def _doc(notebook): return '/' + notebook.with_suffix('').as_posix()
def _step(folder): return (STEPS.index(folder) if folder in STEPS else len(STEPS)), folder


def _contents(rows):
    "A table of pages, with what each is for, and the same for the sidebar: rows of (page, name, name in the sidebar, summary)"
    table = ''.join(f'   * - :doc:`{name} <{page}>`\n     - {as_rst(summary)}\n' for page,name,_,summary in rows)
    tree = ''.join(f'   {short} <{page}>\n' for page,_,short,_ in rows)
    return f'.. list-table::\n   :widths: auto\n\n{table}\n.. toctree::\n   :hidden:\n\n{tree}'


def _constant(module, name, node):
    "What the page of a module says of a constant; a short comment behind it stays there"
    code,comment = '\n'.join(module.text.splitlines()[node.lineno - 1:node.end_lineno]),module.comment(node)
    if comment in code and len(code) < 88: comment = ''
    code = code.removesuffix(f'# {comment}').rstrip()
    text = f'{as_rst(comment)}\n\n.. code-block:: python\n\n{_indent(code)}'
    return f'.. py:data:: {name}\n\n{_indent(text)}\n'


def module_page(
    module:Source, # A module
)->str: # In reStructuredText
    "The reference of a module"
    parts = [_heading(module.name, '='), f'.. automodule:: {module.name}\n']
    if module.notebook: parts.append(f'Written and explained in :doc:`{module.notebook.as_posix()} <{_doc(module.notebook)}>`.\n')
    for name,node in module.public().items():
        if isinstance(node, ast.FunctionDef): parts.append(f'.. autofunction:: {name}\n')
        elif isinstance(node, ast.ClassDef):
            bases = [o for o in map(ast.unparse, node.bases) if o[0] != '_']
            parts.append(f'.. autoclass:: {name}\n   :members:\n' + ('   :show-inheritance:\n' if bases else ''))
        else: parts.append(_constant(module, name, node))
    return '\n'.join(parts)


def package_page(
    package:Source, # A package
)->str: # In reStructuredText
    "The contents of a package: modules by their notebooks' numbers, the plain ones after them, then packages"
    children = [o for o in modules().values() if o.name.rpartition('.')[0] == package.name]
    short = lambda o: o.name.rpartition('.')[2]
    children.sort(key=lambda o: (True, *_step(short(o))) if o.is_package else (False, not o.notebook, str(o.notebook or o.name)))
    contents = [_contents([(o.name, o.name, short(o), o.summary) for o in children])] if children else []
    title = 'API reference' if package.name == 'tellapart' else package.name
    return '\n'.join([_heading(title, '='), f'.. automodule:: {package.name}\n', *contents])


def library_page()->str: # In reStructuredText
    "The contents of the library's notebooks, by folder"
    parts = [_heading('Library notebooks', '='),
             'The package is written in these notebooks. Each has the code, the reasons for it, and examples that are also its tests.\n']
    folders = {}
    for o in sorted((o for o in modules().values() if o.notebook), key=lambda o: o.notebook):
        name = o.name.removeprefix('tellapart.')
        folders.setdefault(o.notebook.relative_to(LIBRARY).parts[:-1], []).append((_doc(o.notebook), name, name, o.summary))
    for folder in sorted(folders, key=lambda o: (*_step(o[0]), o) if o else (-1,)):
        parts += [_heading('/'.join(folder) or 'What all use', '-'), _contents(folders[folder])]
    return '\n'.join(parts)


def messages_page()->str: # In reStructuredText
    "All error messages, by module"
    parts = [_heading('Error messages', '='),
             'Each is one sentence: what happened, to what, and what to do next. Where it says ‹something›, the message has its value.\n']
    for module in modules().values():
        if not (said := messages(module)): continue
        rows = ''.join(f'* {as_rst(o)}\n' for o in said)
        parts += [_heading(module.name.removeprefix('tellapart.'), '-'), rows]
    return '\n'.join(parts)


def write_pages(app:Sphinx):
    "Write the generated pages; those that haven't changed stay as they are, so that Sphinx needn't read them again"
    pages = {o.name: (package_page if o.is_package else module_page)(o) for o in modules().values()}
    pages |= dict(library=library_page(), messages=messages_page())
    OUT.mkdir(exist_ok=True)
    for file in OUT.glob('*.rst'):
        if file.stem not in pages: file.unlink()
    for name,text in pages.items():
        file = OUT/f'{name}.rst'
        if not file.exists() or file.read_text('utf-8') != text: file.write_text(text, 'utf-8')


def _notebook(doc, text):
    "A notebook as it is shown: what only nbdev reads is left out, and the page of its module is linked"
    nb = json.loads(text)
    nb['metadata']['language_info'] = dict(name='python', pygments_lexer='ipython3') # as Jupyter has it; nbdev-clean takes it away
    nb['cells'] = [o for o in nb['cells'] if not ''.join(o['source']).startswith('#| default_exp')]
    markdown = lambda text: dict(cell_type='markdown', id='added', metadata={}, source=text)
    if not ''.join(nb['cells'][0]['source']).startswith('# '): nb['cells'].insert(0, markdown(f'# {Path(doc).name}.ipynb'))
    if module := of_notebook(doc): nb['cells'].insert(1, markdown(f'Reference: [{module.name}](/docs/api/{module.name}.rst)'))
    return json.dumps(nb)


def _link(doc, target):
    "A link's target; a folder of the library has its contents instead"
    folder = Path(os.path.normpath(Path(doc).parent/target))
    return '/docs/api/library.rst' if LIBRARY in (folder, *folder.parents) and (ROOT/folder).is_dir() else target


def prepare(app:Sphinx, doc, source):
    "What is read in place of a file"
    suffix = app.env.doc2path(doc).suffix
    if suffix == '.ipynb': source[0] = _notebook(doc, source[0])
    if suffix == '.md': source[0] = re.sub(r'(?<=\]\()(?!\w+:)[^)\s]+(?=\))', lambda o: _link(doc, o[0]), source[0])


def link_names(app:Sphinx, doctree):
    "Link names of ours in the backticks of notebooks and documents to their reference"
    doc = app.env.current_document.docname
    module = of_notebook(doc)
    for o in [] if doc.startswith('docs/api/') else list(doctree.findall(nodes.literal)):
        if isinstance(o.parent, nodes.reference) or not (name := target(o.astext(), module.name if module else '')): continue
        ref = pending_xref('', o.deepcopy(), refdomain='py', reftype='obj', reftarget=name, refdoc=doc, refexplicit=True)
        o.replace_self(ref)


def setup(app:Sphinx):
    "Called by Sphinx"
    app.connect('builder-inited', write_pages)
    app.connect('builder-inited', overview.write)
    app.connect('builder-inited', settings.write)
    app.connect('source-read', prepare)
    app.connect('doctree-read', link_names)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
