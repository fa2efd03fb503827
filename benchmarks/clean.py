"Label errors: recall among the first photos reviewed, in tellapart's order, fastai's and a random one; and the error after correcting them"
import json, sys, time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np

LABELS = 'badminton', 'squash', 'tennis'
SEEDS = 0, 1, 2
WRONG = .15 # share of wrong labels
REVIEWED = .1, .15, .2, .3 # shares of the photos
CORRECTED = .2 # share of the photos that is reviewed before the second training
LONGER = 4 # times as many epochs
ORDERS = 'tellapart', 'fastai', 'random'


def draw_photos(folder, seed, n=100, test=100):
    "Draw `n` photos and `test` test photos of each label: rackets among other objects, so that the background tells nothing of the label"
    from tellapart.demo.draw import cutout, draw
    for label in LABELS:
        for i in range(n + test):
            file = folder/('photos' if i < n else 'test')/label/f'{i}.jpg'
            file.parent.mkdir(parents=True, exist_ok=True)
            photo,racket = draw(None, f'{label} {i}', size=(320, 240), seed=seed), cutout(label, i, size=(320, 240), seed=seed)
            photo.paste(racket, mask=racket.getchannel('A'))
            photo.save(file, quality=90)
    return folder/'photos', folder/'test'


def split_photos(photos, folder, seed):
    "Copies of `photos`: three quarters to train on, and a quarter to test with"
    from fastai.vision.utils import get_image_files
    rng = np.random.default_rng(seed)
    for file in sorted(get_image_files(photos)):
        to = folder/('test' if rng.random() < .25 else 'photos')/file.parent.name/file.name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    return folder/'photos', folder/'test'


def project(photos, folder, seed):
    "A project of `photos`, some with wrong labels; and the true labels of these, by name"
    from fastai.vision.utils import get_image_files
    from tellapart.check.check import check
    from tellapart.check.inspection import inspect_image
    from tellapart.catalog import Catalog
    from tellapart.project import Project, read_project
    files,rng,true_labels = sorted(get_image_files(photos)),np.random.default_rng(seed),{}
    labels = sorted({o.parent.name for o in files})
    train = read_project(Path(__file__).resolve().parents[1]/'tellapart.toml').train
    p = Project(name='bench', labels={o: o for o in labels}, train=train.model_copy(update=dict(seed=seed)))
    p._file = folder/'tellapart.toml'
    wrong = set(rng.permutation(len(files))[:round(WRONG*len(files))])
    with Catalog(p.folder) as catalog:
        for i,file in enumerate(files):
            data,true = file.read_bytes(),file.parent.name
            label = str(rng.choice([o for o in labels if o != true])) if i in wrong else true
            name = catalog.add(label, data, **inspect_image(data)[0])
            if i in wrong: true_labels[name] = true
    check(p)
    with Catalog(p.folder) as catalog: used = set(catalog.frame().file)
    return p,{k: v for k,v in true_labels.items() if k in used}


def train(p, epochs):
    "A model trained as in the notebook, but without keeping the best epoch, which may be an early one of a longer training"
    from fastai.vision.all import (CategoryBlock, ColReader, ColSplitter, DataBlock, ImageBlock, Normalize, aug_transforms, error_rate,
                                   imagenet_stats, set_seed, vision_learner)
    from tellapart.clean.label_errors import TrainingDynamics
    from tellapart.check.splits import training_photos
    from tellapart.train.resize import resize_transform
    from tellapart.train.train import AutoMixedPrecision, dataloaders
    from tellapart.train.weights import model_kwargs
    set_seed(p.train.seed, reproducible=True)
    block = DataBlock((ImageBlock, CategoryBlock), get_x=ColReader('working'), get_y=ColReader('label'), splitter=ColSplitter('valid'),
                      item_tfms=resize_transform(p.train.resize_method, p.train.size),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(dataloaders(block, training_photos(p), p), **model_kwargs(p.train.arch, p.train.weights), metrics=error_rate,
                           cbs=[AutoMixedPrecision(), TrainingDynamics()])
    learn.remove_cb(learn.progress)
    with learn.no_logging(): learn.fine_tune(epochs, p.train.lr)
    return learn


def by_loss(learn):
    "The photos as fastai's cleaner orders them, but all labels and both splits together"
    losses = {}
    for i in 0,1:
        dl = learn.dls[i].new(shuffle=False, drop_last=False)
        losses |= zip(dl.items.file, learn.get_preds(dl=dl, with_loss=True)[2].tolist())
    return sorted(losses, key=losses.get, reverse=True)


def first(order, share): return order[:round(share*len(order))]


def error(learn, test):
    "A model's error on the photos in `test`, in per cent"
    import pandas as pd
    from fastai.vision.utils import get_image_files
    files = sorted(get_image_files(test))
    probs,_ = learn.get_preds(dl=learn.dls.test_dl(pd.DataFrame(dict(working=files))))
    return 100*float(np.mean([learn.dls.vocab[i] != o.parent.name for i,o in zip(probs.argmax(1), files)]))


def error_after_review(p, true_labels, order, test):
    "The error of a model trained again after the wrong labels among the first photos of `order` have been corrected"
    from tellapart.catalog import Catalog
    with Catalog(p.folder) as catalog: catalog.apply(labels={o: true_labels[o] for o in first(order, CORRECTED) if o in true_labels})
    found = error(train(p, p.train.epochs), test)
    with Catalog(p.folder) as catalog: catalog.undo()
    return found


def timed(f, *args):
    "The result of a call, and its seconds"
    start = time.perf_counter()
    return f(*args), time.perf_counter() - start


def orders_of(learn, p, seed):
    "The photos in each order, and the seconds that `find_label_errors` took"
    from tellapart.clean.label_errors import find_label_errors
    found,seconds = timed(find_label_errors, learn, p)
    shuffled = np.random.default_rng(seed).permutation(found.index.sort_values())
    return dict(zip(ORDERS, [list(found.index), by_loss(learn), list(shuffled)])), seconds


def measure(seed, folder, photos=None):
    "Print the numbers of one seed"
    seed,folder,numbers = int(seed),Path(folder),{}
    with redirect_stdout(sys.stderr):
        photos,test = split_photos(Path(photos), folder, seed) if photos else draw_photos(folder, seed)
        p,true_labels = project(photos, folder, seed)
        for name,epochs in dict(notebook=p.train.epochs, longer=LONGER*p.train.epochs).items():
            learn,numbers[f'training {name}'] = timed(train, p, epochs)
            orders,numbers[f'finding {name}'] = orders_of(learn, p, seed)
            for who,order in orders.items():
                for share in REVIEWED: numbers[f'{name} {who} {share}'] = 100*len(true_labels.keys() & first(order, share))/len(true_labels)
            numbers[f'error {name}'] = error(learn, test)
            for who,order in orders.items() if name == 'notebook' else ():
                numbers[f'error {who}'] = error_after_review(p, true_labels, order, test)
    print(json.dumps(numbers))


def main(photos):
    "Measure with each seed, and report the means"
    from _bench import in_process, report
    runs = []
    for seed in SEEDS:
        with TemporaryDirectory() as folder: runs.append(in_process(__file__, seed, folder, *([photos.absolute()] if photos else [])))
    mean = {k: np.mean([o[k] for o in runs]) for k in runs[0]}
    rows,ratios = [],{}
    for model,epochs in dict(notebook='', longer=f', {LONGER} times the epochs').items():
        for share in REVIEWED:
            what = f'recall, {share:.0%} reviewed{epochs}'
            rows += [(f'{what}, {who}', mean[f'{model} {who} {share}'], '%') for who in ORDERS]
            ratios[what] = mean[f'{model} tellapart {share}']/mean[f'{model} fastai {share}']
    rows += [(f'error after correcting the first {CORRECTED:.0%}, {who}', mean[f'error {who}'], '%') for who in ORDERS]
    rows += [('error before cleaning', mean['error notebook'], '%')]
    rows += [('training as in the notebook', mean['training notebook'], 's'), ('`find_label_errors`', mean['finding notebook'], 's')]
    report('clean', rows, ratios, ['tellapart', 'fastai', 'torch', 'scikit-learn'], columns=[ORDERS])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
