"What each way of making photos square does to the error: a head on frozen features, trained on few photos, measured on the rest"
from itertools import product
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
import numpy as np
from PIL import Image
from tqdm import tqdm
from _bench import SEEDS, arguments, interval, report
from tellapart.demo.draw import cutout, draw
from tellapart.features import INPUT, file_features
from tellapart.images import open_photo
from tellapart.train.head import choose_C, fit_head, make_folds
from tellapart.use.classifier import resize

LABELS = 'badminton','squash','tennis'
N,FEW = 60,10 # Photos of a label that are drawn, and of these the ones that train
SIZE = 300,480 # Width and height, which are those of a standing racket
# Name of a column → method and padding of `tellapart.use.classifier.resize`
METHODS = {'centre crop': ('crop', None), 'squish': ('squish', None), 'reflect': ('pad', 'reflect'), 'border': ('pad', 'edge'),
           'black': ('pad', [0, 0, 0]), 'white': ('pad', [255, 255, 255])}


def draw_photos(folder):
    "Rackets on white, as shops show them, and the same on courts and lawns"
    for label,i in tqdm(list(product(LABELS, range(N))), desc='drawn'):
        for kind in 'on white','outdoors': (folder/kind/label).mkdir(parents=True, exist_ok=True)
        shop = cutout(f'{label} racket', i, size=SIZE)
        white = Image.new('RGB', SIZE, 'white')
        white.paste(shop, mask=shop.getchannel('A'))
        white.save(folder/f'on white/{label}/{i}.png')
        draw(f'{label} racket', i, size=SIZE).save(folder/f'outdoors/{label}/{i}.png')


def squares(photos, method, folder):
    "The photos made square, as files; the network's own filter, and its size"
    size,filter = (INPUT['preprocess'][0][o] for o in ('size', 'resample'))
    for i,o in enumerate(photos): resize(open_photo(o, limits=None), size, *METHODS[method], filter).save(folder/f'{i}.png')
    return [folder/f'{i}.png' for i in range(len(photos))]


def error(x, labels, seed):
    "Share of photos that a head gets wrong which was trained on `FEW` of each label"
    rng = np.random.default_rng(seed)
    train = np.concatenate([rng.permutation(np.flatnonzero(labels == o))[:FEW] for o in np.unique(labels)])
    rest = np.setdiff1d(np.arange(len(labels)), train)
    C,_ = choose_C(x[train], labels[train], make_folds(labels[train], train))
    head = fit_head(x[train], labels[train], C)
    return 100*(np.array(head.labels)[head.logits(x[rest]).argmax(1)] != labels[rest]).mean()


def main():
    args,rows = arguments(__doc__),[]
    with TemporaryDirectory() as tmp:
        folder = Path(tmp)
        if not args.photos: draw_photos(folder/'drawn')
        kinds = {'photos': args.photos} if args.photos else {o: folder/'drawn'/o for o in ('on white', 'outdoors')}
        for (kind,photos),method in product(kinds.items(), METHODS):
            files = sorted(o for o in photos.glob('*/*') if o.is_file())
            labels = np.array([o.parent.name for o in files])
            (out := folder/f'{kind} {method}').mkdir()
            x = file_features(squares(files, method, out), out)
            errors = [error(x, labels, seed) for seed in SEEDS]
            rows.append((f'error, {kind}, {method}', mean(errors), '%', interval(errors)))
    report('resize', rows, {}, ['tellapart', 'scikit-learn', 'pillow'], columns=[list(METHODS)])


if __name__ == '__main__': main()
