"Labels with the name of something else: a split, a folder, a column, a number, an option"
import json, re, shutil, subprocess, sys
from collections import Counter
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from exports import change_meta, rewrite
from tellapart.cli import main
from tellapart.use.sort.journal import CSV, read_rows
from tellapart.use.classifier import Classifier

pytest.importorskip('fastai')
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, error_rate, get_image_files, imagenet_stats, parent_label,
                               resnet18, set_seed, vision_learner)
from tellapart.check.check import check
from tellapart.clean.cleaner import ALL, PhotoCleaner
from tellapart.clean.label_errors import TrainingDynamics, find_label_errors
from tellapart.export.export import export
from tellapart.gather.funnel import funnel, reasons
from tellapart.gather.gather import gather, gather_summary
from tellapart.catalog import Catalog
from tellapart.project import read_project
from tellapart.train.report import report
from tellapart.check.splits import CatalogSplitter, training_photos
from tellapart.train.resize import resize_transform
from tellapart.train.train import dataloaders

LABELS = sorted(['unsure', 'train', 'valid', 'none', 'all', 'total', 'aside', 'photos', 'incoming', 'true', 'nan', '0', '-x', 'sheets',
                 "can't be opened", 'found', 'usable', 'label', 'file', 'all photos', '1e5', 'items', 'yes', 'marked'])
SPLITS = dict(train=3, valid=2) # photos of each label


@pytest.fixture(scope='module')
def p(tmp_path_factory):
    "A project with these labels, as `tellapart new` writes it, with a few photos of one's own for each"
    folder = tmp_path_factory.mktemp('special')
    done = subprocess.run([sys.executable, '-m', 'tellapart', 'new', 'nan', '--', *LABELS], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file = folder/re.search(r'--project (\S+)', done.stdout)[1]
    text = file.read_text('utf-8').replace('source = "duckduckgo"', 'source = "folder"')
    text = text.replace('size = 224', 'size = 32\nsplit = "folder"').replace('epochs = 4', 'epochs = 1')
    file.write_text(text, 'utf-8')
    p = read_project(file)
    rng = np.random.default_rng(0)
    for i,label in enumerate(LABELS):
        for split,n in SPLITS.items():
            (place := p.own_photos/split/label).mkdir(parents=True)
            for j in range(n): Image.fromarray(rng.integers(0, 256, (48, 60, 3), 'uint8') // (1 + i%5)).save(place/f'{j}.png')
        (p.own_photos/'train'/label/'broken.jpg').write_text('gone')
    return p


@pytest.fixture(scope='module')
def gathered(p):
    "What `gather` returns; the photos are checked, too"
    result = gather(p)
    check(p)
    return result


@pytest.fixture(scope='module')
def learn(p, gathered, one_thread):
    "A learner, as the course makes it"
    set_seed(1)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                      item_tfms=resize_transform('squish', 32),
                      batch_tfms=[Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(dataloaders(block, p.working, p), resnet18, metrics=error_rate, pretrained=False, cbs=TrainingDynamics())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
    return learn


@pytest.fixture(scope='module')
def export_pkl(learn, p):
    export(learn, p.export, int8=False)
    return p.export


def test_from_photos_to_a_trained_model(p, gathered, learn):
    "Each label has its photos, in their splits, in every table"
    n,all_of = sum(SPLITS.values()),len(LABELS)*sum(SPLITS.values())
    assert list(p.labels) == LABELS == sorted(learn.dls.vocab)
    assert dict(gathered.counts.total) == dict.fromkeys(LABELS, n) == dict(gathered.counts.usable)
    said = gather_summary(p, gathered)
    assert f'Gathered {all_of} photos ({n} {LABELS[0]}, ' in said
    assert f'{len(LABELS)} candidates were rejected ({len(LABELS)} no photo)' in said
    table = reasons(p)
    assert list(table.columns) == LABELS and (table.sum() == 1).all()
    assert [o.get_text() for o in funnel(p).axes[1].get_yticklabels()] == LABELS
    df = training_photos(p)
    assert df.groupby(['label', 'valid']).size().to_dict() == {(o, split == 'valid'): SPLITS[split] for o in LABELS for split in SPLITS}
    assert {o.name for o in p.photos.iterdir()} == set(LABELS) and all(len([*o.iterdir()]) == n for o in p.photos.iterdir())
    names = (p.folder/'CREDITS.csv').read_text('utf-8-sig')
    page = (p.folder/'credits.html').read_text('utf-8')
    assert names.count('\n') == all_of + 1 and page.count('<h2') == len(LABELS)


def test_report_and_cleaner(p, learn):
    label_errors = find_label_errors(learn, p)
    run = report(learn, p, label_errors).run
    assert run.labels == LABELS and {k: v.n for k,v in run.by_label.items()} == dict.fromkeys(LABELS, SPLITS['valid'])
    assert set(label_errors.label) == set(LABELS) and set(label_errors.predicted) <= set(LABELS)
    cleaner = PhotoCleaner(learn, p, label_errors)
    for label in LABELS:
        cleaner.show(f'labelled {label}')
        assert set(cleaner.shown.label) == {label} and len(cleaner.shown) == sum(SPLITS.values())
    cleaner.show(ALL)
    assert len(cleaner.shown) == len(LABELS)*sum(SPLITS.values())
    file,other = cleaner.shown.file.iloc[0],{o: LABELS[i-1] for i,o in enumerate(LABELS)}
    label = cleaner.shown.label.iloc[0]
    for what in LABELS:
        cleaner.mark(file, what)
        assert cleaner.widget.marks.get(file, label) == what
    cleaner.mark(file, other[label])
    cleaner.apply()
    with Catalog(p.folder) as catalog: assert catalog.count(other[label]) == sum(SPLITS.values()) + 1
    cleaner.undo()
    cleaner.mark(file, None)
    with Catalog(p.folder) as catalog:
        assert {o: catalog.count(o) for o in LABELS} == dict.fromkeys(LABELS, sum(SPLITS.values())) and not catalog.marks()


@pytest.fixture
def swapped_export(export_pkl, p, tmp_path):
    "An export with a label `unsure`, unconfident predictions, and a label `can't be opened`; photos, two of which can't be opened"
    files = sorted(p.photos.glob('*/*'))
    def with_threshold(p, **meta):
        return change_meta(thresholds=dict(graph=dict(probability=p, ood=None, reference=None, set_probability=None)), **meta)
    predictions = [*Classifier(rewrite(export_pkl, tmp_path/'all.pkl', with_threshold(0))).many(files)]
    first = [o for o,_ in Counter(o.label for o in predictions).most_common()]
    swapped = dict(zip(first, ['unsure', "can't be opened", 'sheets']))
    left = iter(o for o in LABELS if o not in swapped.values())
    labels = [swapped.get(o) or next(left) for o in Classifier(export_pkl).labels]
    likely = sorted(o.probability for o in predictions if o.label == first[0])
    threshold = sum(likely[len(likely)//2 - 1:][:2])/2 # between two of them
    folder = tmp_path/'to sort'
    folder.mkdir()
    for o in files: shutil.copy(o, folder)
    for o in 'ab': (folder/f'{o}.jpg').write_text('gone')
    return rewrite(export_pkl, tmp_path/'odd.pkl', with_threshold(threshold, labels=labels)),folder


def test_predictions(swapped_export, capsys):
    export,folder = swapped_export
    files = sorted(folder.iterdir())
    predictions = [*Classifier(export).many(files)]
    assert main(['classify', '--json', '--export', str(export), *map(str, files)]) == 0
    told = [json.loads(o) for o in capsys.readouterr().out.splitlines()]
    expected = [(str(file), o.label, o.confident) for file,o in zip(files, predictions)]
    assert [(o['photo'], o['label'], o['confident']) for o in told] == expected
    assert {label for o in told for label,_ in o['ranked']} == set(LABELS) and any(o['label'] == 'unsure' and o['confident'] for o in told)


def test_sorting(swapped_export, p, tmp_path, capsys):
    "The preview's table, what is told, the folders and their pages count alike; a photo that is dragged to another label is learned from"
    export,folder = swapped_export
    files,to = sorted(folder.iterdir()),tmp_path/'sorted'
    predictions = [*Classifier(export).many(files)]
    place = {o: f'{o}_' if o in ('unsure', 'sheets', "can't be opened") else o for o in LABELS}
    expected = Counter("can't be opened" if o.label is None else place[o.label] if o.confident else 'unsure' for o in predictions)
    assert {'unsure_', 'unsure', "can't be opened"} <= set(expected)
    sort = ['sort', str(folder), '--to', str(to), '--export', str(export)]
    assert main([*sort, '--dry-run']) == 0
    head,*lines,last = capsys.readouterr().out.splitlines()[:-1]
    columns,counts = re.split('  +', head)[1:],[int(o) for o in last.split()[1:]]
    assert Counter(dict(zip(columns, counts))) == expected and sum(counts) == len(files)

    assert main(sort) == 0
    said = capsys.readouterr().out
    went = Counter({k: v for k,v in expected.items() if k != "can't be opened"})
    assert Counter(o.to.split('/')[0] for o,_ in read_rows(to/CSV) if o.to) == went
    assert {o.name for o in to.iterdir() if o.is_dir()} == {*went, 'sheets'} and {o.stem for o in (to/'sheets').iterdir()} == set(went)
    assert all(f'{n} {o}' in said for o,n in went.items()) and "2 that can't be opened" in said

    moved = [o for o,_ in read_rows(to/CSV) if o.to and o.label == 'unsure' and o.confident == 'yes'][:2]
    for o,target in zip(moved, ('sheets', 'unsure')):
        (to/(name := place[target] if target == 'sheets' else 'unsure')).mkdir(exist_ok=True)
        (to/o.to).rename(to/name/Path(o.to).name)
    assert main(['review', str(to), '--project', str(p.file)]) == 0
    said = capsys.readouterr().out
    assert 'Moved to another label: 1 of' in said and '1 unsure now' in said
    assert main(['undo', str(to)]) == 0


def test_options_and_labels(tmp_path, monkeypatch):
    "A label that looks like an option comes after --, and help says so"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit): main(['new', 'pets', '-x', 'y'])
    assert main(['new', 'pets', '--', '-x', '--y']) == 0
    assert list(read_project(Path('projects/pets.toml')).labels) == ['--y', '-x']
