"Answering: `Classifier` beside fastai's `load_learner` and `learn.predict`, from a cold start, photo by photo, and in memory"
import json, statistics, sys, tempfile, time
from pathlib import Path

START = time.perf_counter() # Before anything heavy is imported: that belongs to a cold start


def ours(export):
    "A function that answers for a photo, by tellapart"
    from tellapart.use.classifier import Classifier
    return Classifier(export)


def fastai(export):
    "A function that answers for a photo, by fastai"
    from fastai.learner import load_learner
    learn = load_learner(export)
    learn.remove_cb(learn.progress) # It would be timed, too
    return learn.predict


def measure(who, export, *photos):
    "Start, answer once, then answer for every photo; print seconds and MB"
    answer = globals()[who](export)
    answer(photos[0])
    cold = time.perf_counter() - START
    from _bench import memory
    held = memory()
    times = []
    for o in photos:
        t = time.perf_counter()
        answer(o)
        times.append(time.perf_counter() - t)
    print(json.dumps(dict(cold=cold, photo=1000*statistics.median(times), memory=held)))


def project_export():
    "The export.pkl of the project at hand, or `None`"
    from tellapart.errors import TellapartError
    from tellapart.project import read_project
    try: export = read_project().export
    except TellapartError:
        return None
    return export if export.exists() else None


def tiny_export(photos, path):
    "An export of a resnet18 as large as a trained one, which takes as long to answer"
    from fastai.vision.all import ImageDataLoaders, RandomResizedCrop, resnet18, vision_learner
    from tellapart.export.export import export
    dls = ImageDataLoaders.from_folder(photos, valid_pct=.2, seed=1, item_tfms=RandomResizedCrop(224), bs=8, num_workers=0)
    return export(vision_learner(dls, resnet18, pretrained=False), path)


def main(folder):
    "Measure both in turn and report"
    from _bench import apart, draw_photos, median, report
    with tempfile.TemporaryDirectory() as tmp:
        photos = folder or draw_photos(Path(tmp)/'photos')
        export = project_export() or tiny_export(photos, Path(tmp)/'export.pkl')
        files = sorted(o for o in photos.rglob('*') if o.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp'))[:100]
        us,them = (median([apart(__file__, who, export, *files) for _ in range(3)]) for who in ('ours', 'fastai'))
    kinds = dict(cold=('import, load and first answer', 's'), photo=('one photo more', 'ms'), memory=('memory held', 'MB'))
    rows = [(f'{what}, {name}', o[k], unit) for k,(what,unit) in kinds.items() for name,o in (('Classifier', us), ('load_learner and learn.predict', them))]
    report('answer', rows, {what: them[k]/us[k] for k,(what,_) in kinds.items()}, ['tellapart', 'onnxruntime', 'fastai', 'torch', 'pillow'])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
