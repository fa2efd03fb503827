"Files that a person moves, renames, deletes or adds between any two steps are found, reported and taken in"
import shutil
import pytest
from tellapart.errors import TellapartError
from tellapart.check.check import check
from tellapart.clean.cleaner import PhotoCleaner
from tellapart.demo.draw import draw
from tellapart.gather.gather import gather
from tellapart.catalog import Catalog, Reason
from tellapart.project import read_project
from tellapart.check.splits import training_photos

LABELS = 'squash','tennis'
PROJECT = 'name = "rackets"\nsource = "folder"\n[labels]\nsquash = "squash"\ntennis = "tennis"\n[train]\nsize = 48\nvalid = 0.5\n'


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    "A project that has been gathered and checked, 20 photos a label"
    folder = tmp_path_factory.mktemp('drawn')/'project'
    for label in LABELS:
        (folder/'own'/label/'one').mkdir(parents=True)
        for i in range(20): draw(label, i, size=(96, 72)).save(folder/'own'/label/f'{i}.png')
    (folder/'tellapart.toml').write_text(PROJECT)
    p = read_project(folder/'tellapart.toml')
    gather(p)
    check(p)
    return folder


@pytest.fixture
def p(drawn, tmp_path):
    "A copy of it, whose own photos are its own"
    shutil.copytree(drawn, tmp_path/'project')
    p = read_project(tmp_path/'project/tellapart.toml')
    with Catalog(p.folder) as catalog:
        urls = {o.file: dict(url=o.url.replace(drawn.as_uri(), (tmp_path/'project').as_uri())) for o in catalog.frame().itertuples()}
        catalog.set_metadata(urls)
    return p


def frame(p, status='ok'):
    with Catalog(p.folder) as catalog:
        return catalog.frame(status)


def in_step(p): return set(frame(p, 'all').path) == {o for top in (p.photos, p.quarantine) for o in top.rglob('*.png')}


def of(p, label): return list(frame(p).query('label == @label').path)


def test_training_says_that_files_have_moved(p):
    of(p, 'squash')[0].unlink()
    with pytest.raises(TellapartError, match="1 of 40 photos aren't where they were at the last check, .* run 02_check"): training_photos(p)


@pytest.mark.parametrize('step', [gather, check])
def test_moved_renamed_deleted_and_new(p, capsys, step):
    a,b,c,d,*_ = of(p, 'squash')
    split = frame(p).set_index('file').split
    a.rename(p.photos/'tennis'/'is tennis.png')
    b.rename(b.with_name('my favourite.png'))
    c.unlink()
    p.quarantine.mkdir(exist_ok=True)
    d.rename(p.quarantine/d.name)
    (p.photos/'of no use').mkdir()
    (last := of(p, 'tennis')[-1]).rename(p.photos/'of no use'/last.name)
    draw('tennis', 77, size=(96, 72)).save(p.photos/'tennis/new.png')
    (p.photos/'tennis/notes.png').write_text('bought in May')
    capsys.readouterr()
    step(p)
    said = capsys.readouterr().out
    assert "By hand: 1 deleted, 1 moved to another label, 1 new, 1 renamed, 2 set aside, 1 that can't be opened left alone." in said
    df = frame(p, 'all').set_index('sha256')
    assert df.label.value_counts().to_dict() == dict(squash=19, tennis=22) and (df.status == 'aside').sum() == 3
    moved = df[df.file.str.startswith('tennis') & df.url.str.contains('squash', na=False)].iloc[0]
    assert moved.path.exists() and moved.split == split[a.name] # figures before and after compare
    assert b.exists() and not (p.photos/'of no use'/last.name).exists()
    assert set(df[df.status == 'aside'].reason) == {'deleted by hand', 'moved to aside by hand', 'moved to photos/of no use by hand'}
    check(p)
    assert len(training_photos(p)) == 38
    assert set(frame(p).path) == {o for o in p.photos.rglob('*.png') if o.name != 'notes.png'}


def test_restored_by_hand(p):
    file = of(p, 'squash')[0]
    with Catalog(p.folder) as catalog: catalog.apply(quarantine={file.name: Reason('other', 'a shoe')})
    (p.quarantine/'squash'/file.name).rename(p.photos/'tennis/no shoe.png')
    check(p)
    back = frame(p).set_index('reason').loc['restored']
    assert back.label == 'tennis' and back.path.exists() and in_step(p) and len(training_photos(p)) == 40


def test_own_photos_deleted_moved_and_back_again(p, capsys):
    own = p.own_photos
    (own/'squash/0.png').rename(own/'tennis/from squash.png')
    (own/'squash/1.png').rename(own/'squash/one/again.png')
    deleted = (own/'squash/2.png').read_bytes()
    (own/'squash/2.png').unlink()
    check(p)
    assert 'By hand: 1 deleted, 1 moved to another label.' in capsys.readouterr().out
    df = frame(p, 'all')
    assert df.set_index('file').reason.dropna().tolist() == ['its original was deleted'] and in_step(p)
    assert df[df.url == (own/'squash/one/again.png').as_uri()].iloc[0].object_id == 'one'
    check(p)
    assert 'By hand' not in capsys.readouterr().out
    (own/'squash/2.png').write_bytes(deleted)
    check(p)
    assert 'By hand: 1 restored.' in capsys.readouterr().out and len(frame(p)) == 40 and in_step(p)


def test_what_was_relabelled_in_the_project_stays_so(p):
    "An original under another name in the same folder says nothing of its label"
    row = frame(p).iloc[0]
    with Catalog(p.folder) as catalog: catalog.apply(labels={row.file: 'tennis'})
    (p.own_photos/'squash'/row.url.rpartition('/')[2]).rename(p.own_photos/'squash/other name.png')
    check(p)
    df = frame(p).set_index('sha256')
    assert df.label[row.sha256] == 'tennis' and df.url[row.sha256].endswith('other%20name.png')


@pytest.mark.parametrize('where', ['photos', 'own_photos'])
def test_a_disk_that_is_not_mounted_changes_nothing(p, tmp_path, where):
    (gone := getattr(p, where)/'squash').rename(tmp_path/'elsewhere')
    before = frame(p, 'all')
    for step in gather, check:
        with pytest.raises(TellapartError, match="20 of the 20 photos of 'squash' have vanished, .* nothing was changed") as e: step(p)
        assert 'accept_missing=True' in str(e.value)
    assert frame(p, 'all').equals(before)
    (tmp_path/'elsewhere').rename(gone)
    check(p)
    assert frame(p, 'all').equals(before)


def test_a_fifth_or_more_deleted_on_purpose(p):
    for o in of(p, 'squash')[:5]: o.unlink()
    with pytest.raises(TellapartError, match="5 of the 20 photos of 'squash' have vanished"): check(p)
    check(p, accept_missing=True)
    assert len(frame(p)) == 35 and set(frame(p, 'aside').reason) == {'deleted by hand'}


def test_marks_meet_files_that_were_moved(p):
    import pandas as pd
    columns = ['predicted', 'probability', 'given_probability', 'label_error_score']
    cleaner = PhotoCleaner(None, p, pd.DataFrame(columns=columns, dtype=float))
    a,b = of(p, 'squash')[:2]
    for o in a,b: cleaner.mark(o.name, 'tennis')
    a.rename(p.photos/'tennis/a.png')
    assert cleaner.apply() == 'By hand: 1 moved to another label. 0 set aside, 1 moved to another label; undo takes it back.'
    assert in_step(p) and len(of(p, 'tennis')) == 22


def test_a_photo_put_back_under_its_former_label_stays_where_it_is(p, capsys):
    "It is neither taken in again nor removed"
    photo = of(p, 'squash')[0]
    with Catalog(p.folder) as catalog: catalog.apply(labels={photo.name: 'tennis'})
    moved = next(o for o in of(p, 'tennis') if o.name.partition('-')[2] == photo.name.partition('-')[2])
    shutil.copy(moved, mine := photo.with_name('again.png'))
    check(p)
    assert mine.exists() and '1 with the content of another left alone' in capsys.readouterr().out
    assert len(frame(p, 'all')) == 40
