"What the tests of exports share: photos that are easy to tell apart, a learner of one layer, and exports with other content"
import json, zipfile
from pathlib import Path
import numpy as np
from PIL import Image

FORMAT_4 = Path(__file__).with_name('fixtures')/'export-format-4.pkl' # made by tellapart 0.1.0, without its pickle, which is never read


def draw_photos(folder, n=10):
    "Draw photos that are easy to tell apart: stripes in a direction and colour of the label, in many sizes"
    folder.mkdir(parents=True)
    kind = {'badminton': 0, 'squash': 1, 'tennis': 2}[folder.name]
    rng = np.random.default_rng(kind)
    for i in range(n):
        w,h = rng.integers(90, 700, 2)
        x,y = np.meshgrid(np.arange(w), np.arange(h))
        stripes = np.sin((x, y, x + y)[kind]*rng.uniform(.1, .4))[...,None]*90 + 120
        pixels = stripes*np.eye(3)[kind]*.6 + stripes*.4 + rng.normal(0, 12, (h, w, 3))
        Image.fromarray(pixels.clip(0, 255).astype('uint8')).save(folder/f'{folder.name}-{i}.{"png" if i % 3 else "jpg"}')


def rewrite(export_pkl, path, change):
    "Write `export_pkl` to `path` with every record as `change(name, content)` has it; `None` leaves one out"
    with zipfile.ZipFile(export_pkl) as old, zipfile.ZipFile(path, 'w') as new:
        for o in old.infolist():
            content = change(o.filename, old.read(o))
            if content is not None: new.writestr(o.filename, content)
    return path


def change_meta(**kw): return lambda name, content: json.dumps(json.loads(content) | kw).encode() if name.endswith('meta.json') else content


def quick_learner(photos, item_tfms):
    "A learner with one convolution, which is exported quickly"
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, nn
    dls = ImageDataLoaders.from_folder(photos, valid_pct=.5, seed=1, item_tfms=item_tfms, bs=4, num_workers=0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat())
    learn.remove_cb(learn.progress)
    return learn


def conv(a, b):
    "A convolution from `a` channels to `b`, with what belongs to it"
    from torch import nn
    return nn.Sequential(nn.Conv2d(a, b, 3, 2), nn.BatchNorm2d(b), nn.ReLU())


def learner(photos, model):
    "A learner of photos of 64 pixels in folders, 60 % to train with"
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize, error_rate
    dls = ImageDataLoaders.from_folder(photos, valid_pct=.4, seed=1, item_tfms=Resize(64), bs=10, num_workers=0)
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=error_rate)
    learn.remove_cb(learn.progress)
    return learn
