"The split of small projects with photos in folders: stable, grouped, without leaks; errors when there is too little to train on"
import io, pickle
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from tellapart.errors import TellapartError
from tellapart.check.check import check, check_summary, contact_sheet
from tellapart.demo.draw import draw
from tellapart.check.inspection import inspect_image
from tellapart.gather.gather import gather
from tellapart.catalog import Catalog
from tellapart.project import read_project
from tellapart.check.splits import CatalogSplitter, leak_summary, find_leaks, training_photos

LABELS = 'squash racket', 'tennis racket'
pytestmark = pytest.mark.long # checks, which compute features of drawn photos

PROJECT = '''name = "rackets"
source = "folder"
[labels]
"squash racket" = "squash"
"tennis racket" = "tennis"
[train]
size = 48
'''


@pytest.fixture(scope='module')
def drawn():
    "Ten photos of each kind, each of another racket"
    return {label: [draw(label, i, size=(96, 72)) for i in range(10)] for label in LABELS}


def project(folder, train='', size=48):
    (folder/'tellapart.toml').write_text(PROJECT.replace('size = 48', f'size = {size}') + train)
    return read_project(folder/'tellapart.toml')


def own(folder, photos, split=''):
    "Save photos by label under `folder`, below a folder for their split if one is given"
    for label,photo in photos:
        own = folder/'own'/split/label
        own.mkdir(parents=True, exist_ok=True)
        photo.save(own/f'{len(list(own.iterdir()))}.png')


def each(drawn, part=slice(None)): return [(label, o) for label,photos in drawn.items() for o in photos[part]]


def checked(p):
    gather(p)
    check(p)
    with Catalog(p.folder) as catalog:
        return catalog.frame().set_index('file').split


def error(p):
    with pytest.raises(TellapartError) as e: training_photos(p)
    return str(e.value)


@pytest.mark.parametrize('split', ['group', 'photo'])
def test_adding_photos_moves_none(tmp_path, drawn, split):
    p = project(tmp_path, f'split = "{split}"')
    own(tmp_path, each(drawn, slice(6)))
    before = checked(p)
    own(tmp_path, each(drawn, slice(6, 10)))
    own(tmp_path, [(LABELS[1], o.resize((80, 60))) for o in drawn[LABELS[0]][:3]]) # copies of ones that are there
    after = checked(p)
    assert len(before) == 12 and len(after) == 23 and after[before.index].equals(before)


def test_groups_are_in_one_split(tmp_path, drawn):
    for label in LABELS:
        for i in range(4): own(tmp_path, [(f'{label}/racket {i}', draw(label, i, shot, size=(96, 72))) for shot in range(4)])
    own(tmp_path, each(drawn, slice(4, 10)))
    own(tmp_path, [(LABELS[1], o.crop((2, 1, 94, 71))) for o in drawn[LABELS[0]][4:8]])
    splits = set()
    for seed in range(4):
        p = project(tmp_path, f'seed = {seed}')
        splits.add(tuple(checked(p)))
        with Catalog(p.folder) as catalog: df = catalog.frame()
        assert df.group_id.value_counts().head(8).tolist() == [4]*8
        assert df.groupby('group_id').split.nunique().max() == 1 and not len(find_leaks(p))
    assert len(splits) == 4 # each seed has its own


def test_a_seed_and_a_share_can_be_changed_and_changed_back(tmp_path, drawn):
    own(tmp_path, each(drawn))
    before = checked(project(tmp_path))
    assert not checked(project(tmp_path, 'seed = 1')).equals(before)
    more = checked(project(tmp_path, 'valid = 0.6'))
    assert (more == 'valid').sum() > (before == 'valid').sum() and (more[before == 'valid'] == 'valid').all()
    assert checked(project(tmp_path)).equals(before)


def take(p, origin, photos):
    "Take photos by label into the catalog, as gathering from `origin` does"
    with Catalog(p.folder) as catalog: catalog.commit([row(p, catalog, origin, *o) for o in photos])


def row(p, catalog, origin, label, photo):
    photo.save(f := io.BytesIO(), 'PNG')
    photo,copy = inspect_image(f.getvalue(), p.working_side)
    return photo | dict(label=label, origin=origin, url=f'http://host/{photo["sha256"]}', file=catalog.stage(f.getvalue()),
                        working=catalog.stage(copy))


def patterns(seed, n=120):
    "Photos by label, cheaper than drawn ones"
    rng = np.random.default_rng(seed)
    photos = [Image.fromarray(rng.integers(0, 255, (7, 9, 3), 'uint8')) for _ in range(n)]
    return [(LABELS[i % 2], o.resize((72, 64), Image.Resampling.BICUBIC)) for i,o in enumerate(photos)]


def test_each_origin_has_its_share(tmp_path):
    p = project(tmp_path, 'valid = {web = 0.1, own = 0.6}')
    for i,origin in enumerate(['web', 'own', 'demo']): take(p, origin, patterns(i))
    check(p)
    share = training_photos(p).groupby('origin').valid.mean()
    assert abs(share.web - .1) < .06 and abs(share.own - .6) < .1 and abs(share.demo - .25) < .1


def test_a_group_of_two_origins_has_the_share_of_its_first_photo_even_when_that_is_set_aside(tmp_path, drawn):
    p = project(tmp_path, 'valid = {web = 0.999, own = 0.001}')
    take(p, 'web', each(drawn, slice(4)))
    take(p, 'own', [(label, o.resize((192, 144))) for label,o in each(drawn, slice(4))])
    take(p, 'own', each(drawn, slice(4, 8)))
    for _ in range(2): # the larger ones of each pair stay
        check(p)
        with Catalog(p.folder) as catalog: df = catalog.frame()
        assert (df.origin == 'own').all() and len(df) == 16
        assert (df.split == ['valid' if o == 192 else 'train' for o in df.width]).all()


def test_the_split_by_folder(tmp_path, drawn):
    p = project(tmp_path, 'split = "folder"')
    own(tmp_path, each(drawn, slice(6)), 'train')
    own(tmp_path, each(drawn, slice(5, 8)), 'valid') # the sixth one is in both folders: either split will do, but not both
    own(tmp_path, [(f'{LABELS[0]}/my racket', drawn[LABELS[0]][8])], 'valid')
    take(p, 'web', [(LABELS[1], drawn[LABELS[0]][0].crop((2, 1, 94, 71))), (LABELS[1], drawn[LABELS[0]][7].crop((2, 1, 94, 71)))])
    checked(p)
    with Catalog(p.folder) as catalog:
        df = catalog.frame()
        mine = df[df.origin == 'own']
        assert mine.groupby('label').size().tolist() == [9, 8] and all(f'/own/{o.split}/' in o.url for o in mine.itertuples())
        assert sorted(df[df.origin == 'web'].split) == ['train', 'valid'] # with those that they are similar to
        other = df.file[df.url.str.contains('my%20racket')].item() # similar to no other one
        catalog.apply(labels={other: LABELS[1]})
    checked(p)
    with Catalog(p.folder) as catalog: now = catalog.frame('all')
    before = df.drop_duplicates('sha256').set_index('sha256').split
    assert now.split.equals(now.sha256.map(before)) # a photo with another label keeps its split
    assert len(now) == len(df) # and isn't gathered again under the old label


def test_photos_moved_to_the_other_folder_change_their_split(tmp_path, drawn):
    own(tmp_path, each(drawn))
    before = checked(project(tmp_path))
    (tmp_path/'own').rename(tmp_path/'all')
    (tmp_path/'own').mkdir()
    (tmp_path/'all').rename(tmp_path/'own'/'train') # sorted after gathering
    p = project(tmp_path, 'split = "folder"')
    assert set(checked(p)) == {'train'} and len(before) == 20
    assert f'put some into {tmp_path/"own"/"valid"} and run 01_gather, then run 02_check again.' in error(p)
    for label in LABELS:
        (tmp_path/'own'/'valid'/label).mkdir(parents=True)
        for o in range(3): (tmp_path/'own'/'train'/label/f'{o}.png').rename(tmp_path/'own'/'valid'/label/f'{o}.png')
    assert (checked(p) == 'valid').sum() == 6 and training_photos(p).valid.sum() == 6


def test_only_folders_below_your_own_photos_choose_the_split(tmp_path, drawn):
    "The project lies in a folder called valid, below one called as a label, and then somewhere else"
    home = tmp_path/'valid'/LABELS[0]/'rackets'
    home.mkdir(parents=True)
    own(home, each(drawn, slice(6)), 'Train')
    own(home, each(drawn, slice(6, 10)), 'valid')
    before = checked(project(home, 'split = "folder"'))
    assert before.value_counts().to_dict() == dict(train=12, valid=8)
    (tmp_path/'train').mkdir()
    home.rename(tmp_path/'train'/'rackets')
    p = read_project(tmp_path/'train'/'rackets'/'tellapart.toml')
    check(p)
    with Catalog(p.folder) as catalog: df = catalog.frame().set_index('file')
    assert df.split.equals(before) and all(str(tmp_path/'train') in o for o in df.url)


def test_leaks_are_shown(tmp_path, drawn):
    own(tmp_path, each(drawn))
    own(tmp_path, [(LABELS[1], o.crop((2, 1, 94, 71))) for o in drawn[LABELS[0]]])
    p = project(tmp_path)
    checked(p)
    assert find_leaks(p).empty
    p = project(tmp_path, 'split = "photo"')
    split = checked(p)
    found = find_leaks(p)
    assert 2 <= len(found) <= 10 and found.distance.is_monotonic_increasing
    assert (split[found.file] == 'train').all() and (split[found.other] == 'valid').all()
    assert (found.label != found.other_label).all() and all(o.exists() for pair in found.paths for o in pair)
    assert contact_sheet(found.paths.explode(), columns=2).size[0] == 258


def test_both_ways_into_a_data_block_have_the_same_split(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, each(drawn))
    checked(p)
    splitter = pickle.loads(pickle.dumps(CatalogSplitter(p))) # as it travels with the learner
    with Catalog(p.folder) as catalog: catalog.apply(labels={training_photos(p).file[0]: LABELS[1]})
    df = training_photos(p)
    items = sorted(p.working.rglob('*.jpg'))
    train,valid = splitter([*items, tmp_path/'not in the catalog.jpg'])
    assert {str(items[i]) for i in train} == set(df.working[~df.valid])
    assert {str(items[i]) for i in valid} == set(df.working[df.valid])
    assert [Path(o).parent.name for o in df.working] == df.label.tolist()


# Errors before a training

def test_photos_that_have_not_been_checked(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, each(drawn, slice(8)))
    checked(p)
    own(tmp_path, each(drawn, slice(8, 10)))
    gather(p)
    assert error(p) == "4 of the 20 photos haven't been checked yet; run 02_check."


def test_a_photo_that_vanished_since_check(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, each(drawn))
    checked(p)
    with Catalog(p.folder) as catalog: row = catalog.frame().iloc[0]
    row.working.unlink()
    assert error(p) == f"1 of 20 working copies can't be found, such as {row.working}; run 02_check."
    with pytest.raises(TellapartError, match="can't be found, such as"): CatalogSplitter(p)(list(p.working.rglob('*.jpg')))
    check(p)
    assert len(training_photos(p)) == 20
    row.working.unlink()
    row.path.unlink()
    check(p)
    assert len(training_photos(p)) == 19 and row.file not in set(training_photos(p).file)


def test_a_label_with_one_photo(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, each(drawn)[:11]) # a single one of the second label
    checked(p)
    assert error(p) == ("There are too few photos to validate with (0 of 'tennis racket'), and each label needs at least one; "
                           'gather more, then run 02_check again.')
    with pytest.raises(TellapartError, match='too few photos'): CatalogSplitter(p)([])


def test_each_split_has_a_photo_whatever_the_share(tmp_path, drawn):
    own(tmp_path, each(drawn))
    for valid,n in (1e-6, [1, 1]), (1 - 1e-6, [9, 9]):
        p = project(tmp_path, f'valid = {valid}')
        checked(p)
        assert training_photos(p).groupby('label').valid.sum().tolist() == n


def test_all_photos_of_one_group(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, each(drawn)[:10])
    own(tmp_path, [(f'{LABELS[1]}/my racket', o) for o in drawn[LABELS[1]]])
    checked(p)
    assert error(p).startswith("All 10 photos of 'tennis racket' are of one group, which is never split; gather photos of other ones")
    p = project(tmp_path, 'split = "photo"')
    checked(p)
    assert training_photos(p).groupby('label').valid.nunique().tolist() == [2, 2]


# Photos that are similar without being the same

def views(n, seconds=60, **how):
    "Photos of one scene: the light fades, and something small moves; each with its EXIF time"
    scene = draw(LABELS[0], 0, **how)
    for i in range(n):
        photo = scene.point([v*(100 - i%9)//100 for v in range(256)]*3)
        photo.paste((200, 40, 40), (x := 10 + 7*i, 30 + 5*(i % 4), x + 12, 44 + 5*(i % 4)))
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f'2027:05:01 10:{i:02}:00'
        yield photo,exif


@pytest.mark.parametrize('dated, size', [(True, 48), (False, 48), (False, 224)])
def test_a_fixed_camera(tmp_path, dated, size):
    "24 photos of one scene in each of two labels are gathered, none is set aside, and the later ones are for validation"
    for j,label in enumerate(LABELS):
        (tmp_path/'own'/label).mkdir(parents=True)
        for i,(photo,exif) in enumerate(views(48, size=(480, 360))):
            name = f'{97*i % 48 if dated else i}.jpg'
            if i % 2 == j: photo.save(tmp_path/'own'/label/name, quality=90, **dict(exif=exif) if dated else {})
    p = project(tmp_path, size=size)
    counts = gather(p).counts
    assert counts['total'].tolist() == [24, 24] and 'near duplicate' not in counts
    conflicts = check(p)
    assert len(conflicts) == 0
    assert check_summary(p, conflicts) == ('Set aside: 0 of 48 photos; duplicates under two labels: 0; '
                                           'kept: 48 photos in 1 series of similar photos.')
    with Catalog(p.folder) as catalog: df = catalog.frame()
    df['moment'] = df.taken if dated else df.url.map(lambda o: int(Path(o).stem))
    for _,o in df.groupby('label'): assert list(o.sort_values('moment').split) == ['train']*18 + ['valid']*6
    assert training_photos(p).groupby('label').valid.sum().tolist() == [6, 6]
    found = find_leaks(p)
    assert len(found) and found.series.all() and 'series that are split between both sets' in leak_summary(found)

    for label in LABELS: # the same again, smaller
        for photo in list((tmp_path/'own'/label).iterdir())[:6]:
            Image.open(photo).resize((240, 180)).save(photo.with_suffix('.webp'), quality=70)
    assert gather(p).counts['total'].tolist() == [24, 24]
    again = check(p)
    with Catalog(p.folder) as catalog: now,aside = catalog.frame(),catalog.frame('aside')
    assert len(aside) == 12 and now.set_index('file').split.equals(df.set_index('file').split) and len(again) == 0


def test_duplicates_says_which_photos_count_as_one(tmp_path):
    (tmp_path/'own'/LABELS[0]).mkdir(parents=True)
    for i,(photo,_) in enumerate(views(6, size=(480, 360))): photo.save(tmp_path/'own'/LABELS[0]/f'{i}.png')
    photo.resize((240, 180)).save(tmp_path/'own'/LABELS[0]/'small.jpg')
    own(tmp_path, [(LABELS[1], draw(LABELS[1], i, size=(96, 72))) for i in range(2)])
    total = {}
    for level in 'exact', 'copies', 'near':
        file = tmp_path/level/'tellapart.toml'
        file.parent.mkdir()
        file.write_text(PROJECT.replace('[labels]', f'own = "../own"\nduplicates = "{level}"\n[labels]'))
        total[level] = gather(read_project(file)).counts['total'][LABELS[0]]
    assert total == dict(exact=7, copies=6, near=1)


def test_a_short_series_stays_together_and_a_photo_of_the_web_never_replaces_one_of_your_own(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, [*each(drawn), *((LABELS[0], photo.resize((96, 72))) for photo,_ in views(3))])
    checked(p)
    take(p, 'web', [(LABELS[0], photo) for photo,_ in list(views(1))]) # larger
    check(p)
    with Catalog(p.folder) as catalog: df,aside = catalog.frame(),catalog.frame('aside')
    assert list(aside.origin) == ['web'] and (df.origin == 'own').all() and len(df) == 23
    assert df.series.notna().sum() >= 3 and df.groupby('series').split.nunique().max() == 1


def test_a_catalog_without_split_positions_keeps_its_splits(tmp_path, drawn):
    p = project(tmp_path)
    own(tmp_path, each(drawn, slice(8)))
    checked(p)
    with Catalog(p.folder) as catalog:
        splits = ['train' if i % 3 else 'valid' for i in range(16)]
        catalog.set_metadata({o: dict(split_positions=None, split=split) for o,split in zip(catalog.frame().file, splits)})
        before = catalog.frame().set_index('file').split
    own(tmp_path, each(drawn, slice(8, 10)))
    assert checked(p)[before.index].equals(before) and not checked(project(tmp_path, 'seed = 3'))[before.index].equals(before)
    assert checked(project(tmp_path))[before.index].equals(before)
