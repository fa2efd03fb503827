"The cleaner as somebody uses it: in JupyterLab, with mouse and keyboard, over a restart of the kernel"
import io
import numpy as np, pytest
from PIL import Image
from lab import open_lab, restart
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.catalog import Catalog
from tellapart.clean.cleaner import PhotoCleaner
from tellapart.project import new_project, read_project

CAT,DOG = 'cat &lt;b&gt;','dog' # What would become a tag if names were taken for HTML


@pytest.fixture
def p(tmp_path):
    "A project of 31 photos with label error scores by name; one, from feedback, is a cat cut a little and labelled a dog"
    p = read_project(new_project('pets', [CAT, DOG], tmp_path/'projects'))
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype='uint8')).resize((80, 80)) for _ in range(30)]
    with Catalog(p.folder) as catalog:
        for i,photo in enumerate([*noise, noise[0].crop((0, 0, 79, 79))]):
            photo.save(f := io.BytesIO(), 'PNG')
            catalog.add(CAT if i < 15 else DOG, f.getvalue(), origin='feedback' if i == 30 else 'web', **inspect_image(f.getvalue())[0])
    check(p)
    with Catalog(p.folder) as catalog: df = catalog.frame().set_index('file')
    label_errors = df[['label']].assign(predicted=DOG, probability=.93, given_probability=.07, label_error_score=range(len(df), 0, -1),
                                          why='14 of its 15 nearest neighbours are dog')
    label_errors.to_pickle(tmp_path/'label_errors.pkl')
    return p


@pytest.fixture
def page(browser, p, tmp_path, free_port, monkeypatch):
    "A notebook with the cleaner, open in JupyterLab"
    cells = [f'''import pandas as pd
from tellapart.clean.cleaner import PhotoCleaner
from tellapart.project import read_project
cleaner = PhotoCleaner(None, read_project({str(p.file)!r}), pd.read_pickle('label_errors.pkl'), per_page=8)
cleaner''', 'cleaner.delete(), cleaner.change()']
    with open_lab(browser, tmp_path, free_port, monkeypatch, '.ta-clean img', *cells) as page: yield page


def show(page, view, position):
    "Choose a view; `position` is the text beside it then"
    page.locator('.ta-bar label select').select_option(view)
    page.get_by_text(position).wait_for()


def await_marks(page, *marks):
    "Wait until the first cards are marked so, and the others aren't"
    shown = "marks => [...document.querySelectorAll('.ta-cards b')].every((o, i) => o.textContent == (marks[i] ?? ''))"
    page.wait_for_function(shown, arg=marks)


def said(page, beginning):
    page.wait_for_function("said => document.querySelector('.ta-clean [role=status]').textContent.startsWith(said)", arg=beginning)
    return page.locator('.ta-clean [role=status]').inner_text()


def test_photos_are_cleaned(page, p):
    "Marks by mouse and keyboard, on any page and in any view, outlive the kernel, are applied at once, and come back with what they did"
    with Catalog(p.folder) as catalog: before = catalog.frame()
    file,cards = list(before.file),page.locator('.ta-cards > div')
    page.get_by_text('page 1 of 4, 31 photos').wait_for()
    shown = cards.nth(1).inner_text()
    assert shown.startswith(CAT) and 'dog? 93%' in shown and '14 of its 15 nearest neighbours are dog' in shown

    cards.nth(0).get_by_text('dog? 93%').click()
    cards.nth(1).get_by_title('Set aside').click()
    cards.nth(2).get_by_label('Label it should have').select_option('dog')
    await_marks(page, '→ dog', 'set aside', '→ dog')
    # To JupyterLab, x and twice d mean that the cell is to be deleted.
    for key in 'ArrowRight', 'Delete', 'ArrowRight', '2', 'ArrowRight', 'd', 'd', ' ', 'x', 'ArrowRight', 'd': page.keyboard.press(key)
    await_marks(page, '→ dog', 'set aside', '→ dog', 'set aside', '→ dog', '', '→ dog')
    page.keyboard.press('Enter')
    page.keyboard.press('PageDown')
    page.get_by_text('page 2 of 4').wait_for()
    page.keyboard.press('Backspace')
    await_marks(page, 'set aside')
    marks = {file[0]: DOG, file[1]: '<Delete>', file[2]: DOG, file[3]: '<Delete>', file[4]: DOG, file[8]: '<Delete>'}
    with Catalog(p.folder) as catalog: assert catalog.marks() == marks
    assert page.locator('.jp-CodeCell').count() == 2

    show(page, 'labelled dog', 'page 1 of 2, 16 photos')
    await_marks(page)
    show(page, 'looking alike', 'page 1 of 1, 2 photos')
    one,other = (o.get_attribute('title') for o in cards.all())
    assert one.startswith(CAT) and f'looks like {other}' in cards.first.inner_text() and f'looks like {one}' in cards.last.inner_text()
    show(page, 'feedback', 'page 1 of 1, 1 photo')
    restart(page, '.ta-clean img')
    await_marks(page, '→ dog', 'set aside', '→ dog', 'set aside', '→ dog')
    page.get_by_text("([1, 3, 8], [(0, 'dog'), (2, 'dog'), (4, 'dog')])").wait_for()
    show(page, 'marked', 'page 1 of 1, 6 photos')

    for o in before.path[1],before.working[1]: o.unlink() # somebody else has tidied up
    page.get_by_text('Apply 6 marks').click()
    assert said(page, 'By hand') == 'By hand: 1 deleted. 2 set aside, 3 moved to another label; undo takes it back.'
    page.get_by_text('page 1 of 1, 0 photos').wait_for()
    with Catalog(p.folder) as catalog: after,aside = catalog.frame(),catalog.frame('aside')
    assert set(aside.file) == {file[1], file[3], file[8]} and after.label.value_counts().to_dict() == {DOG: 19, CAT: 9}
    assert all(o.exists() for o in (*after.path, *after.working)) and not any(before.path[i].exists() for i in (0, 1, 2, 3, 4, 8))
    assert file[3] not in (p.folder/'CREDITS.csv').read_text('utf-8-sig')

    page.get_by_role('button', name='Undo').click()
    assert said(page, 'Undone') == 'Undone: set aside and relabel, 5 photos.' # what was done by hand is another decision
    page.get_by_text('Apply 5 marks').wait_for()
    del marks[file[1]]
    with Catalog(p.folder) as catalog: assert list(catalog.frame().file) == [*file[:1], *file[2:]] and catalog.marks() == marks
    assert [o.exists() for o in before.path] == [i != 1 for i in range(31)]
    assert page.get_by_role('button', name='Undo').is_disabled()


@pytest.mark.long
def test_what_is_marked_is_learned_from(tmp_path):
    "Pages that have been seen stay as they were, and the rest is ranked anew, also after the marks are applied and undone"
    p,rng,wrong = read_project(new_project('pets', ['cat', 'dog'], tmp_path/'projects')),np.random.default_rng(0),set()
    with Catalog(p.folder) as catalog:
        for i in range(60): # cats are red and dogs are blue, but for twelve
            pixels = rng.integers(0, 100, (64, 64, 3), dtype='uint8')
            pixels[..., 2*(i%2)] += 150
            Image.fromarray(pixels).save(f := io.BytesIO(), 'PNG')
            file = catalog.add(['cat', 'dog'][(i + (i < 12)) % 2], f.getvalue(), **inspect_image(f.getvalue())[0])
            if i < 12: wrong.add(file)
    check(p)
    cleaner = PhotoCleaner(None, p, per_page=6)
    def page(n):
        cleaner.show(page=n)
        return [o['file'] for o in cleaner.widget.cards]
    first,scores = page(0),cleaner.label_errors.label_error_score
    assert set(first) <= wrong
    for o in first: cleaner.mark(o, 'dog' if o.startswith('cat') else '<Delete>')
    second = page(1)
    assert set(second) <= wrong and not set(second) & set(first) and page(0) == first
    assert (cleaner.label_errors.label_error_score[scores.index] != scores).any()
    cleaner.apply()
    assert page(1)[-1] not in first and len(cleaner.shown) == 60 - sum(o.startswith('dog') for o in first)
    cleaner.undo()
    assert [page(0), page(1)] == [first, second]
