"Many photos: `Classifier.many`, in 32 bits and in 8, beside fastai's `learn.predict` one by one and `get_preds` with workers; what Ray adds; and where the time goes for one photo"
import json, os, shutil, statistics, sys, time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from tellapart.machine import cpu_count

LABELS = 'badminton', 'squash', 'tennis'
LEARNED,MEASURED = 60, 134 # photos drawn of each label
SIZE = 1500, 1125 # of a drawn photo, in pixels
PIXELS,EPOCHS = 224, 6
SHARD = 16 # photos
RAY = dict(ray_1=1, ray_2=2) # machines, which share the cores of this one
WAYS = dict(predict='learn.predict, one by one', get_preds='get_preds with workers', ours='Classifier.many', int8='Classifier.many in 8 bits')


def draw_racket(folder, label, i):
    "Draw one photo of those that the demo tells apart"
    from tellapart.demo.draw import draw
    draw(f'{label} racket', i, size=SIZE).save(folder/label/f'{i}.jpg', quality=88)


def draw_rackets(folder):
    "Draw photos, on all cores"
    for o in LABELS: (folder/o).mkdir(parents=True)
    with ProcessPoolExecutor() as pool: list(pool.map(partial(draw_racket, folder), *zip(*((o, i) for o in LABELS for i in range(LEARNED + MEASURED)))))
    return folder


def divided(photos):
    "Photos to learn from and photos to measure with, evenly spread"
    from fastai.vision.utils import get_image_files
    files = sorted(get_image_files(photos))
    every = (LEARNED + MEASURED)/LEARNED
    learned = {files[int(i*every)] for i in range(int(len(files)/every))}
    return sorted(learned), [o for o in files if o not in learned]


def trained(files, path):
    "An export of a resnet18 that has learned from some photos, and can answer in 8 bits"
    from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, RandomResizedCrop, RandomSplitter, aug_transforms, imagenet_stats, parent_label, set_seed, vision_learner)
    from tellapart.export.export import export
    from tellapart.train.train import AutoMixedPrecision, model_kwargs
    set_seed(1, reproducible=True)
    block = DataBlock((ImageBlock, CategoryBlock), get_y=parent_label, splitter=RandomSplitter(.25, seed=1), item_tfms=RandomResizedCrop(PIXELS, min_scale=.5),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(block.dataloaders(files, bs=16, num_workers=0), **model_kwargs('resnet18'), cbs=AutoMixedPrecision())
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(EPOCHS, 3e-3)
    return export(learn, path, int8=True)


def loaded(export):
    "The learner in an export"
    from fastai.learner import load_learner
    learn = load_learner(export)
    learn.remove_cb(learn.progress) # It would be timed, too
    return learn


def predict(export):
    "fastai, one photo after the other"
    learn = loaded(export)
    return lambda files: [learn.predict(o)[0] for o in files]


def get_preds(export):
    "fastai, in batches, with as many workers as there are cores"
    learn = loaded(export)
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


def measure(who, export, files, said):
    "Answer for one photo, and then for all; print how long each of them takes, and write down what was said"
    files = json.loads(Path(files).read_text())
    if who == 'one':
        return measure_one(export, files)
    if who in RAY:
        return measure_ray(RAY[who], export, files, said)
    answer = globals()[who](export)
    answer(files[:1])
    start = time.perf_counter()
    labels = answer(files)
    print(json.dumps(dict(photo=1000*(time.perf_counter() - start)/len(files))))
    Path(said).write_text(json.dumps(labels))


def timed(f, files):
    "The median of how many ms `f` takes for a file"
    times = []
    for o in files:
        start = time.perf_counter()
        f(o)
        times.append(1000*(time.perf_counter() - start))
    return statistics.median(times)


def measure_one(export, files):
    "Print how long decoding, the forward pass and the whole answer take for one photo, in 32 bits and in 8, and what share of the photos keep their label and whether it is sure when they are opened before"
    from tellapart.images import open_photo
    from tellapart.use.classifier import Classifier, decode_size, preprocess
    said = {}
    for bits in 32, 8:
        classify = Classifier(export, bits == 8)
        batch = preprocess(open_photo(files[0]), classify.meta)[None]
        forward = lambda o: classify.session.run(['outputs'], {'photos': batch})
        said |= {f'decode {bits}': timed(lambda o: open_photo(o, decode_size(classify.meta)), files), f'forward {bits}': timed(forward, files), f'ours {bits}': timed(classify, files)}
        pairs = [(classify(o), classify(open_photo(o))) for o in files]
        said |= {f'label {bits}': sum(a.label == b.label for a,b in pairs)/len(pairs), f'sure {bits}': sum(a.confident == b.confident for a,b in pairs)/len(pairs)}
    print(json.dumps(said))


def measure_ray(machines, export, files, said):
    "Print how long Ray takes for a photo once it has started, and for everything; write down what was said"
    import pyarrow.parquet as pq, ray
    from ray.cluster_utils import Cluster
    from tellapart.use.batch_inference import classify_all
    machine,to = dict(num_cpus=cpu_count()//machines, object_store_memory=80*2**20),Path(said).with_suffix('')
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    for _ in range(1, machines): cluster.add_node(**machine)
    os.environ['RAY_ADDRESS'] = cluster.address
    start = time.perf_counter()
    classify_all(Path(files[0]).parents[1], to, export, SHARD)
    seconds = time.perf_counter() - start
    ray.shutdown()
    cluster.shutdown()
    shards = sorted(to.glob('answers/*.parquet'), key=lambda o: o.stat().st_mtime)
    first,last = (shards[i].stat().st_mtime for i in (0, -1)) # from when the first is there, all are at work
    labels = {o['path']: o['label'] for shard in shards for o in pq.read_table(shard).to_pylist()}
    Path(said).write_text(json.dumps([labels[os.path.realpath(o)] for o in files]))
    shutil.rmtree(to)
    print('\n' + json.dumps(dict(photo=1000*(last - first)/(len(shards) - 1)/SHARD, all=seconds)))


def main(photos):
    "Measure all in turn, and report"
    from _bench import apart, median, report
    runs,said = {o: [] for o in (*WAYS, 'one', *RAY)},{}
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        learned,measured = divided(photos or draw_rackets(tmp/'photos'))
        export = trained(learned, tmp/'export.pkl')
        for o in {o.parent.name for o in measured}: (tmp/'measured'/o).mkdir(parents=True)
        measured = [shutil.copy(o, tmp/'measured'/o.parent.name/o.name) for o in measured]
        (tmp/'files.json').write_text(json.dumps([str(o) for o in measured]))
        for _ in range(3):
            for who in runs:
                runs[who].append(apart(__file__, who, export, tmp/'files.json', tmp/f'{who}.json'))
                print(who, runs[who][-1], flush=True)
        for who in (*WAYS, *RAY): said[who] = json.loads((tmp/f'{who}.json').read_text())
    of = {who: median(o) for who,o in runs.items()}
    one,(_,*rest) = of['one'],WAYS
    rows = [(f'a photo of many, {name}', of[who]['photo'], 'ms') for who,name in WAYS.items()]
    rows += [(f'most memory held, {name}', of[who]['peak'], 'MB') for who,name in WAYS.items()]
    rows += [(f'labels as learn.predict gives them, of {len(measured)}, {WAYS[o]}', 100*sum(a == b for a,b in zip(said[o], said['predict']))/len(measured), '%') for o in rest]
    for who,n in RAY.items():
        machines = f"{n} machine{'s'*(n > 1)}"
        rows += [(f'a photo of many, Ray with {machines}', of[who]['photo'], 'ms'), (f'all {len(measured)} photos, Ray with {machines}', of[who]['all'], 's'),
                 (f'labels as Classifier.many in 8 bits gives them, Ray with {machines}', 100*sum(a == b for a,b in zip(said[who], said['int8']))/len(measured), '%')]
    rows += [('one photo, decode', one['decode 32'], 'ms')]
    rows += [(f'one photo, {what}, {bits} bits', one[f'{key} {bits}'], 'ms') for bits in (32, 8) for key,what in (('forward', 'forward'), ('ours', 'Classifier'))]
    rows += [(f'{what} of a file as of a picture opened before, of {len(measured)}, {bits} bits', 100*one[f'{key} {bits}'], '%') for bits in (32, 8) for key,what in (('label', 'labels'), ('sure', 'sure or not'))]
    rows += [('one photo, learn.predict', of['predict']['photo'], 'ms')]
    ratios = {f'a photo of many, {WAYS[them]}, to {WAYS[us]}': of[them]['photo']/of[us]['photo'] for us in ('ours', 'int8') for them in ('predict', 'get_preds')}
    ratios |= {f'a photo of many, Ray with {n}, to Classifier.many in 8 bits': of[who]['photo']/of['int8']['photo'] for who,n in RAY.items()}
    ratios |= {f'one photo, Classifier to decode and forward, {bits} bits': one[f'ours {bits}']/(one[f'decode {bits}'] + one[f'forward {bits}']) for bits in (32, 8)}
    report('classify', rows, ratios, ['tellapart', 'onnxruntime', 'fastai', 'torch', 'pillow', 'ray'])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
