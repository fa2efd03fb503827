"What the tests of exports share: a learner of one layer, and exports with other content"
import json, zipfile
from pathlib import Path

FORMAT_4 = Path(__file__).with_name('fixtures')/'export-format-4.pkl' # made by tellapart 0.1.0, without its pickle, which is never read


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
    learn = Learner(dls, nn.Sequential(nn.Conv2d(3, 4, 5, stride=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
                    loss_func=CrossEntropyLossFlat())
    learn.remove_cb(learn.progress)
    return learn
