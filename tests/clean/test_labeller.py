"The labeller as somebody uses it: in JupyterLab, with mouse and keys, over a restart of the kernel; and bad input"
import csv, subprocess, sys
import pytest

pytest.importorskip('fastai')
from lab import open_lab, restart
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.clean.labeller import PhotoLabeller
from tellapart.demo.draw import draw
from tellapart.errors import TellapartError
from tellapart.gather.gather import gather
from tellapart.project import read_project

pytestmark = pytest.mark.long # features of drawn photos

LABELS = 'squash','tennis'


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn')
    for i in range(40): draw(LABELS[i % 2], i, size=(160, 120)).save(folder/f'{LABELS[i % 2]}-{i}.jpg')
    return folder


@pytest.fixture
def heap(drawn, tmp_path):
    "A heap of photos, whose names say what they show"
    (tmp_path/'heap/sub').mkdir(parents=True)
    for i,o in enumerate(sorted(drawn.iterdir())): (tmp_path/'heap'/('sub' if i % 3 else '')/o.name).write_bytes(o.read_bytes())
    return tmp_path/'heap'


def table(heap):
    with open(heap/'labels.csv', newline='', encoding='utf-8') as f:
        return {o['URL']: o['Label'] for o in csv.DictReader(f)}


def label_row(page):
    "Label the first row: click what doesn't belong, then press a key; the number of actions"
    row = page.locator('.ta-label section').first
    names = row.locator('> div button').evaluate_all('all => all.map(o => o.title)')
    label = max(LABELS, key=lambda o: sum(o in name for name in names))
    wrong = [i for i,name in enumerate(names) if label not in name]
    for i in wrong: row.locator('> div button').nth(i).click()
    before = page.locator('.ta-bar span').inner_text()
    row.focus()
    proposed = row.locator('strong').inner_text()
    page.keyboard.press('Enter' if proposed == f'{label}?' else str(1 + LABELS.index(label)))
    page.wait_for_function("before => document.querySelector('.ta-bar span').textContent != before", arg=before)
    return len(wrong) + 1


@pytest.mark.browser
def test_a_heap_is_labelled(browser, heap, tmp_path, free_port, monkeypatch):
    cell = f'from tellapart.clean.labeller import PhotoLabeller\nPhotoLabeller({str(heap)!r}, {LABELS})'
    with open_lab(browser, tmp_path, free_port, monkeypatch, '.ta-label img', cell) as page:
        actions = label_row(page)
        first = table(heap)
        assert first and page.locator('.ta-bar span').inner_text() == f'{len(first)} of 40 photos labelled'
        page.get_by_role('button', name='Undo').click()
        page.get_by_text('0 of 40 photos labelled').wait_for()
        assert table(heap) == {}
        actions += label_row(page)
        first = table(heap)
        restart(page, '.ta-label img')
        page.get_by_text(f'{len(first)} of 40 photos labelled').wait_for()
        while page.locator('.ta-label section').count(): actions += label_row(page)
        page.get_by_text('All 40 photos are labelled').wait_for()
    assert {url: label for url,label in table(heap).items() if label not in url} == {} and len(table(heap)) == 40 and actions < 30
    (tmp_path/'tellapart.toml').write_text('name = "heap"\nsource = "csv"\ncsv = "heap/labels.csv"\n[labels]\n'
                                           'squash = "squash"\ntennis = "tennis"\n')
    p = read_project(tmp_path/'tellapart.toml')
    gather(p)
    check(p)
    with Catalog(p.folder) as catalog: assert catalog.frame('all').label.value_counts().to_dict() == dict(squash=20, tennis=20)
    assert (heap/'squash-0.jpg').exists() or (heap/'sub/squash-0.jpg').exists() # it stays where it is


def test_a_kill_loses_no_label(heap):
    "However it ends, the table is whole and has every row that was decided before"
    code = (f'from tellapart.clean.labeller import PhotoLabeller\no = PhotoLabeller({str(heap)!r}, {LABELS})\n'
            'import os, sys\nfor _ in range(2):\n    row = next(iter(o.page)); o.decide(row, "tennis")\nprint(o.widget.done, flush=True)\n'
            'import tellapart.clean.labeller as m\nm.os.replace = lambda *a: os._exit(9)\no.decide(next(iter(o.page)), "squash")')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert list(table(heap).values()) == ['tennis']*int(done.stdout)
    assert PhotoLabeller(heap, LABELS).widget.done == int(done.stdout)


def test_bad_input(heap, tmp_path):
    (heap/'broken.jpg').write_bytes(b'\xff\xd8\xff')
    (heap/'=1+1.jpg').write_bytes((heap/'squash-0.jpg').read_bytes())
    o = PhotoLabeller(heap, [*LABELS, 'bear'])
    assert len(o.files) == 41 and [f.name for f in o.unreadable] == ['broken.jpg']
    while o.page: o.decide(next(iter(o.page)), 'tennis', list(o.page.values())[0][1][:1] if o.widget.done < 20 else ())
    assert table(heap)["'=1+1.jpg"] and PhotoLabeller(heap, LABELS).widget.done == 41
    (tmp_path/'empty').mkdir()
    with pytest.raises(TellapartError, match='There are no photos in'): PhotoLabeller(tmp_path/'empty', LABELS)
    with pytest.raises(TellapartError, match='name at least two'): PhotoLabeller(heap, ['squash', 'squash'])
    with pytest.raises(TellapartError, match="can't be a folder's name"): PhotoLabeller(heap, ['a/b', 'c'])


def test_no_label_in_the_table_is_lost(heap):
    "Neither of a photo that is elsewhere for a while, nor of a label that isn't given this time, nor a table of somebody else's"
    (heap/'labels.jpg').write_bytes((heap/'squash-0.jpg').read_bytes()) # a photo like any other
    o = PhotoLabeller(heap, LABELS)
    assert len(o.files) == 41
    o.decide(next(iter(o.page)), 'tennis')
    before = table(heap)
    away = heap/next(iter(before))
    away.rename(elsewhere := heap.parent/away.name)
    o = PhotoLabeller(heap, LABELS)
    o.decide(next(iter(o.page)), 'squash')
    assert table(heap).items() > before.items()
    elsewhere.rename(away)
    assert PhotoLabeller(heap, LABELS).widget.done == len(table(heap))
    kept = (heap/'labels.csv').read_bytes()
    with pytest.raises(TellapartError, match='has photos labelled tennis: give all labels'): PhotoLabeller(heap, ['squash', 'badminton'])
    assert (heap/'labels.csv').read_bytes() == kept
    for foreign in b'photo;kind\n1.jpg;squash\n', b'\xff\xfeU\0R\0L\0', b'':
        (heap/'labels.csv').write_bytes(foreign)
        with pytest.raises(TellapartError, match='is another table'): PhotoLabeller(heap, LABELS)
        assert (heap/'labels.csv').read_bytes() == foreign
