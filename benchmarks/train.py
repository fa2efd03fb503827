"Training: tellapart beside fastai's course code, from large photos to export.pkl"
import json, shutil, sys, time
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

EACH = 150 # photos drawn of each label, a project's default
SIZE = 1500, 1125 # of a drawn photo, in pixels
PIXELS = 128 # the model's input size; this and what follows are a project's defaults
EPOCHS = 10 # after the first, frozen one
LR,BATCH = 2e-3,32
SEEDS = 1, 2, 3


def project(photos, folder, seed):
    "A project of the photos in a folder, gathered and checked"
    from tellapart.check.check import check
    from tellapart.gather.gather import gather
    from tellapart.project import read_project
    labels = {o.name: sum(f.is_file() for f in o.rglob('*')) for o in sorted(photos.iterdir()) if o.is_dir()}
    folder.mkdir()
    (file := folder/'tellapart.toml').write_text(
        f'name = "bench"\nsource = "folder"\nown = {json.dumps(str(photos))}\nper_label = {max(labels.values())}\n[labels]\n'
        + ''.join(f'{json.dumps(o)} = {json.dumps(o)}\n' for o in labels)
        + f'[train]\nsize = {PIXELS}\nepochs = {EPOCHS}\nlr = {LR}\nbatch_size = {BATCH}\nsplit = "photo"\nseed = {seed}\n')
    p = read_project(file)
    gather(p)
    check(p)
    return p


def train(learn, keep=nullcontext):
    "Train; seconds per epoch, wrong predictions, and number of validation photos"
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging(), keep(learn): learn.fine_tune(EPOCHS, LR)
    epoch = (time.perf_counter() - start)/(EPOCHS + 1)
    with learn.no_bar(): error = learn.validate()[1]
    return dict(epoch=epoch, wrong=round(error*len(learn.dls.valid_ds)), valid=len(learn.dls.valid_ds))


def tellapart(photos, valid, folder, seed):
    "Train as notebooks 01 to 05 do"
    from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, aug_transforms, error_rate, get_image_files,
                                   imagenet_stats, parent_label, set_seed, vision_learner)
    from tellapart.export.export import export
    from tellapart.check.splits import CatalogSplitter
    from tellapart.train.resize import resize_transform
    from tellapart.train.train import AutoMixedPrecision, dataloaders, estimate_time, keep_best
    from tellapart.train.weights import model_kwargs
    p = project(photos, folder, seed)
    set_seed(seed, reproducible=True)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                      item_tfms=resize_transform(p.train.resize_method, p.train.size),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(dataloaders(block, p.working, p), **model_kwargs(p.train.arch, p.train.weights), metrics=error_rate,
                           cbs=AutoMixedPrecision())
    estimate_time(learn, p.train.epochs)
    numbers = train(learn, keep_best)
    export(learn, p.export)
    return numbers


def course(photos, valid, folder, seed):
    "Train as fastai's course does, on the same photos, from the same weights"
    from fastai.vision.all import (CategoryBlock, DataBlock, FuncSplitter, ImageBlock, Normalize, RandomResizedCrop, aug_transforms,
                                   error_rate, get_image_files, imagenet_stats, parent_label, set_seed, verify_images, vision_learner)
    from tellapart.train.weights import model_kwargs
    verify_images(get_image_files(photos)).map(Path.unlink)
    set_seed(seed, reproducible=True)
    names = set(json.loads(valid.read_text()))
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
                      splitter=FuncSplitter(lambda o: o.name in names), item_tfms=RandomResizedCrop(PIXELS, min_scale=.5),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(block.dataloaders(photos, bs=BATCH), **model_kwargs('resnet18'), metrics=error_rate)
    numbers = train(learn)
    folder.mkdir()
    learn.export(folder.absolute()/'export.pkl')
    return numbers


def measure(who, photos, valid, folder, seed):
    "Train with one of the two functions, and print its numbers"
    numbers = globals()[who](Path(photos), Path(valid), Path(folder), int(seed))
    print('\n' + json.dumps(numbers)) # below the output of the training


def usable(photos, tmp):
    "Copy the usable photos into a folder, and write the names of the validation photos of each seed to a file"
    from tellapart.catalog import Catalog
    from tellapart.check.splits import assign_splits
    p = project(photos, tmp/'usable', SEEDS[0])
    with Catalog(p.folder) as catalog: df = catalog.frame()
    for label in p.labels: (tmp/'photos'/label).mkdir(parents=True)
    for o in df.itertuples(): shutil.copy(o.path, tmp/'photos'/o.label)
    for seed in SEEDS:
        split = assign_splits(df, p.train.model_copy(update=dict(seed=seed)))
        (tmp/f'{seed}.json').write_text(json.dumps(df.path.map(lambda o: o.name)[split == 'valid'].tolist()))
    return tmp/'photos'


def main(folder):
    "Train with both in turn, with each seed, and report"
    from _bench import draw_rackets, in_process, median, report
    from scipy.stats import binomtest
    runs = dict(tellapart=[], course=[])
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        photos = usable(folder or draw_rackets(tmp/'drawn', EACH, SIZE), tmp)
        for seed in SEEDS:
            for who in runs:
                runs[who].append(one := in_process(__file__, who, photos, tmp/f'{seed}.json', tmp/f'{who}-{seed}', seed))
                print(f"{who}, seed {seed}: {one['seconds']:.0f} s, {one['wrong']} of {one['valid']} wrong", flush=True)
    names,of = dict(tellapart='tellapart', course='course code'),{who: median(o) for who,o in runs.items()}
    figures = dict(epoch=('an epoch', 's'), seconds=('from photos to export.pkl', 's'), peak=('peak memory', 'MB'))
    rows = [(f'{what}, {name}', of[who][k], unit) for k,(what,unit) in figures.items() for who,name in names.items()]
    for who,name in names.items():
        wrong = binomtest(sum(o['wrong'] for o in runs[who]), sum(o['valid'] for o in runs[who]))
        low,high = wrong.proportion_ci(method='wilson')
        rows.append((f'error rate, {name}', 100*wrong.statistic, f'% ({100*low:.1f} to {100*high:.1f})'))
    report('train', rows, {what: of['course'][k]/of['tellapart'][k] for k,(what,_) in figures.items()},
           ['tellapart', 'fastai', 'torch', 'torchvision', 'pillow'], columns=[[*names.values()]])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
