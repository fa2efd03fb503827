"Single photos: `Classifier` beside fastai's `load_learner` and `learn.predict`: cold start, further photos, memory"
import json, statistics, sys, tempfile, time
from pathlib import Path

START = time.perf_counter() # before the imports, which belong to a cold start


def ours(export):
    "A function that classifies a photo, by tellapart"
    from tellapart.use.classifier import Classifier
    return Classifier(export)


def fastai(export):
    "A function that classifies a photo, by fastai"
    from fastai.learner import load_learner
    learn = load_learner(export)
    learn.remove_cb(learn.progress) # it would be timed, too
    return learn.predict


def measure(who, export, *photos):
    "Start, classify one photo, then all photos; print seconds, milliseconds and MB"
    classify = globals()[who](export)
    classify(photos[0])
    cold = time.perf_counter() - START
    from _bench import memory
    used = memory()
    times = []
    for o in photos:
        t = time.perf_counter()
        classify(o)
        times.append(time.perf_counter() - t)
    print(json.dumps(dict(cold=cold, photo=1000*statistics.median(times), memory=used)))


def project_export():
    "The export.pkl of the current project, or `None`"
    from tellapart.errors import TellapartError
    from tellapart.project import read_project
    try: export = read_project().export
    except TellapartError:
        return None
    return export if export.exists() else None


def tiny_export(photos, path):
    "An export of an untrained resnet18, as large and as fast as a trained one"
    from fastai.vision.all import ImageDataLoaders, RandomResizedCrop, resnet18, vision_learner
    from tellapart.export.export import export
    dls = ImageDataLoaders.from_folder(photos, valid_pct=.2, seed=1, item_tfms=RandomResizedCrop(224), bs=8, num_workers=0)
    return export(vision_learner(dls, resnet18, pretrained=False), path)


def main(folder):
    "Measure both, three times each, and report the medians"
    from _bench import in_process, draw_photos, median, report
    with tempfile.TemporaryDirectory() as tmp:
        photos = folder or draw_photos(Path(tmp)/'photos')
        export = project_export() or tiny_export(photos, Path(tmp)/'export.pkl')
        files = sorted(o for o in photos.rglob('*') if o.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp'))[:100]
        us,them = (median([in_process(__file__, who, export, *files) for _ in range(3)]) for who in ('ours', 'fastai'))
    figures = dict(cold=('import, load and first prediction', 's'), photo=('each further photo', 'ms'), memory=('memory', 'MB'))
    tools = dict(Classifier=us, fastai=them)
    rows = [(f'{what}, {name}', o[k], unit) for k,(what,unit) in figures.items() for name,o in tools.items()]
    report('answer', rows, {what: them[k]/us[k] for k,(what,_) in figures.items()},
           ['tellapart', 'onnxruntime', 'fastai', 'torch', 'pillow'], columns=[[*tools]])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
