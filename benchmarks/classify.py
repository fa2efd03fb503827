"Many photos: `Classifier.many` in 32 and 8 bits beside fastai's `learn.predict` and `get_preds`; Ray; each stage; and a smaller network"
import json, os, shutil, statistics, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
from tellapart.machine import cpu_count

TRAIN,TEST = 60, 134 # photos drawn of each label
SIZE = 1500, 1125 # of a drawn photo, in pixels
PIXELS,EPOCHS = 224, 6
ARCHS = 'resnet18', 'tf_efficientnet_lite0'
SHARD = 16 # photos
RAY = dict(ray_1=1, ray_2=2) # machines, which share the cores of this one
STAGES = {'forward pass': 'forward', 'Classifier': 'ours'}
WAYS = dict(predict='learn.predict (loop)', get_preds='get_preds (workers)',
            ours='Classifier.many (32 bits)', int8='Classifier.many (8 bits)')


def split_photos(photos):
    "Photos to train on and photos to test with, evenly spread"
    from fastai.vision.utils import get_image_files
    files = sorted(get_image_files(photos))
    every = (TRAIN + TEST)/TRAIN
    train = {files[int(i*every)] for i in range(int(len(files)/every))}
    return sorted(train), [o for o in files if o not in train]


def train(files, path, arch=ARCHS[0]):
    "An export of a network trained on some photos, with 8-bit weights"
    from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, RandomResizedCrop, RandomSplitter, aug_transforms, parent_label,
                                   set_seed, vision_learner)
    from tellapart.export.export import export
    from tellapart.train.train import AutoMixedPrecision
    from tellapart.train.weights import model_kwargs, normalize
    set_seed(1, reproducible=True)
    block = DataBlock((ImageBlock, CategoryBlock), get_y=parent_label, splitter=RandomSplitter(.25, seed=1),
                      item_tfms=RandomResizedCrop(PIXELS, min_scale=.5),
                      batch_tfms=[*aug_transforms(), normalize(arch)])
    learn = vision_learner(block.dataloaders(files, bs=16, num_workers=0), **model_kwargs(arch), cbs=AutoMixedPrecision())
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(EPOCHS, 3e-3)
    return export(learn, path, int8=True)


def load(export):
    "The learner in an export"
    from fastai.learner import load_learner
    learn = load_learner(export)
    learn.remove_cb(learn.progress) # it would be timed, too
    return learn


def predict(export):
    "fastai, one photo at a time"
    learn = load(export)
    return lambda files: [learn.predict(o)[0] for o in files]


def get_preds(export):
    "fastai, in batches, with a worker for each core"
    learn = load(export)
    def labels(files):
        dl = learn.dls.test_dl(files, bs=64, num_workers=min(cpu_count(), len(files)))
        return [learn.dls.vocab[i] for i in learn.get_preds(dl=dl)[0].argmax(1)]
    return labels


def ours(export, int8=False):
    "tellapart, in 32 bits"
    from tellapart.use.classifier import Classifier
    classify = Classifier(export, int8)
    return lambda files: [o.label for o in classify.many(files)]


def int8(export):
    "tellapart, in 8 bits"
    return ours(export, True)


def measure(who, export, files, labels_file):
    "Classify one photo, then all; print the time per photo, and write the labels to `labels_file`"
    files = json.loads(Path(files).read_text())
    if who == 'one':
        return measure_one(export, files)
    if who in RAY:
        return measure_ray(RAY[who], export, files, labels_file)
    classify = globals()[who](export)
    classify(files[:1])
    start = time.perf_counter()
    labels = classify(files)
    print(json.dumps(dict(photo=1000*(time.perf_counter() - start)/len(files))))
    Path(labels_file).write_text(json.dumps(labels))


def equal(a, b): return 100*sum(x == y for x,y in zip(a, b))/len(a) # in per cent


def timed(f, files):
    "Median time of `f` for a file, in ms"
    times = []
    for o in files:
        start = time.perf_counter()
        f(o)
        times.append(1000*(time.perf_counter() - start))
    return statistics.median(times)


def measure_one(export, files):
    "Print the time of each stage for one photo, and how often a file and its opened image have equal predictions"
    from tellapart.images import open_photo
    from tellapart.use.classifier import Classifier, decode_size, preprocess
    numbers = {}
    for bits in 32, 8:
        classify = Classifier(export, bits == 8)
        batch = preprocess(open_photo(files[0]), classify.meta)[None]
        forward = lambda o, classify=classify, batch=batch: classify.probabilities(batch)
        decode = lambda o, meta=classify.meta: open_photo(o, decode_size(meta))
        numbers |= {f'{what} {bits}': timed(f, files) for what,f in dict(decode=decode, forward=forward, ours=classify).items()}
        pairs = [(classify(o), classify(open_photo(o))) for o in files]
        for what in 'label', 'confident':
            numbers[f'{what} {bits}'] = equal([getattr(a, what) for a,_ in pairs], [getattr(b, what) for _,b in pairs])
    print(json.dumps(numbers))


def measure_ray(machines, export, files, labels_file):
    "Print Ray's time per photo once it has started, and its total time; write the labels to `labels_file`"
    import pyarrow.parquet as pq, ray
    from ray.cluster_utils import Cluster
    from tellapart.use.batch_inference import classify_all
    machine,to = dict(num_cpus=cpu_count()//machines, object_store_memory=80*2**20),Path(labels_file).with_suffix('')
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    for _ in range(1, machines): cluster.add_node(**machine)
    os.environ['RAY_ADDRESS'] = cluster.address
    start = time.perf_counter()
    classify_all(Path(files[0]).parents[1], to, export, SHARD)
    seconds = time.perf_counter() - start
    ray.shutdown()
    cluster.shutdown()
    shards = sorted(to.glob('answers/*.parquet'), key=lambda o: o.stat().st_mtime)
    first,last = (shards[i].stat().st_mtime for i in (0, -1)) # when the first exists, all workers have started
    labels = {o['path']: o['label'] for shard in shards for o in pq.read_table(shard).to_pylist()}
    Path(labels_file).write_text(json.dumps([labels[os.path.realpath(o)] for o in files]))
    shutil.rmtree(to)
    n = len(files) - pq.read_table(shards[0]).num_rows # classified after the first shard was written
    print('\n' + json.dumps(dict(photo=1000*(last - first)/n, all=seconds)))


def run_all(photos, tmp):
    "Measure everything three times in turn; the medians and the labels by way, and the number of photos"
    from _bench import draw_rackets, in_process, median
    train_files,test_files = split_photos(photos or draw_rackets(tmp/'photos', TRAIN + TEST, SIZE))
    exports = {o: train(train_files, tmp/o/'export.pkl', o) for o in ARCHS}
    export,runs = exports[ARCHS[0]],{o: [] for o in (*WAYS, 'one', *RAY)}
    for o in {o.parent.name for o in test_files}: (tmp/'test'/o).mkdir(parents=True)
    test_files = [shutil.copy(o, tmp/'test'/o.parent.name/o.name) for o in test_files]
    (tmp/'files.json').write_text(json.dumps([str(o) for o in test_files]))
    for _ in range(3):
        for who in runs:
            runs[who].append(in_process(__file__, who, export, tmp/'files.json', tmp/f'{who}.json'))
            print(who, runs[who][-1], flush=True)
    labels = {who: json.loads((tmp/f'{who}.json').read_text()) for who in (*WAYS, *RAY)}
    return {who: median(o) for who,o in runs.items()}, labels, test_files, compare_archs(exports, test_files, tmp)


def compare_archs(exports, files, tmp):
    "Rows for each network: the size of its export, the time per photo, and how often 8 bits and 32 give the same label"
    from _bench import in_process, median
    rows = []
    for arch,export in exports.items():
        of,labels = {},{}
        for bits,way in (32, 'ours'), (8, 'int8'):
            of[bits] = median([in_process(__file__, way, export, tmp/'files.json', tmp/'labels.json') for _ in range(3)])
            labels[bits] = json.loads((tmp/'labels.json').read_text())
        rows += [(f'export.pkl, {arch}', export.stat().st_size/1e6, 'MB')]
        rows += [(f'time per photo, {bits} bits, {arch}', o['photo'], 'ms') for bits,o in of.items()]
        rows += [(f'peak memory, {bits} bits, {arch}', o['peak'], 'MB') for bits,o in of.items()]
        rows += [(f'labels equal in 8 and 32 bits, {arch}', equal(labels[8], labels[32]), '%'),
                 (f'wrong, {arch}', 100 - equal(labels[32], [Path(o).parent.name for o in files]), '%')]
    return rows


def main(photos):
    "Measure everything and report"
    from _bench import report
    with TemporaryDirectory() as tmp: of,labels,files,archs = run_all(photos, Path(tmp))
    n,one,(_,*others),figures = len(files),of['one'],WAYS,[('photo', 'time per photo', 'ms'), ('peak', 'peak memory', 'MB')]
    rows = [(f'{what}, {name}', of[who][k], unit) for k,what,unit in figures for who,name in WAYS.items()]
    rows += [(f'labels equal to learn.predict, {WAYS[o]}', equal(labels[o], labels['predict']), '%') for o in others]
    machines = {who: f"Ray ({k} machine{'' if k == 1 else 's'})" for who,k in RAY.items()}
    for who,name in machines.items():
        rows += [(f'time per photo, {name}', of[who]['photo'], 'ms'), (f'all {n} photos, {name}', of[who]['all'], 's'),
                 (f'labels equal to Classifier.many (8 bits), {name}', equal(labels[who], labels['int8']), '%')]
    rows += [('one photo: decoding, 32 bits', one['decode 32'], 'ms')]
    for bits in 32, 8:
        rows += [(f'one photo: {what}, {bits} bits', one[f'{k} {bits}'], 'ms') for what,k in STAGES.items()]
        rows += [(f'`{o}` equal for a file and its opened image, {bits} bits', one[f'{o} {bits}'], '%') for o in ('label', 'confident')]
    ratio = lambda a, b: of[a]['photo']/of[b]['photo']
    ratios = {f'time per photo: {WAYS[a]} / {WAYS[b]}': ratio(a, b) for b in ('ours', 'int8') for a in ('predict', 'get_preds')}
    ratios |= {f'time per photo: {name} / {WAYS["int8"]}': ratio(who, 'int8') for who,name in machines.items()}
    overhead = lambda bits: one[f'ours {bits}']/(one[f'decode {bits}'] + one[f'forward {bits}'])
    ratios |= {f'one photo: Classifier / (decoding + forward pass), {bits} bits': overhead(bits) for bits in (32, 8)}
    report('classify', rows + archs, ratios, ['tellapart', 'onnxruntime', 'fastai', 'torch', 'pillow', 'ray'],
           columns=[[*WAYS.values()], [*machines.values()], ['32 bits', '8 bits'], ARCHS])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
