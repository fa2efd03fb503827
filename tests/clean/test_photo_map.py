"The map as somebody uses it: in JupyterLab and by Voilà, photos drawn around, clicked, and marked in one go; and bad input"
import io, json, sys
from contextlib import contextmanager
import numpy as np, pytest

pytest.importorskip('fastai')
from lab import open_lab
from notebooks import write_notebook
from webapp import served
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.clean.cleaner import PhotoCleaner
from tellapart.clean.photo_map import PhotoMap
from tellapart.demo.draw import draw
from tellapart.errors import TellapartError
from tellapart.project import new_project, read_project

pytestmark = pytest.mark.long # features of drawn photos

LABELS = 'squash','tennis'


@pytest.fixture
def p(tmp_path):
    "A project of forty drawn photos"
    p = read_project(new_project('sport', LABELS, tmp_path/'projects'))
    with Catalog(p.folder) as catalog:
        for i in range(40):
            draw(LABELS[i % 2], i, size=(160, 120)).save(f := io.BytesIO(), 'JPEG')
            catalog.add(LABELS[i % 2], f.getvalue(), **inspect_image(f.getvalue())[0])
    check(p)
    return p


@contextmanager
def open_voila(browser, folder, port, monkeypatch, widget, *cells):
    "The same notebook as `open_lab` has, served by Voilà"
    write_notebook(folder/'widget.ipynb', *cells)
    command = [sys.executable, '-m', 'voila', 'widget.ipynb', f'--port={port}', '--no-browser']
    with served(command, f'http://localhost:{port}/voila/static/', folder):
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.goto(f'http://localhost:{port}', timeout=120_000)
        page.wait_for_selector(widget, timeout=120_000)
        yield page
        page.close()


def place(page, xy):
    "Where a place on the map is on the page"
    box = page.locator('.ta-map canvas').bounding_box()
    w,h = page.locator('.ta-map canvas').evaluate('o => [o.clientWidth, o.clientHeight]')
    return box['x'] + 1 + (xy[0] - .5)*(w - 56) + w/2, box['y'] + 1 + (xy[1] - .5)*(h - 56) + h/2


def draw_around(page, left, top, right, bottom):
    for i,corner in enumerate([(left, top), (right, top), (right, bottom), (left, bottom)]):
        page.mouse.move(*place(page, corner), steps=5)
        if not i: page.mouse.down()
    page.mouse.up()


def cards(page): return {o.get_attribute('title') for o in page.locator('.ta-cards > div').all()}


@pytest.mark.browser
@pytest.mark.parametrize('open_page', [open_lab, pytest.param(open_voila, marks=pytest.mark.slow)], ids=['lab', 'voila'])
def test_photos_are_drawn_around(open_page, browser, p, tmp_path, free_port, monkeypatch):
    cells = [f'''from tellapart.clean.cleaner import PhotoCleaner
from tellapart.clean.photo_map import PhotoMap
from tellapart.project import read_project
photo_map = PhotoMap(PhotoCleaner(None, read_project({str(p.file)!r})))
photo_map''', 'import json\nprint(json.dumps([photo_map.widget.names, photo_map.places.tolist()]))']
    with open_page(browser, tmp_path, free_port, monkeypatch, '.ta-map canvas[data-ready]', *cells) as page:
        output = page.locator('pre').filter(has_text='[["').last
        output.wait_for(state='attached')
        names,places = json.loads(output.text_content())
        page.locator('.ta-map canvas').scroll_into_view_if_needed()
        middle = float(np.median([x for x,_ in places])) + 1e-3
        left = {name for name,(x,_) in zip(names, places) if x < middle}
        draw_around(page, -.02, -.02, middle, 1.02)
        page.get_by_text(f'{len(left)} photos selected.').wait_for()
        assert cards(page) == left

        page.get_by_label('Mark the whole page').select_option('tennis')
        page.get_by_text('The whole page will be moved to tennis.').wait_for()
        with Catalog(p.folder) as catalog: assert catalog.marks() == {o: 'tennis' for o in left if o.startswith('squash')}
        page.get_by_label('Mark the whole page').select_option('keep as it is')
        page.get_by_text('The whole page stays as it is.').wait_for()
        with Catalog(p.folder) as catalog: assert catalog.marks() == {}

        i = int(np.argmax([x for x,_ in places])) # nothing lies to the right of it
        page.mouse.click(*place(page, places[i]))
        page.get_by_text(f'{names[i]} and the photos most like it.').first.wait_for()
        assert names[i] in cards(page) and len(cards(page)) == 16
        page.locator('.ta-cards > div').nth(3).get_by_title('Show the photos most like it').click()
        page.wait_for_function("name => document.querySelector('.ta-cards > div').title != name", arg=names[i])


def test_photos_come_and_go(p):
    "The map shows labels as they are now, after marks and decisions, and finds photos under their new names"
    photo_map = PhotoMap(cleaner := PhotoCleaner(None, p))
    moved,gone = photo_map.widget.names[:2]
    label = moved.split('-')[0]
    other = LABELS[1 - LABELS.index(label)]
    cleaner.mark(moved, other)
    cleaner.mark(gone, '<Delete>')
    cleaner.apply()
    assert photo_map.widget.names[0].startswith(other) and photo_map.codes[0] == LABELS.index(other)
    assert photo_map.widget.names[1] == '' and photo_map.codes[1] == len(LABELS)
    assert photo_map.select([0, 1, 999]) == '1 photo selected.'
    with pytest.raises(TellapartError, match="This photo has no neighbours"): photo_map.show_neighbours(1)
    cleaner.undo()
    assert photo_map.widget.names[:2] == [moved, gone]


def test_photos_that_cannot_be_opened(p):
    with Catalog(p.folder) as catalog: df = catalog.frame()
    for o in df.path[0],df.working[0]: o.write_bytes(b'cut')
    (p.folder/'features.db').unlink()
    photo_map = PhotoMap(PhotoCleaner(None, p))
    assert len(photo_map.ids) == 39 and df.file[0] not in photo_map.widget.names
