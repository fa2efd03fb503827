"Occlusion maps are high where the object is"
from shutil import copy
import numpy as np
import pytest
from PIL import Image
from exports import change_meta, rewrite
from tellapart.use.classifier import Classifier, ExportError

pytest.importorskip('fastai')
from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize, create_head, nn, set_seed
from tellapart.demo.draw import cutout
from tellapart.export.export import export

pytestmark = pytest.mark.usefixtures('one_thread')
SIDE = 128
OBJECTS = 'bear', 'tennis racket'


def paste_object(obj, which, im, rng):
    "Paste an object somewhere into an image; returns a mask of its square"
    x,y = rng.integers(0, SIDE - 64, 2)
    im.paste(cut := cutout(obj, which, size=(64, 64)), (x, y), cut)
    square = np.zeros((SIDE, SIDE), dtype=bool)
    square[y:y+64, x:x+64] = True
    return square


def background(rng): return Image.fromarray(rng.integers(60, 200, (4, 4, 3), dtype='uint8')).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def layer(a, b): return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())


@pytest.fixture(scope='module')
def classify(tmp_path_factory):
    "A classifier with fastai's own head that knows bears, rackets and empty backgrounds"
    set_seed(1, reproducible=True)
    folder,rng = tmp_path_factory.mktemp('objects'),np.random.default_rng(0)
    for label in (*OBJECTS, 'nothing'):
        (folder/label).mkdir()
        for i in range(60):
            im = background(rng)
            if label in OBJECTS: paste_object(label, i, im, rng)
            im.save(folder/label/f'{i}.png')
    dls = ImageDataLoaders.from_folder(folder, valid_pct=.1, seed=1, item_tfms=Resize(SIDE), bs=12, num_workers=0)
    learn = Learner(dls, nn.Sequential(nn.Sequential(layer(3, 8), layer(8, 16), layer(16, 32), layer(32, 64)),
                                       create_head(64, 3, lin_ftrs=[32])), loss_func=CrossEntropyLossFlat())
    learn.remove_cb(learn.progress)
    with learn.no_logging(): learn.fit_one_cycle(8, 1e-2)
    return Classifier(export(learn, folder/'export.pkl'))


def heatmap(classify, im, label=None): return np.kron(classify.occlusion_map(im, label), np.ones((SIDE//8, SIDE//8)))


@pytest.mark.parametrize('obj', OBJECTS)
def test_the_map_is_high_on_the_object(classify, obj):
    "The evidence is on the object far more than beside it, in the map and in the overlay"
    rng,correct = np.random.default_rng(1),0
    for i in range(100, 110):
        there = paste_object(obj, i, im := background(rng), rng)
        if classify(im).label != obj: continue
        heat,shown = heatmap(classify, im),np.asarray(classify.explain(im)).sum(2)/np.asarray(im, dtype=float).sum(2)
        assert heat.min() >= 0 and heat.sum() == pytest.approx((SIDE//8)**2)
        assert heat[there].mean() > 2*heat[~there].mean()
        assert shown[there].mean() > shown[~there].mean()
        correct += 1
    assert correct > 4


def test_each_label_has_its_own_map(classify):
    "With a bear on the left and a racket on the right, the map for each is high on its own side"
    im = background(np.random.default_rng(3))
    for obj,x in zip(OBJECTS, (0, 64)): im.paste(cut := cutout(obj, 200, size=(64, 64)), (x, 32), cut)
    bear,racket = (heatmap(classify, im, o) for o in OBJECTS)
    assert bear[:, :64].sum() > bear[:, 64:].sum() and racket[:, :64].sum() < racket[:, 64:].sum()


def test_an_export_replaced_meanwhile(classify, tmp_path):
    "The head is read on first use, and by then the file may have another model"
    opened = Classifier(copy(classify.path, tmp_path/'export.pkl'))
    rewrite(classify.path, tmp_path/'export.pkl', change_meta(made='2001-01-01'))
    with pytest.raises(ExportError, match='was replaced after it had been opened'): opened.explain(Image.new('RGB', (90, 90)))
