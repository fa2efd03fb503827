"What the tests of use share: a learner that can classify stripes"
import pytest
from exports import conv, draw_photos, learner
from tellapart.images import open_photo, shrink


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    "Small photos of stripes, a folder per label"
    folder = tmp_path_factory.mktemp('stripes')
    for label in 'badminton', 'squash', 'tennis': draw_photos(folder/label, 50)
    for file in folder.glob('*/*'): shrink(open_photo(file), 64).save(file)
    return folder


@pytest.fixture(scope='session')
def learn(photos):
    "A learner that can classify the stripes"
    from fastai.vision.all import nn, set_seed
    set_seed(1, reproducible=True)
    learn = learner(photos, nn.Sequential(conv(3, 8), conv(8, 16), conv(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)))
    with learn.no_logging(): learn.fit_one_cycle(4, 1e-2)
    return learn
