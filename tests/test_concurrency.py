"Several programs on one project at once: each step runs or ends with an error of one sentence, and every row has its file"
import json, os, random, re, shutil, sqlite3, time
import pytest
from forked import context
from tellapart.errors import TellapartError
from tellapart import catalog as module
from tellapart.catalog import Catalog, Reason


def run(jobs):
    "Run functions with their arguments in a process each, all at once; fails if one does"
    start,results = context.Barrier(len(jobs)),context.SimpleQueue()
    processes = [context.Process(target=_job, args=(start, results, *o)) for o in jobs]
    for o in processes: o.start()
    found = [results.get() for _ in processes]
    for o in processes: o.join()
    assert all(o.exitcode == 0 for o in processes), found
    return found


def _job(start, results, do, *args):
    start.wait(60)
    try: results.put((do.__name__, do(*args)))
    except TellapartError as e: results.put((do.__name__, f'{e}'))
    except BaseException as e: results.put((do.__name__, repr(e))); raise


def in_step(folder):
    "Whether each row has its file, and each file its row"
    with Catalog(folder) as catalog: df = catalog.frame('all')
    files = {o for top in ('photos', 'aside') for o in (folder/top).rglob('*') if o.is_file()}
    return set(df.path) == files


def _open(folder): Catalog(folder).close()


@pytest.mark.long
@pytest.mark.parametrize('times', [3, pytest.param(10, marks=pytest.mark.slow)])
def test_new_project_opened_by_many(tmp_path, times):
    for i in range(times): assert run([(_open, tmp_path/str(i))]*6) == [('_open', None)]*6


def _change(folder, seed):
    rng,slow,module._WAIT = random.Random(seed),os.rename,60
    os.rename = lambda *o: (time.sleep(rng.random()/500), slow(*o)) # so that others get in between
    for i in range(12):
        with Catalog(folder) as catalog:
            catalog.add(rng.choice('ab'), os.urandom(20), '.jpg')
            some = rng.sample(sorted(catalog.frame('all').file), 2)
            try:
                match rng.randrange(4):
                    case 0: catalog.apply(quarantine=dict.fromkeys(some, Reason('other', f'by {seed}, {i}')))
                    case 1: catalog.apply(labels=dict.fromkeys(some, rng.choice('ab')))
                    case 2: catalog.undo()
                    case 3: catalog.mark(some[0], 'b')
            except TellapartError as e: assert 'has no photo called' in str(e) # another one has renamed it


@pytest.mark.long
def test_writers_take_turns(tmp_path):
    with Catalog(tmp_path) as catalog:
        for i in range(6): catalog.add('a', f'{i}'.encode(), '.jpg')
    assert all(o == ('_change', None) for o in run([(_change, tmp_path, o) for o in range(5)]))
    assert in_step(tmp_path)
    with Catalog(tmp_path) as catalog:
        assert not catalog.db.execute('select * from moves').fetchall()
        rows = catalog.db.execute("select decision, new from history where what='set aside'").fetchall()
    for decision in {o['decision'] for o in rows}: # each is of one writer
        assert len({json.loads(o['new'])['reason_note'] for o in rows if o['decision'] == decision}) == 1


@pytest.mark.long
def test_moves_are_removed_by_whoever_makes_them(tmp_path):
    "One program opens the catalog while another one's moves are recorded, and is slow: moves that come later stay recorded"
    with Catalog(tmp_path) as catalog: files = [catalog.add('a', f'{i}'.encode(), '.jpg') for i in range(6)]
    assert {o for _,o in run([(_slowly_open, tmp_path), (_set_aside, tmp_path, files)])} == {None}
    assert in_step(tmp_path)


def _slowly_open(folder):
    rename = os.rename
    os.rename = lambda *o: (time.sleep(.1), rename(*o))
    for _ in range(20): Catalog(folder).close()


def _set_aside(folder, files):
    for o in files:
        with Catalog(folder) as catalog: catalog.apply(quarantine={o: Reason('other', 'a shoe')})


def test_a_catalog_in_use_is_not_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_BUSY', .1)
    other = sqlite3.connect(tmp_path/'ledger.db', isolation_level=None)
    other.execute('begin exclusive')
    with pytest.raises(TellapartError, match='is in use by another program; wait'): Catalog(tmp_path)
    other.execute('rollback')
    with Catalog(tmp_path) as catalog:
        other.execute('begin immediate')
        with pytest.raises(TellapartError, match='is in use by another program; wait'): catalog.add('a', b'1', '.jpg')
        other.execute('rollback')
        assert catalog.add('a', b'1', '.jpg')
    (tmp_path/'other').mkdir()
    (tmp_path/'other/ledger.db').write_bytes(b'something else'*100)
    with pytest.raises(TellapartError, match="isn't a catalog of tellapart"): Catalog(tmp_path/'other')


LABELS = 'squash','tennis'
# The catalog has no photo of a name where it has got another one, of its new label.
REFUSED = re.compile('Another step is at work|Another program is at work on the photos|The catalog has no photo called')
STEPS = 'gather','check','review','clean','undo','export'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A project with its export, in which each step has something to do"
    pytest.importorskip('fastai')
    from fastai.vision.all import (CategoryBlock, CrossEntropyLossFlat, DataBlock, ImageBlock, Learner, error_rate, get_image_files, nn,
                                   parent_label)
    from tellapart.check.check import check
    from tellapart.demo.draw import draw
    from tellapart.export.export import export_project
    from tellapart.gather.gather import gather
    from tellapart.project import read_project
    from tellapart.check.splits import CatalogSplitter
    from tellapart.train.resize import resize_transform
    from tellapart.train.train import dataloaders, save_trained
    from tellapart.use.sort.sort import sort
    folder = tmp_path_factory.mktemp('together')/'project'
    def draw_some(top, numbers):
        for label in LABELS:
            (folder/top/label).mkdir(parents=True, exist_ok=True)
            for i in numbers: draw(label, i, size=(96, 72)).save(folder/top/label/f'{i}.png')
    draw_some('own', range(12))
    (folder/'tellapart.toml').write_text('name = "rackets"\nsource = "folder"\nint8 = false\n[labels]\nsquash = "squash"\n'
                                         'tennis = "tennis"\n[train]\nsize = 32\nvalid = 0.5\n')
    p = read_project(folder/'tellapart.toml')
    gather(p)
    check(p)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                      item_tfms=resize_transform('squish', 32))
    model = nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(LABELS))) # quickly exported
    learn = Learner(dataloaders(block, p.working, p), model, loss_func=CrossEntropyLossFlat(), metrics=error_rate)
    save_trained(learn, block, p)
    export_project(p)
    draw_some('heap', range(12, 16))
    sort(folder/'heap', folder/'sorted', p.export)
    for i,o in enumerate(sorted((folder/'sorted').glob('*/*.png'))): # all are dragged to another label
        (there := folder/'sorted'/(LABELS[1] if o.parent.name == LABELS[0] else LABELS[0])).mkdir(exist_ok=True)
        o.rename(there/f'{i}.png')
    draw_some('own', range(16, 20)) # to be gathered
    with Catalog(p.folder) as catalog: catalog.apply(quarantine={catalog.frame().file[0]: Reason('other', 'to be undone')})
    return folder


def step(name, folder):
    "Run a step of a project"
    import pandas as pd
    from tellapart.check.check import check
    from tellapart.clean.cleaner import PhotoCleaner
    from tellapart.clean.review import review
    from tellapart.export.export import export_project
    from tellapart.gather.gather import gather
    from tellapart.project import read_project
    p = read_project(folder/'tellapart.toml')
    if name == 'gather': gather(p)
    if name == 'check': check(p)
    if name == 'review': review(folder/'sorted', p)
    if name == 'export': export_project(p)
    if name == 'undo':
        with Catalog(p.folder) as catalog: catalog.undo()
    if name == 'clean':
        scores = pd.DataFrame(columns=['predicted', 'probability', 'given_probability', 'label_error_score'], dtype=float)
        cleaner,other = PhotoCleaner(None, p, scores),dict(zip(LABELS, LABELS[::-1]))
        for file,label in cleaner.photos.set_index('file').label[:4].items(): cleaner.mark(file, other[label])
        cleaner.apply()


@pytest.mark.parametrize('pair', [(a, b) for i,a in enumerate(STEPS) for b in STEPS[i:]], ids='-'.join)
def test_two_steps_at_once(trained, tmp_path, pair):
    shutil.copytree(trained, folder := tmp_path/'project')
    data = folder/'data/rackets'
    results = [o for _,o in run([(step, o, folder) for o in pair])]
    assert None in results and all(o is None or REFUSED.search(o) for o in results), results
    assert in_step(data)
    for o in pair: step(o, folder) # whichever was rejected
    assert in_step(data)
    with Catalog(data) as catalog: df = catalog.frame('all')
    assert len(df) == 24 + 8*len({'gather', 'review'} & set(pair))
