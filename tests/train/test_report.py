"The report on a run as a browser shows it, and runs beside each other"
import io, shutil
from pathlib import Path
import numpy as np, pandas as pd
import pytest
from PIL import Image
from tellapart.errors import TellapartError
from tellapart.catalog import Catalog, Reason
from tellapart.project import new_project, read_project

pytest.importorskip('fastai')
from fastai.vision.all import (CategoryBlock, ColReader, CrossEntropyLossFlat, DataBlock, FuncSplitter, ImageBlock, Learner, Resize,
                               error_rate, get_image_files, nn, parent_label, torch)
from tellapart.check.check import working_copies
from tellapart.train.report import Run, report, runs

HOSTILE = '"><img src=x onerror="window.taken=true"><script>window.taken=true</script>{{ 7*7 }}'
LABELS = ["blue & 'navy' {{7+7}} #1", 'green', 'red']
PREDICTED = ['green', 'green', 'red'] # The model's prediction for each of these, whatever the photo


class ByMean(nn.Module):
    "A model that predicts red correctly, and blue as green"
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.))

    def forward(self, x):
        r,g,b = x.mean((2, 3)).unbind(1)
        return self.scale*torch.stack([-r - g, torch.maximum(g, b), r], 1)


@pytest.fixture
def p(tmp_path):
    "A project with twelve photos of each label, half of them for validation, of two origins"
    p = read_project(new_project('colours', LABELS, tmp_path/'projects'))
    rng = np.random.default_rng(0)
    with Catalog(p.folder) as catalog:
        for i in range(36):
            colour = np.eye(3)[::-1][i % 3]*120 + 60 # blue, green, red
            Image.fromarray((colour + rng.normal(0, 20, (64, 80, 3))).clip(0, 255).astype('uint8')).save(f := io.BytesIO(), 'JPEG')
            origin,split = HOSTILE if i % 4 == 3 else 'own','valid' if i % 2 else 'train'
            catalog.add(LABELS[i % 3], f.getvalue(), '.jpg', origin=origin, split=split, width=80, height=64)
        working_copies(p, catalog.frame())
    return p


def photos(p):
    with Catalog(p.folder) as catalog:
        return catalog.frame()


def learner(p, by='folder'):
    "A learner on the photos of `p`, by their folders or by the catalog's table"
    df = photos(p)
    df = df.assign(working=df.working.map(str))
    valid = set(df.working[df.split == 'valid'])
    how = dict(get_items=get_image_files, get_y=parent_label, splitter=FuncSplitter(lambda o: str(o) in valid))
    if by == 'table':
        def splitter(o): return [np.flatnonzero(o.split == split) for split in ('train', 'valid')]
        how = dict(get_x=ColReader('working'), get_y=ColReader('label'), splitter=splitter)
    block = DataBlock((ImageBlock, CategoryBlock), item_tfms=Resize(32), **how)
    dls = block.dataloaders(p.working if by == 'folder' else df, bs=8, num_workers=0)
    learn = Learner(dls, ByMean(), loss_func=CrossEntropyLossFlat(), metrics=error_rate)
    learn.remove_cb(learn.progress)
    return learn


def test_numbers_open_their_photos(browser, p):
    "From the disk, without JavaScript, when the photos themselves have gone; and nothing hostile comes to life"
    learn = learner(p)
    with learn.no_logging(): learn.fit(2, 0)
    it = report(learn, p)
    for o in p.photos,p.working: shutil.rmtree(o)
    for script in False,True:
        page = browser.new_context(java_script_enabled=script).new_page()
        page.goto(it.file.as_uri())
        rows = [[o.inner_text() for o in row.locator('th, td').all()] for row in page.locator('.matrix tr').all()]
        assert rows[0] == ['', *LABELS]
        for row,label,predicted in zip(rows[1:], LABELS, PREDICTED): assert row == [label, *('6' if predicted == o else '' for o in LABELS)]
        page.get_by_role('button', name=f'6 photos of {LABELS[0]} predicted as green').click()
        shown = page.locator('[popover]:popover-open')
        assert shown.locator('img').count() == 6
        assert all(o.startswith(f'{LABELS[0]} ') for o in shown.locator('figcaption').all_inner_texts())
        page.keyboard.press('Escape')
        assert not shown.count()
        page.locator('.matrix button').first.press('Enter')
        assert shown.count() == 1
        assert page.locator('th', has_text=HOSTILE).count() == 1
        assert page.evaluate('[...document.images].every(o => o.complete && o.naturalWidth)') and page.evaluate('window.taken') is None
        assert page.locator('svg').count() == 3
        page.context.close()


def test_the_notebook_shows_it_too(browser, p):
    "Smaller, two of them in one notebook, and each number opens its own photos"
    learn,page = learner(p),browser.new_page()
    its = [report(learn, p) for _ in range(2)]
    page.set_content('<!DOCTYPE html>' + ''.join(o._repr_html_() for o in its))
    page.locator('.ta-report').nth(1).locator('.matrix button').first.click()
    shown = page.locator('[popover]:popover-open')
    assert shown.count() == 1 and shown.locator('img').first.is_visible()
    assert page.locator('.ta-report').nth(1).locator('[popover]:popover-open').count() == 1
    assert len(its[0]._repr_html_()) < its[0].file.stat().st_size and f"runs/{its[0].file.parent.name}/report.html" in its[0]._repr_html_()
    page.close()


def test_label_errors_come_first(browser, p):
    "Given label errors, the first list shows photos of both splits"
    df = photos(p).set_index('file')
    label_errors = pd.DataFrame(dict(label=df.label, predicted=HOSTILE, probability=.7, given_probability=.2,
                                     label_error_score=np.linspace(0, 1, len(df))))
    page = browser.new_page()
    page.goto(report(learner(p), p, label_errors).file.as_uri())
    names = page.locator('h2:text-is("Look at these first") ~ .grid').first.locator('small').all_inner_texts()
    assert names == list(label_errors.index[::-1][:24]) and {'train', 'valid'} == set(df.split[names])
    assert page.locator('h2', has_text='Top losses').count() == 1 and page.evaluate('window.taken') is None
    page.close()


def test_folders_and_table_give_the_same_figures(p):
    a,b = (report(learner(p, by), p).run for by in ('folder', 'table'))
    assert a.error.wrong == 6 and {o.sha256: o.predicted for o in a.predictions} == {o.sha256: o.predicted for o in b.predictions}
    assert a.by_label == b.by_label and a.by_origin == b.by_origin and a.by_origin.keys() == {'own', HOSTILE}


def test_runs_of_older_versions(p, capsys):
    "Some fields had other names: `sure` in 0.1, and `source` before"
    made = report(learner(p), p)
    before = runs(p)
    file = made.file.parent/'run.json'
    older = [('"origin"', '"source"'), ('"by_origin"', '"by_source"'), ('"confidence"', '"sure"')]
    text = file.read_text('utf-8')
    for new,old in older: text = text.replace(new, old)
    file.write_text(text, 'utf-8')
    assert runs(p).equals(before) and len(before) == 1
    old = Path(__file__).parent/'fixtures/run-0.1.json'
    (p.runs/'old').mkdir()
    shutil.copy(old, p.runs/'old/run.json')
    run = Run.model_validate_json(old.read_bytes())
    assert run.calibration[0].confidence == pytest.approx(.99148, abs=1e-5) and run.seconds == pytest.approx(.1427, abs=1e-4)
    assert len(runs(p)) == 2 and not capsys.readouterr().out


def test_training_time(p):
    it = report(learner(p), p, seconds=33.4)
    assert it.run.seconds == 33.4 and 'in 33 seconds' in it.file.read_text('utf-8')


def test_runs_are_compared_by_the_labels_of_now(p, capsys):
    "A photo whose label was put right counts by it for the older run, too; one that was set aside doesn't count"
    assert not len(runs(p)) and 'There are no runs yet' in capsys.readouterr().out
    report(learner(p), p)
    df = photos(p)
    blue = df.file[(df.split == 'valid') & (df.label == LABELS[0])].tolist()
    with Catalog(p.folder) as catalog:
        catalog.apply(labels=dict.fromkeys(blue[:2], 'green'), quarantine={blue[2]: Reason('other', 'blurred')})
    second = report(learner(p), p)
    old,new = runs(p).itertuples()
    assert (old.error, new.error) == (6/18, 3/17)
    assert (old.shared, old.error_shared, old.latest_shared, old.p, old.beyond_chance) == (17, 3/17, 3/17, 1, False)
    (second.file.parent/'run.json').write_text('{"predictions": 3}')
    assert list(runs(p).index) == [old.Index] and "run.json can't be read" in capsys.readouterr().out


def test_a_difference_beyond_chance(p):
    "Six photos that only one of two runs gets right are more than chance has"
    report(learner(p), p)
    learn = learner(p)
    learn.model.forward = lambda x: x.mean((2, 3)).flip(1)*learn.model.scale
    assert report(learn, p).run.error.wrong == 0
    old,_ = runs(p).itertuples()
    assert (old.difference, old.p, old.beyond_chance) == (6/18, 2*.5**6, True)


def test_a_model_that_went_astray(p):
    learn = learner(p)
    learn.model.scale.data *= float('nan')
    with pytest.raises(TellapartError, match="probabilities aren't numbers"): report(learn, p)
    assert not list(p.runs.glob('*/*'))


def test_disk_that_cannot_be_written(p):
    p.runs.write_text('in the way')
    with pytest.raises(TellapartError, match="runs can't be written"): report(learner(p), p)
