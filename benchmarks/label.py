"Labelling a heap of photos: clicks and keys with PhotoLabeller, by a simulated annotator, beside one by one"
import shutil
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
import numpy as np
from _bench import arguments, draw_rackets, report
from tellapart.clean.labeller import PhotoLabeller

SEEDS = 5
ERRORS = .01 # of the annotator, for each photo that is looked at


def make_heap(photos, folder):
    "Copy the photos into one folder; the label of each by its name there"
    label_of = {}
    for i,file in enumerate(sorted(o for o in photos.glob('*/*') if o.is_file())):
        shutil.copy(file, folder/(name := f'{i:05}{file.suffix}'))
        label_of[name] = file.parent.name
    return label_of


def annotate(heap, label_of, seed):
    "Label the whole heap; the numbers of clicks and keys, and the share of labels that are right"
    (heap/'labels.csv').unlink(missing_ok=True)
    rng,labeller = np.random.default_rng(seed),PhotoLabeller(heap, set(label_of.values()))
    truth,clicks,keys = [label_of[o.name] for o in labeller.files],0,0
    while labeller.page:
        row,(label, photos) = next(iter(labeller.page.items()))
        label = label or max(labeller.queue.labels, key=[truth[o] for o in photos].count)
        wrong = [o for o in photos if (truth[o] != label) != (rng.random() < ERRORS)]
        labeller.decide(row, label, wrong)
        clicks,keys = clicks + len(wrong),keys + 1
    return dict(clicks=clicks, keys=keys, right=mean(a == b for a,b in zip(labeller.queue.given, truth)), photos=len(truth))


def main():
    args = arguments(__doc__)
    with TemporaryDirectory() as tmp:
        photos = args.photos or draw_rackets(Path(tmp)/'drawn', 100, (320, 240))
        (heap := Path(tmp)/'heap').mkdir()
        label_of = make_heap(photos, heap)
        runs = [annotate(heap, label_of, seed) for seed in range(SEEDS)]
    actions,n = [o['clicks'] + o['keys'] for o in runs],runs[0]['photos']
    rows = [('photos', n, ''), ('clicks and keys', mean(actions), ''), ('most of five runs', max(actions), ''),
            ('clicks among them', mean(o['clicks'] for o in runs), ''), ('labels that are right', 100*mean(o['right'] for o in runs), '%')]
    report('label', rows, {'one by one takes': n/mean(actions)}, ['tellapart', 'scikit-learn'])


if __name__ == '__main__': main()
