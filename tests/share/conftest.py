"What the tests of sharing share: a small export that can learn, onnxruntime for the web, a folder made of both, and a server for it"
import pytest
from exports import conv, draw_photos, learner
from tellapart.errors import TellapartError
from tellapart.images import open_photo, shrink
from tellapart.share import share
from tellapart.share.page import runtime_files
from share_site import static_server


@pytest.fixture(scope='session')
def photos(shared_folder):
    "Small photos of stripes, a folder per label"
    def make(folder):
        for label in 'badminton', 'squash', 'tennis': draw_photos(folder/label, 30)
        for file in folder.glob('*/*'): shrink(open_photo(file), 64).save(file)
    return shared_folder('stripes-to-share', make)


@pytest.fixture(scope='session')
def small_export(shared_folder, photos):
    "An export of a small network, with what a page needs to learn, and photos to try"
    def make(folder):
        from fastai.vision.all import nn, set_seed
        from tellapart.export.export import export
        from tellapart.use.classifier import Sample
        set_seed(1, reproducible=True)
        body = conv(3, 8), conv(8, 16), conv(16, 32)
        learn = learner(photos, nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)))
        with learn.no_logging(): learn.fit_one_cycle(4, 1e-2)
        sample = Sample(next(photos.glob('tennis/*.jpg')).read_bytes(), 'tennis', 'Drawn for a test')
        export(learn, folder/'export.pkl', training_features=True, samples=[sample], error_rate=.02)
    return shared_folder('small-export', make)/'export.pkl'


@pytest.fixture(scope='session')
def runtime():
    "onnxruntime for the web, from the cache or npm"
    try:
        return runtime_files()
    except TellapartError as e: pytest.skip(str(e))


@pytest.fixture(scope='session')
def page_folder(shared_folder, small_export, runtime): return shared_folder('page', lambda folder: share('page', folder, small_export))


@pytest.fixture(scope='module')
def site(page_folder):
    "The page's address"
    with static_server(page_folder) as url: yield url
