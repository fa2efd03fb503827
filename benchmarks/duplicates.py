"Near duplicates: copies found and distinct photos taken for copies, by tellapart's two looks and by the usual perceptual hashes; what looking costs; and photos saved again told from the next photos of one viewpoint"
import json, sys, time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
import imagehash, numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from tellapart.check.duplicates import is_duplicate, verify_pairs, candidate_pairs, phash, same_photo
from tellapart.images import open_photo

EIGHT,SIXTEEN = (imagehash.phash, imagehash.dhash, imagehash.whash, imagehash.average_hash), (imagehash.phash, imagehash.dhash)
OTHERS = {f'{f.__name__} {n} x {n}': (f, n) for n,hashes in {8: EIGHT, 16: SIXTEEN}.items() for f in hashes}


def cut(photo, rng, most):
    "Up to `most` of the width or height cut off at each side"
    w,h = photo.size
    left,top,right,bottom = rng.uniform(0, most, 4)
    return photo.crop((round(left*w), round(top*h), round(w - right*w), round(h - bottom*h)))


def scaled(photo, by): return photo.resize([max(32, round(o*by)) for o in photo.size], Image.Resampling.LANCZOS)


def web_copy(photo, rng): return ImageEnhance.Brightness(scaled(cut(photo, rng, .03), rng.uniform(.5, .95))).enhance(rng.uniform(.92, 1.08))


def marked(photo, rng):
    "A shop's name on a white label in the corner"
    photo,(w,h) = photo.copy(),photo.size
    photo.paste('white', (round(.6*w), round(.88*h), round(.97*w), round(.97*h)))
    return photo


EDITS = {
    'cut by up to 3 % a side and made smaller': web_copy,
    'half the size': lambda photo, rng: scaled(photo, .5),
    'a quarter of the size': lambda photo, rng: scaled(photo, .25),
    'cut by up to 5 % a side': lambda photo, rng: cut(photo, rng, .05),
    'cut by up to 10 % a side': lambda photo, rng: cut(photo, rng, .1),
    'much brighter or darker': lambda photo, rng: ImageEnhance.Brightness(photo).enhance(rng.choice([.7, 1.35])),
    'more or less contrast': lambda photo, rng: ImageEnhance.Contrast(photo).enhance(rng.choice([.65, 1.4])),
    'black and white': lambda photo, rng: ImageOps.grayscale(photo),
    'with a label on it': marked,
    'with a border of 3 %': lambda photo, rng: ImageOps.expand(photo, round(.03*min(photo.size)), 'white'),
    'turned by 1 degree': lambda photo, rng: photo.rotate(rng.choice([-1, 1]), Image.Resampling.BICUBIC),
    'stretched by a tenth': lambda photo, rng: photo.resize((photo.width, round(1.1*photo.height))),
}


SAVED = { # factor of the size, format and quality
    'JPEG of quality 95': (1, 'JPEG', 95), 'JPEG of quality 70': (1, 'JPEG', 70), 'JPEG of quality 50': (1, 'JPEG', 50), 'JPEG of quality 30': (1, 'JPEG', 30),
    'WebP of quality 50': (1, 'WEBP', 50), 'three quarters of the size, quality 50': (.75, 'JPEG', 50), 'half the size, quality 80': (.5, 'JPEG', 80),
    'half the size, quality 50': (.5, 'JPEG', 50), 'twice the size, quality 85': (2, 'JPEG', 85)}


def lit(photo, by): return Image.fromarray((np.asarray(photo, 'float32')*by).clip(0, 255).astype('uint8'))


def visited(photo, rng, side, contrast):
    "Something round has come in, as large as `side` of the short side, somewhat brighter or darker than what is behind it"
    photo,r = photo.copy(),round(side*min(photo.size))
    x,y = (int(rng.integers(0, o - r)) for o in photo.size)
    behind = np.asarray(photo)[y:y+r, x:x+r].mean((0, 1))
    ImageDraw.Draw(photo).ellipse((x, y, x+r, y+r), tuple(int(o + (contrast if o < 128 else -contrast)) for o in behind))
    return photo


def shaded(photo, rng):
    "A shadow a tenth darker on one side"
    part = np.ones((photo.height, photo.width, 1))
    part[:, :rng.integers(photo.width//4, 3*photo.width//4)] = .9
    return lit(photo, part)


NEXT = {
    'a thing of 3 % has come in': lambda photo, rng: visited(photo, rng, .03, 60),
    'a thing of 5 % has come in': lambda photo, rng: visited(photo, rng, .05, 60),
    'a faint thing of 10 % has come in': lambda photo, rng: visited(photo, rng, .1, 30),
    'light less by 10 %': lambda photo, rng: lit(photo, .9),
    'light less by 5 %': lambda photo, rng: lit(photo, .95),
    'light less by 2 %': lambda photo, rng: lit(photo, .98),
    'light warmer by 10 %': lambda photo, rng: lit(photo, [1.1, 1, .9]),
    'a shadow': shaded,
    'the hand has moved by 1 %': lambda photo, rng: photo.crop((round(.01*photo.width), round(.01*photo.height), *photo.size)),
    'nothing but noise': lambda photo, rng: photo,
}


def noisy(photo, rng): return Image.fromarray((np.asarray(photo) + rng.normal(0, 3, (photo.height, photo.width, 3))).clip(0, 255).astype('uint8'))


def one_viewpoint(photos, folder):
    "What is_copy finds of photos saved again, and what it takes for that of photos taken next, each with a sensor's noise of its own; in per cent"
    rng,found = np.random.default_rng(0),{}
    for what,change in {**SAVED, **NEXT}.items():
        same = []
        for i,file in enumerate(photos):
            photo,one,other = open_photo(file),folder/f'{what} {i} one.jpg',folder/f'{what} {i} other'
            noisy(photo, rng).save(one, quality=92)
            if what in SAVED: scaled(open_photo(one), change[0]).save(other, change[1], quality=change[2])
            else: noisy(change(photo, rng), rng).save(other, 'JPEG', quality=92)
            same.append(same_photo('copies', 0, one, other))
        found[what] = 100*float(np.mean(same))
    return found


def draw_photos(folder, n):
    "Distinct photos by the demo: things on courts and tables, and every third alone on white"
    from tellapart.demo.draw import cutout, draw
    for i in range(n):
        label = ('badminton', 'squash', 'tennis')[i//3 % 3]
        photo = open_photo(cutout(label, i, size=(320, 240))) if i%3 == 0 else draw(label, i, size=(320, 240))
        photo.save(folder/f'{i:05}.jpg', quality=90)


def copies(photos, folder):
    "Name of an edit → files of the photos edited so, saved again as JPEG"
    rng,name,made = np.random.default_rng(0),count(),{}
    for edit,f in EDITS.items():
        made[edit] = [folder/f'{next(name)}.jpg' for _ in photos]
        for photo,file in zip(photos, made[edit]): f(open_photo(photo), rng).save(file, quality=int(rng.integers(60, 95)))
    return made


def signs(files, hash, n):
    "The bits of hashes as -1 and 1, a row a file; and the milliseconds that one takes"
    photos,start = [open_photo(o) for o in files],time.perf_counter()
    bits = np.array([hash(o, n).hash.ravel() for o in photos], 'float32')
    return 2*bits - 1, 1000*(time.perf_counter() - start)/len(files)


def other(hash, n, distinct, made, share):
    "What a hash finds where its limit lets no more than `share` of distinct pairs pass, in per cent; and its milliseconds a photo"
    first,ms = signs(distinct, hash, n)
    agree = np.sort((first@first.T)[np.triu_indices(len(first), 1)])
    limit = agree[-1 - int(share*len(agree))] # Pairs that agree more than this are called the same
    return {edit: 100*float(np.mean((first[:len(o)] * signs(o, hash, n)[0]).sum(1) > limit)) for edit,o in made.items()}, ms


def tellapart(distinct, made):
    "What both looks find, in per cent; pairs that pass the first look; and those that pass the second, too"
    differ = lambda a, b: (int(a, 16) ^ int(b, 16)).bit_count()
    first = [phash(open_photo(o)) for o in distinct]
    pairs = candidate_pairs(first)
    same = lambda files: [is_duplicate(differ(a, phash(open_photo(o))), photo, o) for a,photo,o in zip(first, distinct, files)]
    return {edit: 100*float(np.mean(same(files))) for edit,files in made.items()}, len(pairs), len(verify_pairs(pairs, distinct))


def measure(what, *args):
    "Print the numbers of one measurement"
    if what == 'pairs':
        hashes = [o.tobytes().hex() for o in np.random.default_rng(0).integers(0, 256, (int(args[0]), 32), 'uint8')]
        start = time.perf_counter()
        candidate_pairs(hashes)
        print(json.dumps(dict(pairs=time.perf_counter() - start)))
    if what == 'looks':
        photos = [open_photo(o) for o in args]
        phash(photos[0])
        start = time.perf_counter()
        hashes = [phash(o) for o in photos]
        hashed = time.perf_counter()
        verify_pairs(np.array([[a, a+1, 17] for a in range(len(photos)-1)]), args)
        print(json.dumps(dict(hash=1000*(hashed - start)/len(hashes), look=1000*(time.perf_counter() - hashed)/(len(photos) - 1))))


def main(folder, n=1500, edited=150):
    "Make copies, look for them, and report"
    from _bench import apart, report
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        if not folder: draw_photos(tmp, n)
        distinct = sorted(o for o in (folder or tmp).rglob('*') if o.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp'))
        (tmp/'copies').mkdir()
        made = copies(distinct[:edited], tmp/'copies')
        pairs = len(distinct)*(len(distinct) - 1)//2
        found,passed,same = tellapart(distinct, made)
        (tmp/'series').mkdir()
        series = one_viewpoint(distinct[:edited], tmp/'series')
        share = max(same, 1)/pairs
        others = {name: other(*o, distinct, made, share) for name,o in OTHERS.items()}
        looks = apart(__file__, 'looks', *distinct[:200])
    usual,*_ = EDITS
    rows = [(f'copies found, {edit}', o, '%') for edit,o in found.items()]
    rows += [('pairs of distinct photos', pairs/1e6, 'million'),
             ('of them past the first look', passed, 'pairs'), ('of them past the second look', same, 'pairs')]
    rows += [(f'copies found, {usual}, {name}', o[usual], '%') for name,(o,_) in others.items()]
    rows += [(f"{'saved again, found' if o in SAVED else 'the next photo, taken for a copy'}: {o}", share, '%') for o,share in series.items()]
    rows += [('all copies found, tellapart', np.mean([*found.values()]), '%')]
    rows += [(f'all copies found, {name}', np.mean([*o.values()]), '%') for name,(o,_) in others.items()]
    rows += [('a hash, tellapart', looks['hash'], 'ms')] + [(f'a hash, {name}', ms, 'ms') for name,(_,ms) in others.items()]
    rows += [('a second look at a pair', looks['look'], 'ms'), ('all pairs of 20,000 photos', apart(__file__, 'pairs', 20_000)['pairs'], 's')]
    many = apart(__file__, 'pairs', 200_000)
    rows += [('all pairs of 200,000 photos', many['pairs'], 's'), ('memory held for them', many['peak'], 'MB')]
    report('duplicates', rows, {}, ['tellapart', 'imagehash', 'numpy', 'scipy', 'pillow'])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
