"The site that `make docs` builds"
import html, importlib, os, re, subprocess, sys
from pathlib import Path
import pytest
from fastcore.docments import docments
from fresh import tracked

for o in 'sphinx', 'myst_nb', 'furo': pytest.importorskip(o, reason=f"{o} isn't installed: tellapart install docs")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pages(monkeypatch):
    "The extension that makes the pages"
    monkeypatch.syspath_prepend(ROOT/'docs/_ext')
    yield importlib.import_module('pages')
    for o in 'pages', 'docments', 'messages', 'overview', 'settings', 'source': del sys.modules[o]


def test_each_module_and_all_that_it_exports_has_its_place(pages):
    modules = pages.modules()
    assert {o.name for o in modules.values() if o.notebook} and modules['tellapart.dev.install'].notebook is None
    for o in modules.values():
        if o.is_package: continue
        page = pages.module_page(o)
        exported = re.search(r"^__all__ = (\[.+?\])", o.text, re.M | re.S)
        missing = [name for name in (eval(exported[1]) if exported else ()) if not re.search(fr'^\.\. \S+:: {name}$', page, re.M)]
        assert not missing, f'{o.name}: {missing}'
        assert f' <{o.name}>' in pages.package_page(modules[o.name.rpartition('.')[0]])
        assert not o.notebook or o.notebook.with_suffix('').as_posix() in pages.library_page()
    empty = [o for o in modules.values() if o.is_package and not any(m.startswith(f'{o.name}.') for m in modules)]
    assert empty and not any('list-table' in pages.package_page(o) for o in empty) # Sphinx takes no table without rows


def test_code_in_markdown_is_code_and_nothing_else_is_markup(pages):
    name = 'tellapart.images.open_photo'
    assert pages.as_rst(f'a*b_ is `x*y`, `{name}`') == rf'a\*b\_ is ``x*y``\ , :py:obj:`{name} <{name}>`'


def test_error_messages_are_listed_and_say_what_to_do(pages):
    "What happened, and behind a colon or a semicolon the cure"
    page = pages.messages_page()
    assert page.count('\n* ') > 140 and "There is no export.pkl here" in page
    said = [o for module in pages.modules().values() for o in pages.messages(module)]
    assert not [o for o in said if not re.search(r'[;:?] \S|All that it printed', o)]


def test_what_is_made_from_code_is_up_to_date(pages):
    "The picture of the whole, and the table of settings"
    assert (ROOT/'docs/overview.svg').read_text('utf-8') == sys.modules['overview'].draw(), "run: tellapart docs"
    table = sys.modules['settings'].settings()
    assert (ROOT/'docs/settings.md').read_text('utf-8') == table, "run: tellapart docs"
    assert '| `freeze_epochs` | `1` |' in table and '| `max_pixels` | `110000000` |' in table


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The site of a fresh copy of the checkout"
    root = tracked(tmp_path_factory.mktemp('docs').resolve()/'repo')
    env = os.environ | dict(PYTHONPATH=str(root))
    done = subprocess.run([sys.executable, '-m', 'tellapart', 'docs'], cwd=root, env=env, capture_output=True, text=True)
    assert not done.stderr, done.stderr # no warning
    assert (done.returncode, done.stdout) == (0, f"Open {root/'docs/_build/html/index.html'}\n")
    return root/'docs/_build/html'


def text(site, page, id=''):
    "What a page says, or what it says from the entry `id` to the next one"
    content = (site/page).read_text('utf-8')
    if id:
        assert f'id="{id}"' in content, f'{id} is not on {page}'
        content = re.split(r'<dt class="sig', content.partition(f'id="{id}"')[2])[0]
    return re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]+>', '', content)))


def comments(o): return {k: c.replace('`', '') for k,c in (docments(o) | dict(doc=o.__doc__)).items() if c}


@pytest.mark.slow
def test_the_reference_has_functions_fields_and_patched_methods(site):
    from tellapart.catalog import Catalog
    from tellapart.images import Limits, open_photo
    function,said = text(site, 'docs/api/tellapart.images.html', 'tellapart.images.open_photo'),comments(open_photo)
    assert 'limits=Limits()' in function and '→ Image' in function
    assert f"name (str | None) – {said.pop('name')}" in function and not [o for o in said.values() if o not in function]
    fields,said = text(site, 'docs/api/tellapart.images.html', 'tellapart.images.Limits'),comments(Limits)
    assert not [o for o in said.values() if o not in fields] and f"min_side (int) – {said['min_side']}" in fields
    method = text(site, 'docs/api/tellapart.catalog.html', 'tellapart.catalog.Catalog.undo')
    assert comments(Catalog.undo)['doc'] in method and '[source]' in method and 'self' not in method
    assert 'Classifier.__call__' in (site/'docs/api/tellapart.use.classifier.html').read_text('utf-8')
    assert 'id="Catalog.undo"' in (site/'_modules/tellapart/catalog.html').read_text('utf-8')


@pytest.mark.slow
def test_notebooks_and_documents_are_rendered_and_linked(site):
    notebook = (site/'notebooks/library/03_images.html').read_text('utf-8')
    assert '#| default_exp' not in notebook and 'docs/api/tellapart.images.html#tellapart.images.open_photo' in notebook
    assert 'notebooks/library/03_images.html' in (site/'docs/api/tellapart.images.html').read_text('utf-8')
    assert 'href="api/tellapart.images.html#tellapart.images.open_photo"' in (site/'docs/architecture.html').read_text('utf-8')
    sources = [*ROOT.glob('notebooks/**/*.ipynb'), *ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md')]
    for o in sources: assert '.ipynb_checkpoints' in o.parts or (site/o.relative_to(ROOT).with_suffix('.html')).exists()


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site):
    loads = r'<(?:script|link|img|iframe|source|video|audio)\b[^>]*?(?:src|href)="(?:https?:)?//[^"]+"'
    assert not {o for page in site.rglob('*.html') for o in re.findall(loads, page.read_text('utf-8'))}
    imports = r'(?:url\(|@import )["\']?(?:https?:)?//[^"\')]+'
    assert not {o for file in site.rglob('*.css') for o in re.findall(imports, file.read_text('utf-8'))}


@pytest.mark.slow
def test_search_finds_a_function_without_a_server(site, browser):
    page = browser.new_page()
    asked = []
    page.on('request', lambda o: asked.append(o.url))
    page.goto(f'{(site/"index.html").as_uri()}')
    page.wait_for_url('**/docs/index.html')
    page.locator('input[name=q]:visible').fill('open_photo')
    page.keyboard.press('Enter')
    page.locator('#search-results a[href*="tellapart.images"]').first.wait_for()
    assert {o.partition(':')[0] for o in asked} <= {'file', 'data'}
