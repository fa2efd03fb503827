"Outliers of real files: the strangers among drawn rackets, in their order; and projects with nothing to compare"
import io
import numpy as np, pytest
from PIL import Image

pytest.importorskip('timm')
from tellapart.catalog import Catalog
from tellapart.demo.draw import draw
from tellapart.neighbours import find_outliers
from tellapart.project import new_project, read_project

pytestmark = pytest.mark.long # features of drawn photos


def project(folder, photos):
    "A project of these photos; their names"
    p,names = read_project(new_project('sport', ['squash', 'tennis'], folder/'projects')),[]
    with Catalog(p.folder) as catalog:
        for photo in photos:
            photo.save(f := io.BytesIO(), 'JPEG')
            names.append(catalog.add('squash', f.getvalue(), '.jpg'))
    return p,names


def test_strangers_come_first(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), 'uint8'))
    p,names = project(tmp_path, [*(draw('squash', i, size=(160, 120)) for i in range(24)), noise, Image.linear_gradient('L')])
    found = find_outliers(p)
    assert set(found.file[:2]) == set(names[-2:]) and len(found) < 5 and found.isolation.is_monotonic_decreasing


@pytest.mark.parametrize('n', [0, 1, 2])
def test_nothing_to_compare(tmp_path, n):
    p,_ = project(tmp_path, [draw('squash', i, size=(160, 120)) for i in range(n)])
    assert find_outliers(p).empty


def test_a_photo_that_cannot_be_opened(tmp_path):
    p,names = project(tmp_path, [draw('squash', i, size=(160, 120)) for i in range(8)])
    with Catalog(p.folder) as catalog: catalog.frame().path.iloc[0].write_bytes(b'cut')
    assert names and len(find_outliers(p)) < 8
