"The credits as a browser and a spreadsheet show them, with hostile text from the web"
import io
import pandas as pd
import pytest
from PIL import Image
from tellapart.errors import TellapartError
from tellapart.credits import write_credits
from tellapart.catalog import Catalog
from tellapart.project import new_project, read_project
from tellapart.gather.sources.csv import csv

HOSTILE = '"><img src=x onerror="window.taken=true"><script>window.taken=true</script>{{ 7*7 }}'
BY = 'https://creativecommons.org/licenses/by/4.0/'


@pytest.fixture
def p(tmp_path):
    "A project with photos of each origin"
    p = read_project(new_project('pets', ["cats' & 100% #1", 'fish'], tmp_path/'projects'))
    photos = [dict(label="cats' & 100% #1", origin='web', url='http://x.org/1.jpg', page='http://x.org/1?a=1&b=2',
                   title=HOSTILE, creator=HOSTILE, licence=HOSTILE, licence_url=BY),
              dict(label='fish', origin='web', url='http://y.org/2.jpg', page='javascript:window.taken=true',
                   title='=HYPERLINK("http://evil.org")', creator='@SUM(A1)',
                   licence='CC BY 4.0', licence_url='javascript:window.taken=true'),
              dict(label='fish', origin='web', url='http://z.org/3.jpg"onmouseover="window.taken=true', title='Ein schöner 鱼 🐟'),
              dict(label='fish', origin='own', url='file:///home/me/secret/4.jpg'),
              dict(label='fish', origin='demo', url='http://host1.demo/5.jpg', page='http://host0.demo/page/5', title='fish on a table')]
    with Catalog(p.folder) as catalog:
        for i,o in enumerate(photos):
            Image.new('RGB', (200, 150), ((50*i) % 256, 120, 200)).save(f := io.BytesIO(), 'JPEG')
            catalog.add(o.pop('label'), f.getvalue(), '.jpg', **o)
    return p


def test_page_in_a_browser(browser, p):
    "All values are shown as text, no script runs, links lead only to the web, and every image loads"
    page = browser.new_page(viewport=dict(width=1000, height=800))
    page.goto(write_credits(p).as_uri())
    page.evaluate('Promise.all([...document.images].map(o => o.decode()))') # waits, and fails for one that isn't there
    cards = [[line for line in o.inner_text().split('\n') if line] for o in page.locator('ol li').all()]
    unknown = 'licence not known: ask before you publish it'
    assert cards[0] == [HOSTILE, f'by {HOSTILE}', HOSTILE, 'found at x.org']
    assert sorted(o[1:] for o in cards[1:]) == [['by @SUM(A1)', 'CC BY 4.0', 'found at y.org'], ['drawn by the demo web'],
                                                [unknown, 'found at z.org'], ['your own photo']]
    links = page.evaluate('[...document.querySelectorAll("ol a")].map(o => o.href)')
    assert sorted(links) == ['http://x.org/1?a=1&b=2', 'http://y.org/2.jpg', 'http://z.org/3.jpg%22onmouseover=%22window.taken=true', BY]
    for o in page.locator('ol li').all(): o.hover()
    assert page.evaluate('window.taken') is None
    page.close()


def test_table_for_spreadsheets(p):
    "No cell is a formula, URLs are unchanged, and no path of this disk is in it"
    write_credits(p)
    table = pd.read_csv(p.folder/'CREDITS.csv', keep_default_na=False).set_index('url')
    assert not any(o.startswith(tuple('=+-@\t\r')) for col in table for o in table[col])
    assert table.title['http://y.org/2.jpg'] == '\'=HYPERLINK("http://evil.org")'
    assert table.title['http://host1.demo/5.jpg'] == 'fish on a table'
    assert table.page['http://x.org/1.jpg'] == 'http://x.org/1?a=1&b=2' and table.page['http://y.org/2.jpg'] == ''
    assert 'secret' not in (p.folder/'CREDITS.csv').read_text('utf-8')
    assert 'Ein schöner 鱼 🐟' in (p.folder/'CREDITS.csv').read_bytes().decode('utf-8-sig')


def test_table_can_be_gathered_from(p):
    "Another project can gather the credited photos, with their credits"
    write_credits(p)
    other = p.model_copy(update=dict(csv=str(p.folder/'CREDITS.csv')))
    found = {o.url: o for o in csv(None, other, 'fish')}
    assert found.keys() == {'http://y.org/2.jpg', 'http://z.org/3.jpg"onmouseover="window.taken=true', 'http://host1.demo/5.jpg'}
    assert found['http://y.org/2.jpg'].licence == 'CC BY 4.0' and found['http://host1.demo/5.jpg'].page == 'http://host0.demo/page/5'


def test_a_folder_that_cannot_be_written(p):
    "One sentence, and the existing page stays complete"
    old = write_credits(p).read_bytes()
    (p.folder/'CREDITS.csv.part').mkdir()
    with pytest.raises(TellapartError, match="CREDITS.csv can't be written"): write_credits(p)
    assert (p.folder/'credits.html').read_bytes() == old
