"The quarantine widget, served by Voilà, in a real browser"
import io, sys
import pytest
from PIL import Image
from notebooks import write_notebook
from tellapart.catalog import Catalog, Reason
from tellapart.project import new_project, read_project
from webapp import served

HOSTILE = 'spotted <img src=x onerror="window.taken=true"><script>window.taken=true</script>'
VISIBLE = "[...document.querySelectorAll('.ta-card')].filter(o => o.offsetParent).length"


def photo(i):
    "A photo of its own colour, as a JPEG"
    levels = [min(255, v + 5*i) for v in range(256)]
    Image.linear_gradient('L').resize((300, 200)).convert('RGB').point(levels*3).save(f := io.BytesIO(), 'JPEG')
    return f.getvalue()


@pytest.fixture
def p(tmp_path):
    "A project where thirty near duplicates, two photos for a hostile reason, and a broken file are set aside"
    p = read_project(new_project('pets', ['cat', 'dog'], tmp_path/'projects'))
    with Catalog(p.folder) as catalog:
        kept,*rest = catalog.commit([dict(label='dog', sha256=f'{i:064x}'[::-1], suffix='.jpg', file=catalog.stage(photo(i)),
                                          working=catalog.stage(photo(i))) for i in range(34)])
        duplicate = Reason('near duplicate', duplicate_of=int(catalog.frame().set_index('file').id[kept]))
        reasons = [duplicate]*30 + [Reason('other', HOSTILE)]*2 + [Reason('unreadable', 'broken')]
        catalog.apply(quarantine=dict(zip(rest, reasons)))
    (p.quarantine/'dog'/rest[32]).write_bytes(b'gone bad')
    (p.folder/'working-aside'/'dog'/rest[32]).unlink()
    return p


@pytest.fixture
def page(browser, p, tmp_path, free_port):
    "A visitor's page, with the cards there"
    write_notebook(tmp_path/'quarantine.ipynb', 'from tellapart.check.quarantine import show_quarantine\n'
        f'from tellapart.project import read_project\nshow_quarantine(read_project({str(p.file)!r}))')
    url = f'http://localhost:{free_port}/'
    command = [sys.executable, '-m', 'voila', 'quarantine.ipynb', f'--port={free_port}', '--no-browser', '--Voila.ip=127.0.0.1']
    with served(command, f'{url}voila/static/favicon.ico', cwd=tmp_path):
        page = browser.new_page(viewport=dict(width=1000, height=800))
        page.goto(url)
        page.wait_for_function(f'{VISIBLE} == 24') # widgets come one by one
        yield page
        page.close()


def test_quarantine_in_a_browser(page, p):
    "Photos are shown by reason, page by page; one is restored by a click and set aside again by another; no foreign code runs"
    cards = page.locator('.ta-card:visible')
    reasons = page.locator('.widget-toggle-buttons button').all_inner_texts()
    assert reasons == ['near duplicate (30)', f'{HOSTILE} (2)', 'broken (1)']
    assert cards.count() == 24 and cards.first.locator('img').count() == 2
    assert 'in use: dog' in cards.first.inner_text() and 'near duplicate of dog-' in cards.first.inner_text()

    file = cards.first.locator('img').first.get_attribute('alt')
    button = cards.first.locator('button')
    button.focus()
    page.keyboard.press('Enter')
    page.wait_for_function("document.querySelector('.ta-card [role=status]').textContent == 'It is in use again.'")
    with Catalog(p.folder) as catalog: row = catalog.frame().set_index('file').loc[file]
    assert row.reason == 'restored' and row.path.exists() and row.working.exists()
    assert file in (p.folder/'CREDITS.csv').read_text('utf-8-sig')
    assert button.inner_text() == 'Set aside again'
    button.click()
    page.wait_for_function("document.querySelector('.ta-card [role=status]').textContent == ''")
    with Catalog(p.folder) as catalog: row = catalog.frame('aside').set_index('file').loc[file]
    assert row.reason_kind == 'near duplicate' and row.duplicate_of and row.path.exists() and row.working.exists()

    page.locator('.noUi-handle').focus()
    page.keyboard.press('ArrowRight')
    page.wait_for_function(f"document.querySelectorAll('.ta-card').length == 24 && {VISIBLE} == 6")
    page.get_by_text('spotted').first.click()
    page.wait_for_function(f'{VISIBLE} == 2')
    assert HOSTILE in cards.first.inner_text() and page.evaluate('window.taken') is None
    page.get_by_text('broken').first.click()
    page.wait_for_selector('.ta-card .none')
    assert 'no picture' in cards.first.inner_text() and 'broken' in cards.first.inner_text()
