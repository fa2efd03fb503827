"Wrong labels: how many are found after so many photos looked at, in tellapart's order, in fastai's and by chance; and what putting them right brings"
import json, sys, time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np

LABELS = 'badminton', 'squash', 'tennis'
SEEDS = 0, 1, 2
WRONG = .15 # share of the labels
LOOKED = .1, .15, .2, .3 # shares of the photos
REVIEWED = .2 # share of them that is put right
LONGER = 4 # times as many epochs
ORDERS = 'tellapart', 'fastai', 'by chance'


def draw_photos(folder, seed, n=100, kept=100):
    "Draw `n` photos of each label into `folder`, and `kept` more that are kept to measure with: rackets, where something else lies already, so that the floor tells nothing of the sport"
    from tellapart.demo.draw import cutout, draw
    for label in LABELS:
        for i in range(n + kept):
            file = folder/('photos' if i < n else 'kept')/label/f'{i}.jpg'
            file.parent.mkdir(parents=True, exist_ok=True)
            photo,racket = draw(None, f'{label} {i}', size=(320, 240), seed=seed), cutout(label, i, size=(320, 240), seed=seed)
            photo.paste(racket, mask=racket.getchannel('A'))
            photo.save(file, quality=90)
    return folder/'photos', folder/'kept'


def divided(photos, folder, seed):
    "Copies of `photos`: three quarters, and a quarter that is kept to measure with"
    from fastai.vision.utils import get_image_files
    rng = np.random.default_rng(seed)
    for file in sorted(get_image_files(photos)):
        to = folder/('kept' if rng.random() < .25 else 'photos')/file.parent.name/file.name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    return folder/'photos', folder/'kept'


def project(photos, folder, seed):
    "A project of `photos`, some of them under a label that isn't theirs; and what these should be, by name"
    from fastai.vision.utils import get_image_files
    from tellapart.check.check import check
    from tellapart.check.inspection import inspect_image
    from tellapart.catalog import Catalog
    from tellapart.project import Project, read_project
    files,rng,right = sorted(get_image_files(photos)),np.random.default_rng(seed),{}
    labels = sorted({o.parent.name for o in files})
    train = read_project(Path(__file__).resolve().parents[1]/'tellapart.toml').train
    p = Project(name='bench', labels={o: o for o in labels}, train=train.model_copy(update=dict(seed=seed)))
    p._file = folder/'tellapart.toml'
    wrong = set(rng.permutation(len(files))[:round(WRONG*len(files))])
    with Catalog(p.folder) as catalog:
        for i,file in enumerate(files):
            data,true = file.read_bytes(),file.parent.name
            name = catalog.add(str(rng.choice([o for o in labels if o != true])) if i in wrong else true, data, **inspect_image(data)[0])
            if i in wrong: right[name] = true
    check(p)
    with Catalog(p.folder) as catalog: used = set(catalog.frame().file)
    return p,{k: v for k,v in right.items() if k in used}


def train(p, epochs):
    "A model trained as in the notebook, but for keeping the best epoch: of a longer training that may be an early one"
    from fastai.vision.all import (CategoryBlock, ColReader, ColSplitter, DataBlock, ImageBlock, Normalize, aug_transforms, error_rate, imagenet_stats, set_seed, vision_learner)
    from tellapart.clean.label_errors import TrainingDynamics
    from tellapart.check.splits import training_photos
    from tellapart.train.resize import resize_transform
    from tellapart.train.train import AutoMixedPrecision, dataloaders, model_kwargs
    set_seed(p.train.seed, reproducible=True)
    block = DataBlock((ImageBlock, CategoryBlock), get_x=ColReader('working'), get_y=ColReader('label'), splitter=ColSplitter('valid'),
                      item_tfms=resize_transform(p.train.resize_method, p.train.size), batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(dataloaders(block, training_photos(p), p), **model_kwargs(p.train.arch, p.train.weights), metrics=error_rate, cbs=[AutoMixedPrecision(), TrainingDynamics()])
    learn.remove_cb(learn.progress)
    with learn.no_logging(): learn.fine_tune(epochs, p.train.lr)
    return learn


def by_loss(learn):
    "The photos as fastai's cleaner orders them, its labels and sides taken together"
    losses = {}
    for i in 0,1:
        dl = learn.dls[i].new(shuffle=False, drop_last=False)
        losses |= zip(dl.items.file, learn.get_preds(dl=dl, with_loss=True)[2].tolist())
    return sorted(losses, key=losses.get, reverse=True)


def first(order, share): return order[:round(share*len(order))]


def error(learn, kept):
    "The share of the photos in `kept` that a model gets wrong, in per cent"
    import pandas as pd
    from fastai.vision.utils import get_image_files
    files = sorted(get_image_files(kept))
    probs,_ = learn.get_preds(dl=learn.dls.test_dl(pd.DataFrame(dict(working=files))))
    return 100*float(np.mean([learn.dls.vocab[i] != o.parent.name for i,o in zip(probs.argmax(1), files)]))


def after_review(p, right, order, kept):
    "The error of a model that is trained again when the first photos of `order` have been put right"
    from tellapart.catalog import Catalog
    with Catalog(p.folder) as catalog: catalog.apply(labels={o: right[o] for o in first(order, REVIEWED) if o in right})
    found = error(train(p, p.train.epochs), kept)
    with Catalog(p.folder) as catalog: catalog.undo()
    return found


def timed(f, *args):
    "What `f` returns, and how many seconds that took"
    start = time.perf_counter()
    return f(*args), time.perf_counter() - start


def measure(seed, folder, photos=None):
    "Print the numbers of one seed"
    from tellapart.clean.label_errors import find_label_errors
    seed,folder,said = int(seed),Path(folder),{}
    with redirect_stdout(sys.stderr):
        photos,kept = divided(Path(photos), folder, seed) if photos else draw_photos(folder, seed)
        p,right = project(photos, folder, seed)
        for name,epochs in dict(notebook=p.train.epochs, longer=LONGER*p.train.epochs).items():
            learn,said[f'training {name}'] = timed(train, p, epochs)
            found,said[f'doubts {name}'] = timed(find_label_errors, learn, p)
            orders = dict(zip(ORDERS, [list(found.index), by_loss(learn), list(np.random.default_rng(seed).permutation(found.index.sort_values()))]))
            said |= {f'{name} {who} {share}': 100*len(right.keys() & first(order, share))/len(right) for who,order in orders.items() for share in LOOKED}
            said[f'error {name}'] = error(learn, kept)
            if name == 'notebook': said |= {f'error {who}': after_review(p, right, order, kept) for who,order in orders.items()}
    print(json.dumps(said))


def main(photos):
    "Measure with each seed, and report the means"
    from _bench import apart, report
    runs = []
    for seed in SEEDS:
        with TemporaryDirectory() as folder: runs.append(apart(__file__, seed, folder, *([photos.absolute()] if photos else [])))
    mean = {k: np.mean([o[k] for o in runs]) for k in runs[0]}
    models = dict(notebook='trained as in the notebook', longer=f'trained {LONGER} times as long')
    rows = [(f'wrong labels found, {share:.0%} looked at, {what}, {who}', mean[f'{model} {who} {share}'], '%')
            for model,what in models.items() for share in LOOKED for who in ORDERS]
    rows += [('error before cleaning', mean['error notebook'], '%')]
    rows += [(f'error after the first {REVIEWED:.0%} were put right, {who}', mean[f'error {who}'], '%') for who in ORDERS]
    rows += [('training as in the notebook', mean['training notebook'], 's'), ('doubts', mean['doubts notebook'], 's')]
    ratios = {f'found, {share:.0%} looked at, {what}, tellapart to fastai': mean[f'{model} tellapart {share}']/mean[f'{model} fastai {share}']
              for model,what in models.items() for share in LOOKED}
    report('clean', rows, ratios, ['tellapart', 'fastai', 'torch', 'scikit-learn'])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
