"From sorting through dragging to the next training"
import io, re, shutil
from pathlib import Path
import pytest
from PIL import Image
from tellapart.cli import main

pytest.importorskip('fastai')
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.catalog import Catalog
from tellapart.project import new_project, read_project
from tellapart.use.sort.journal import CSV, Journal, read_rows


@pytest.fixture
def p(tmp_path):
    "A project that has been gathered: two photos of each label"
    p = read_project(new_project('rackets', ['badminton', 'squash', 'tennis'], tmp_path/'projects'))
    with Catalog(p.folder) as catalog:
        for label in [*p.labels]*2:
            Image.effect_noise((200, 150), 90).convert('RGB').save(f := io.BytesIO(), 'PNG')
            facts,working = inspect_image(f.getvalue())
            catalog.commit([facts | dict(label=label, origin='web', file=catalog.stage(f.getvalue()), working=catalog.stage(working))])
    return p


@pytest.fixture
def to(export_pkl, tmp_path):
    "Photos that have been sorted, moved from where they were"
    folder = tmp_path/'photos'
    folder.mkdir()
    for o in sorted(export_pkl.parent.glob('photos/*/*'))[:8]: shutil.copy(o, folder)
    assert main(['sort', str(folder), '--to', str(tmp_path/'sorted'), '--export', str(export_pkl), '--move']) == 0
    return tmp_path/'sorted'


def review(capsys, to, p):
    "What `tellapart review` says"
    capsys.readouterr()
    assert main(['review', str(to), '--project', str(p.file)]) == 0
    return capsys.readouterr().out


def other(label): return 'squash' if label != 'squash' else 'tennis'


def catalog(p):
    with Catalog(p.folder) as catalog:
        return catalog.frame('all')


def test_beside_sorting_and_undo_it_waits_in_a_sentence(to, p, capsys):
    with Journal(str(to/CSV)):
        assert main(['review', str(to), '--project', str(p.file)]) == 1
    assert 'Another program is at work on the photos in' in capsys.readouterr().err


def test_dragged_photos_are_learned_from(to, p, capsys):
    "What lies under another label is in the catalog, and the next check makes it part of the training; once more adds nothing"
    a,b,c,d,e,f,*rest = [o for o,_ in read_rows(to/CSV) if o.to]
    for o in 'unsure', 'blurred', *p.labels: (to/o).mkdir(exist_ok=True)
    (to/a.to).rename(to/other(a.label)/Path(a.to).name)
    (to/b.to).rename(to/other(b.label)/'quite another name.png')
    (to/c.to).rename(to/'unsure/c.png')
    (to/d.to).rename(to/'blurred/d.png')
    (to/e.to).unlink()
    (to/f.to).write_bytes(b'broken by an editor')
    out = review(capsys, to, p)
    for o in ('Moved to another label: 2 of 8', '2 where they were put', '1 unsure now', '2 gone or changed', '02_check 03_train',
              "In 'blurred', which is no label of rackets: 1;", 'Added to the catalog of rackets: 2'): assert o in out
    new = catalog(p).query("origin == 'feedback'").set_index('sha256')
    assert dict(new.label) == {a.sha256: other(a.label), b.sha256: other(b.label)}
    assert all(path.parent.name == label and path.exists() for path,label in zip(new.path, new.label))
    assert (to/other(a.label)/Path(a.to).name).exists() # where its owner put it
    check(p)
    df = catalog(p).query("origin == 'feedback' and status == 'ok'")
    assert len(df) == 2 and set(df.split) <= {'train', 'valid'} and all(o.exists() for o in df.working)

    before = catalog(p)
    again = review(capsys, to, p)
    assert 'Added to the catalog of rackets: 0; 2 in it already.' in again and '02_check' not in again
    assert catalog(p).equals(before)


def test_a_label_may_be_written_otherwise(to, p, capsys):
    "As a folder that went through another system may be"
    a = next(o for o,_ in read_rows(to/CSV) if o.to)
    (to/other(a.label)).rename(to/other(a.label).upper()) if (to/other(a.label)).exists() else (to/other(a.label).upper()).mkdir()
    (to/a.to).rename(to/other(a.label).upper()/'a.png')
    assert 'Moved to another label: 1 of 8' in review(capsys, to, p)
    assert dict(catalog(p).query("origin == 'feedback'").set_index('sha256').label) == {a.sha256: other(a.label)}


def test_a_photo_that_the_model_has_learned_from_changes_its_label(to, p, capsys):
    "It is no second photo; and what is decided about it later on stands"
    a = next(o for o,_ in read_rows(to/CSV) if o.to)
    (to/other(a.label)).mkdir(exist_ok=True)
    with Catalog(p.folder) as l: l.add(a.label, (to/a.to).read_bytes(), '.png', origin='own')
    (to/a.to).rename(to/other(a.label)/'a.png')
    assert '0; 1 relabelled in it.' in review(capsys, to, p)
    row, = catalog(p).query(f"sha256 == '{a.sha256}'").itertuples()
    assert (row.label, row.origin) == (other(a.label), 'own')
    assert row.file in (p.folder/'CREDITS.csv').read_text('utf-8-sig')
    with Catalog(p.folder) as l: assert l.undo() == 'Undone: relabel, 1 photo.'
    assert '1 in it already' in review(capsys, to, p)
    assert catalog(p).set_index('sha256').label[a.sha256] == a.label


@pytest.mark.parametrize('layout', ['label/tree', 'tree/label'])
def test_in_a_tree(export_pkl, p, tmp_path, layout, capsys):
    "A label is where the layout has it, whatever project folders are called"
    folder,to = tmp_path/'photos',tmp_path/'sorted'
    for i,o in enumerate(sorted(export_pkl.parent.glob('photos/*/*'))[:4]):
        (place := folder/['tennis', 'squash/hall'][i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(o, place)
    main(['sort', str(folder), '--to', str(to), '--export', str(export_pkl), '--keep-tree', layout])
    assert 'Moved to another label: 0 of 4' in review(capsys, to, p)
    row = next(o for o,_ in read_rows(to/CSV) if o.to)
    *folders,name = row.to.split('/')
    folders[0 if layout == 'label/tree' else -1] = other(row.label)
    to.joinpath(*folders).mkdir(parents=True, exist_ok=True)
    (to/row.to).rename(to.joinpath(*folders, name))
    assert f"Added to the catalog of rackets: 1 (1 {other(row.label)})." in review(capsys, to, p)


def test_where_nothing_is_left(to, p, capsys):
    "That is no success"
    for o,_ in read_rows(to/CSV):
        if o.to: (to/o.to).unlink()
    assert main(['review', str(to), '--project', str(p.file)]) == 1
    assert 'None of the 8 photos' in capsys.readouterr().err and catalog(p).origin.unique().tolist() == ['web']


def test_mistakes_are_told_in_a_sentence(p, tmp_path, capsys):
    assert main(['review', str(tmp_path), '--project', str(p.file)]) == 1
    assert re.fullmatch(r'tellapart: There is no \S+sorted\.csv; name the folder that photos were sorted into\.\n', capsys.readouterr().err)
    assert main(['undo', str(tmp_path/'nowhere')]) == 1
    assert 'There is no' in capsys.readouterr().err
