"Crops, mirrored copies, banners and collages, as a check of a whole project finds them; and what can't be compared"
import io
import numpy as np, pytest
from PIL import Image, ImageOps

pytest.importorskip('timm')
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.check.parts import shared_part
from tellapart.check.splits import find_leaks, training_photos
from tellapart.demo.draw import draw
from tellapart.project import new_project, read_project

pytestmark = pytest.mark.long # features of drawn photos

SIZE = 320, 240


def banner(photo): return ImageOps.pad(photo, (320, 300), color='white', centering=(0, 1))


def collage(*photos):
    sheet = Image.new('RGB', (640, 240))
    for i,o in enumerate(photos): sheet.paste(o, (320*i, 0))
    return sheet


@pytest.fixture
def p(tmp_path):
    "A project of twenty different photos"
    p = read_project(new_project('sport', ['squash', 'tennis'], tmp_path/'projects'))
    add(p, *((('squash', 'tennis')[i % 2], draw(('squash', 'tennis')[i % 2], i, size=SIZE)) for i in range(20)))
    return p


def add(p, *photos, **metadata):
    "Take labelled photos into the catalog; their names"
    with Catalog(p.folder) as catalog:
        names = []
        for label,photo in photos:
            photo.save(f := io.BytesIO(), 'JPEG', quality=85)
            names.append(catalog.add(label, f.getvalue(), **inspect_image(f.getvalue())[0], **metadata))
    return names


def frame(p, status='ok'):
    with Catalog(p.folder) as catalog:
        return catalog.frame(status).set_index('file')


CROP = 50, 10, 300, 190
EDITS = {'mirrored': ImageOps.mirror, 'cropped': lambda o: o.crop(CROP), 'mirrored and cropped': lambda o: ImageOps.mirror(o.crop(CROP))}

@pytest.mark.parametrize('edit', EDITS)
def test_edited_copies_from_the_web_are_set_aside(p, edit):
    "The largest stays, also when checked again"
    copy, = add(p, ('squash', EDITS[edit](draw('squash', 4, size=SIZE))), origin='web')
    for _ in range(2):
        check(p)
        aside = frame(p, 'aside')
        assert len(aside) == 1 and aside.reason.iloc[0].startswith('near duplicate of squash-')
        assert edit == 'mirrored' or aside.index[0] == copy


def test_under_two_labels_they_are_a_conflict(p):
    copy, = add(p, ('tennis', banner(draw('squash', 4, size=SIZE))), origin='web')
    conflicts = check(p)
    assert len(conflicts) == 1 and copy in {*conflicts.file, *conflicts.other} and frame(p, 'aside').empty
    assert find_leaks(p).empty


def test_parts_of_a_collage_are_pictures_of_their_own(p):
    "Nothing is set aside, and the collage is in the same split as its parts"
    together, = add(p, ('squash', collage(draw('squash', 4, size=SIZE), draw('squash', 6, size=SIZE))), origin='web')
    check(p)
    df = frame(p)
    assert len(df) == 21
    same = df[df.series == df.series[together]]
    assert together in same.index and len(same) in (2, 3) and same.split.nunique() == 1
    assert find_leaks(p).empty


def test_your_own_are_kept_as_a_series(p):
    photo = draw('squash', 4, size=SIZE)
    copies = add(p, ('squash', ImageOps.mirror(photo)), ('squash', photo.crop(CROP)), origin='own')
    with Catalog(p.folder) as catalog, catalog.db: catalog.db.execute("update photos set origin='own'")
    check(p)
    df = frame(p)
    assert len(df) == 22 and df.series[copies].notna().all() and df.series[copies].nunique() == 1
    photos = training_photos(p).set_index('file')
    assert photos.group_id[copies].nunique() == 1


def test_photos_that_cannot_be_opened(p):
    "They are set aside for that, and the others are compared"
    check(p)
    one,copy = frame(p).index[0], ImageOps.mirror(draw('squash', 4, size=SIZE))
    add(p, ('squash', copy), origin='web')
    row = frame(p).loc[one]
    for o in row.path, row.working: o.write_bytes(b'cut')
    check(p)
    reasons = frame(p, 'aside').reason
    assert len(reasons) == 2 and reasons[one] != '' and sum(o.startswith('near duplicate') for o in reasons) == 1


def test_flat_and_tiny_photos(tmp_path):
    "What has no detail is part of nothing"
    rng = np.random.default_rng(0)
    photos = dict(white=Image.new('RGB', SIZE, 'white'), grey=Image.new('RGB', SIZE, 'gray'), tiny=Image.new('RGB', (3, 2), 'red'),
                  strip=Image.new('RGB', (800, 4)), noise=Image.fromarray(rng.integers(0, 256, (240, 320, 3), 'uint8')))
    for name,o in photos.items(): o.save(tmp_path/f'{name}.png')
    shares = {(a, b): shared_part(tmp_path/f'{a}.png', tmp_path/f'{b}.png') for a in photos for b in photos if a < b}
    assert set(shares.values()) == {0}
    assert shared_part(tmp_path/'white.png', tmp_path/'gone.png') == 0
