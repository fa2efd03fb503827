"Label errors: recall among the first photos reviewed, in the orders of tellapart, fastai and cleanlab; and the error after correcting them"
import json, sys, time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np

LABELS = 'badminton', 'squash', 'tennis'
WRONG = .15 # share of wrong labels
REVIEWED = .1, .15, .2, .3 # shares of the photos
CORRECTED = .15 # share of the photos that is reviewed before the second training
PRETRAINED = dict(arch='tf_efficientnet_lite0', epochs=4, lr=2e-3, size=128) # fastai's way, with its default learning rate
ORDERS = 'tellapart', 'fastai', 'cleanlab'


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


def train(p):
    "A ResNet trained as in the notebook, or the pretrained network; without keeping the best epoch"
    from fastai.vision.all import (CategoryBlock, ColReader, ColSplitter, DataBlock, ImageBlock, aug_transforms, error_rate, set_seed,
                                   vision_learner)
    from tellapart.clean.label_errors import TrainingDynamics
    from tellapart.check.splits import training_photos
    from tellapart.train.resize import resize_transform
    from tellapart.train.train import AutoMixedPrecision, dataloaders
    from tellapart.train.weights import model_kwargs, normalize, resample
    set_seed(p.train.seed, reproducible=True)
    block = DataBlock((ImageBlock, CategoryBlock), get_x=ColReader('working'), get_y=ColReader('label'), splitter=ColSplitter('valid'),
                      item_tfms=resize_transform(p.train.resize_method, p.train.size, resample(p.train.arch)),
                      batch_tfms=[*aug_transforms(), normalize(p.train.arch)])
    learn = vision_learner(dataloaders(block, training_photos(p), p), **model_kwargs(p.train.arch, p.train.weights), metrics=error_rate,
                           cbs=[AutoMixedPrecision(), TrainingDynamics()])
    learn.remove_cb(learn.progress)
    with learn.no_logging(): learn.fine_tune(p.train.epochs, p.train.lr)
    return learn


def by_loss(learn):
    "The photos as fastai's cleaner orders them, but all labels and both splits together"
    losses = {}
    for i in 0,1:
        dl = learn.dls[i].new(shuffle=False, drop_last=False)
        losses |= zip(dl.items.file, learn.get_preds(dl=dl, with_loss=True)[2].tolist())
    return sorted(losses, key=losses.get, reverse=True)


def by_cleanlab(finder):
    "The photos in cleanlab's order, by the probabilities of tellapart's heads out of fold: first what it calls issues, then the others"
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from tellapart.train.head import out_of_fold
    found = out_of_fold(finder.x, finder.labels, finder.fold, finder.C)
    given = np.searchsorted(found.labels, finder.labels)
    issues = list(find_label_issues(given, found.probs, return_indices_ranked_by='self_confidence'))
    rest = [i for i in np.argsort(get_label_quality_scores(given, found.probs), kind='stable') if i not in set(issues)]
    return [finder.files[i] for i in (*issues, *rest)]


def first(order, share): return order[:round(share*len(order))]


def error(p, test):
    "The error of a first model on the photos in `test`, in per cent: of a head trained on all photos that are there"
    from fastai.vision.utils import get_image_files
    from tellapart.features import file_features
    from tellapart.train.head import choose_C, fit_head, labelled_features, make_folds
    data = labelled_features(p)
    C,_ = choose_C(data.x, data.labels, make_folds(data.labels, data.groups))
    files = sorted(get_image_files(test))
    head = fit_head(data.x, data.labels, C)
    predicted = np.array(head.labels)[head.logits(file_features(files, p.folder.parent)).argmax(1)]
    return 100*float(np.mean(predicted != np.array([o.parent.name for o in files])))


def fine_tuned_error(p, test):
    "The same of a network trained on the photos as for fastai's order"
    import pandas as pd
    from fastai.vision.utils import get_image_files
    learn,files = train(p),sorted(get_image_files(test))
    with learn.no_bar(): probs,_ = learn.get_preds(dl=learn.dls.test_dl(pd.DataFrame(dict(working=files))))
    return 100*float(np.mean([learn.dls.vocab[i] != o.parent.name for i,o in zip(probs.argmax(1), files)]))


@contextmanager
def corrected(p, true_labels, order):
    "Within the context, the wrong labels among the first photos of `order` are corrected"
    from tellapart.catalog import Catalog
    with Catalog(p.folder) as catalog: catalog.apply(labels={o: true_labels[o] for o in first(order, CORRECTED) if o in true_labels})
    yield
    with Catalog(p.folder) as catalog: catalog.undo()


def timed(f, *args):
    "The result of a call, and its seconds"
    start = time.perf_counter()
    return f(*args), time.perf_counter() - start


def measure(seed, folder, photos=None):
    "Print the numbers of one seed"
    from tellapart.catalog import Catalog
    from tellapart.clean.label_errors import LabelErrorFinder
    seed,folder,numbers = int(seed),Path(folder),{}
    with redirect_stdout(sys.stderr):
        photos,test = split_photos(Path(photos), folder, seed) if photos else draw_photos(folder, seed)
        p,true_labels = project(photos, folder, seed)
        n = len(LabelErrorFinder(p).files) # features are computed once for all
        numbers['most'] = {share: 100*min(1, share*n/len(true_labels)) for share in REVIEWED}
        pretrained = p.model_copy(update=dict(train=p.train.model_copy(update=PRETRAINED)))
        for name,o in dict(pretrained=pretrained, random=p).items():
            learn,numbers[f'training {name}'] = timed(train, o)
            watched = learn if name == 'random' else None
            ranked,numbers[f'finding {name}'] = timed(lambda watched=watched: LabelErrorFinder(p, watched).rank())
            for who,order in zip(ORDERS, [list(ranked.index), by_loss(learn), by_cleanlab(LabelErrorFinder(p))]):
                for share in REVIEWED: numbers[f'{name} {who} {share}'] = 100*len(true_labels.keys() & first(order, share))/len(true_labels)
                with corrected(p, true_labels, order):
                    numbers[f'{name} {who} error'] = error(p, test)
                    if name == 'pretrained': numbers[f'fine_tuned {who} error'] = fine_tuned_error(pretrained, test)
        numbers['before'] = error(p, test)
        with Catalog(p.folder) as catalog: catalog.apply(labels=true_labels)
        numbers['all corrected'] = error(p, test)
    print(json.dumps(numbers))


def measure_seed(seed, photos):
    from _bench import in_process
    with TemporaryDirectory() as folder:
        return in_process(__file__, seed, folder, *([photos.absolute()] if photos else []))


def main(photos):
    "Measure with each seed, and report the means with intervals"
    from _bench import by_seed, interval, report
    runs = by_seed('clean', photos, lambda seed: measure_seed(seed, photos))
    rows,ratios = [],{}
    def add(what, key, unit='%', last=''):
        values = [o[key] for o in runs]
        rows.append((what + last, np.mean(values), unit, interval(values)))
        return np.mean(values)
    def add_errors(of, key):
        for who in ORDERS: add(f'error after correcting the first {CORRECTED:.0%}{of}', f'{key} {who} error', last=f', {who}')
        gain = [o[f'{key} fastai error'] - o[f'{key} tellapart error'] for o in runs]
        rows.append((f"error less than after fastai's order{of}", np.mean(gain), '%', interval(gain)))
    for model,of in dict(pretrained='', random=', fastai from random weights').items():
        for share in REVIEWED:
            what = f'recall, {share:.0%} reviewed{of}'
            found = {who: add(what, f'{model} {who} {share}', last=f', {who}') for who in ORDERS}
            rows.append((f'{what}, the most that can be', np.mean([o['most'][str(share)] for o in runs]), '%'))
            ratios[what] = found['tellapart']/found['fastai']
        add_errors(of, model)
    add_errors(', `fine_tune` of the pretrained network', 'fine_tuned')
    add('error before cleaning', 'before')
    add('error with all labels right', 'all corrected')
    add('`LabelErrorFinder`, features cached', 'finding pretrained', 's')
    add('`fine_tune` of the pretrained network, for fastai\'s order', 'training pretrained', 's')
    report('clean', rows, ratios, ['tellapart', 'fastai', 'cleanlab', 'timm', 'torch', 'scikit-learn'],
           columns=[(*ORDERS, 'the most that can be')])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
