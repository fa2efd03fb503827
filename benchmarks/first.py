"The first model beside the course's `fine_tune` of the same network, and scikit-learn: time, memory and error, by photos and wrong labels"
import json, sys, time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np

PEERS = 'tellapart', 'fine_tune', 'scikit-learn'
PER_LABEL = 10, 50, 200 # photos to train on, or as many as there are
WRONG = 0, .15 # share of wrong labels
TEST = .3 # share of the photos
EPOCHS,PIXELS = 4, 224


def split_photos(photos, seed, per_label, wrong):
    "Files to train on, each with its label, some of them wrong; and files to test with, with their true ones"
    rng,train,test = np.random.default_rng(seed),[],[]
    labels = sorted(o.name for o in photos.iterdir() if o.is_dir())
    for label in labels:
        files = list(rng.permutation(sorted(map(str, (photos/label).iterdir()))))
        n = round(TEST*len(files))
        test += [(o, label) for o in files[:n]]
        train += [(o, label) for o in files[n:n+per_label]]
    for i in rng.permutation(len(train))[:round(wrong*len(train))]:
        file,label = train[i]
        train[i] = file,str(rng.choice([o for o in labels if o != label]))
    return train,test


def make_project(train, folder):
    "A checked project, without features yet"
    from tellapart.catalog import Catalog
    from tellapart.check.check import check
    from tellapart.check.inspection import inspect_image
    from tellapart.project import Project
    p = Project(name='bench', duplicates='exact', labels={o: o for o in sorted({label for _,label in train})})
    p._file = folder/'tellapart.toml'
    with Catalog(p.folder) as catalog:
        for file,label in train:
            data = Path(file).read_bytes()
            catalog.add(label, data, **inspect_image(data)[0])
    check(p)
    for o in p.folder.glob('features.db*'): o.unlink()
    return p


def tellapart(train, test, folder):
    "Seconds of `first_model`, and its error; PyTorch and fastai are imported already, as in a notebook"
    from tellapart.train.first_model import first_model
    p = make_project(train, folder)
    start = time.perf_counter()
    first = first_model(p)
    seconds = time.perf_counter() - start
    learn = first.learn
    return seconds, _error(learn, test)


def _error(learn, test):
    "A learner's error, in per cent"
    with learn.no_bar(), learn.no_logging(): probs,_ = learn.get_preds(dl=learn.dls.test_dl([Path(o) for o,_ in test]))
    return 100*float(np.mean([learn.dls.vocab[i] != label for i,(_,label) in zip(probs.argmax(1), test)]))


def fine_tune(train, test, folder):
    "The same for the course's way: `vision_learner` with the pretrained network, `fine_tune`, and a confusion matrix"
    import pandas as pd
    from fastai.vision.all import (CategoryBlock, ClassificationInterpretation, ColReader, DataBlock, ImageBlock, RandomSplitter, Resize,
                                   aug_transforms, error_rate, set_seed, vision_learner)
    from tellapart.train.weights import model_kwargs, normalize
    start = time.perf_counter()
    set_seed(0)
    block = DataBlock((ImageBlock, CategoryBlock), get_x=ColReader('file'), get_y=ColReader('label'), splitter=RandomSplitter(.25, seed=0),
                      item_tfms=Resize(PIXELS), batch_tfms=[*aug_transforms(), normalize('tf_efficientnet_lite0')])
    dls = block.dataloaders(pd.DataFrame(train, columns=['file', 'label']), bs=16, num_workers=0)
    learn = vision_learner(dls, **model_kwargs('tf_efficientnet_lite0'), metrics=error_rate)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(EPOCHS)
        ClassificationInterpretation.from_learner(learn).confusion_matrix()
    seconds = time.perf_counter() - start
    with learn.no_bar(), learn.no_logging(): probs,_ = learn.get_preds(dl=dls.test_dl(pd.DataFrame(test, columns=['file', 'label'])))
    return seconds, 100*float(np.mean([dls.vocab[i] != label for i,(_,label) in zip(probs.argmax(1), test)]))


def scikit_learn(train, test, folder):
    "The same for features from plain PyTorch and `LogisticRegression`, cross-validated for a figure"
    import timm, torch
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from timm.data import create_transform, resolve_model_data_config
    from tellapart.pretrained import package_file, package_weights
    start = time.perf_counter()
    model = timm.create_model('tf_efficientnet_lite0', num_classes=0).eval()
    model.load_state_dict(package_weights('tf_efficientnet_lite0', package_file('tf_efficientnet_lite0')), strict=False)
    tfm = create_transform(**resolve_model_data_config(model))
    def features(files):
        with torch.inference_mode():
            batches = [torch.stack([tfm(Image.open(o).convert('RGB')) for o in files[i:i+32]]) for i in range(0, len(files), 32)]
            return np.concatenate([model(o).numpy() for o in batches])
    x,y = features([o for o,_ in train]),[label for _,label in train]
    classify = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    cross_val_predict(classify, x, y)
    classify.fit(x, y)
    seconds = time.perf_counter() - start
    return seconds, 100*float(np.mean(classify.predict(features([o for o,_ in test])) != np.array([label for _,label in test])))


def measure(peer, photos, seed, per_label, wrong):
    "Print the seconds and the error of one way"
    import timm, torch # noqa: F401, as a running notebook has them
    from fastai.vision.all import vision_learner # noqa: F401
    train,test = split_photos(Path(photos), int(seed), int(per_label), float(wrong))
    with redirect_stdout(sys.stderr), TemporaryDirectory() as tmp:
        seconds,error = globals()[peer.replace('-', '_')](train, test, Path(tmp))
    print(json.dumps({'time': seconds, 'error': error, 'trained on': len(train)}))


def measure_seed(photos, seed):
    "The numbers of all ways with one seed"
    from _bench import in_process
    numbers = {}
    for peer in PEERS:
        for n in PER_LABEL:
            for wrong in WRONG:
                found = in_process(__file__, peer, photos, seed, n, wrong)
                numbers |= {f'{k} {peer} {n} {wrong}': found[k] for k in ('time', 'error', 'peak', 'trained on')}
                print(peer, n, wrong, found, flush=True)
    return numbers


def main(photos):
    "Measure with each seed, and report means with intervals"
    from _bench import by_seed, draw_rackets, interval, report
    with TemporaryDirectory() as tmp:
        folder = photos or draw_rackets(Path(tmp)/'photos', 260, (320, 240))
        runs = by_seed('first', photos, lambda seed: measure_seed(folder.absolute(), seed))
    rows = []
    def add(what, k, unit):
        values = {peer: [o[f'{k[0]} {peer} {k[1]} {k[2]}'] for o in runs] for peer in PEERS}
        rows.extend((f'{what}, {peer}', np.mean(o), unit, interval(o)) for peer,o in values.items())
        return values
    for wrong in WRONG:
        for n in PER_LABEL: add(f'error, {n} photos a label' + (f', {wrong:.0%} wrong' if wrong else ''), ('error', n, wrong), '%')
    ratios = {}
    for n in PER_LABEL:
        found = add(what := f'time, {n} photos a label', ('time', n, 0), 's')
        ratios[what] = np.median(found['fine_tune'])/np.median(found['tellapart'])
    add('peak memory', ('peak', PER_LABEL[-1], 0), 'MB')
    rows += [(f'photos at {n} a label', runs[0][f'trained on tellapart {n} 0'], '') for n in PER_LABEL]
    report('first', rows, ratios, ['tellapart', 'fastai', 'timm', 'torch', 'scikit-learn', 'onnxruntime'], columns=[PEERS])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
