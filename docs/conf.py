"The site's settings. Sphinx builds it from the checkout's root, so that all links hold as they do in the repository"
import sys, warnings
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE/'_ext')]
from tellapart import __version__ as release # noqa: E402
warnings.filterwarnings('ignore', message='.*torch.jit.script.*', category=FutureWarning) # which only fastai's makers can change

project = 'tellapart'
language = 'en'
smartquotes_action = 'D' # Sphinx's own dashes, but no curly quotes: docstrings quote values of strings
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.viewcode', 'pages', 'docments']
root_doc = 'docs/index'
include_patterns = ['*.md', 'app.ipynb', 'docs/*.md', 'docs/projects/*.md', 'docs/api/*.rst', 'benchmarks/*.md', 'notebooks/**.ipynb']
# Folders without a page aren't walked through: `data` may hold a million photos.
exclude_patterns = ['docs/_build', '**/.ipynb_checkpoints']
exclude_patterns += [o.name for o in ROOT.iterdir() if o.is_dir() and o.name not in ('docs', 'benchmarks', 'notebooks')]

nb_execution_mode = 'off' # `make test` runs the library's notebooks; the course's are committed with their outputs
nb_ipywidgets_js = {} # would come from a CDN; a picture stands in for each widget
nb_mime_priority_overrides = [('html', 'application/vnd.jupyter.widget-view+json', None)]
myst_heading_anchors = 3
autodoc_member_order = 'bysource'
autodoc_default_options = {'special-members': '__call__'}
autodoc_typehints = 'none' # docments.py has them in the lists of parameters
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False # what fastai's and Python's methods do is described where they come from
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = 'hide'

html_theme = 'furo'
html_title = f'tellapart {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
templates_path = ['_templates']
html_additional_pages = {'index': 'to-index.html'} # what a server of the folder shows first
html_show_sourcelink = html_copy_source = html_show_copyright = False
