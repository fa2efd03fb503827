"Near duplicates: recall of tellapart, of its hashes alone and of common ones, their cost, and copies among photos of one viewpoint"
import json, sys, time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
import imagehash, numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps
from tellapart.check.duplicates import is_duplicate, verify_pairs, candidate_pairs, phash, same_photo
from tellapart.check.parts import part_candidates, shared_part, similar_pairs
from tellapart.features import file_features
from tellapart.images import open_photo

EIGHT,SIXTEEN = (imagehash.phash, imagehash.dhash, imagehash.whash, imagehash.average_hash), (imagehash.phash, imagehash.dhash)
HASHES = {f'{f.__name__} {n} x {n}': (f, n) for n,hashes in {8: EIGHT, 16: SIXTEEN}.items() for f in hashes}


def cut(photo, rng, most):
    "Crop up to `most` of the width or height at each edge"
    w,h = photo.size
    left,top,right,bottom = rng.uniform(0, most, 4)
    return photo.crop((round(left*w), round(top*h), round(w - right*w), round(h - bottom*h)))


def scaled(photo, by): return photo.resize([max(32, round(o*by)) for o in photo.size], Image.Resampling.LANCZOS)


def web_copy(photo, rng): return ImageEnhance.Brightness(scaled(cut(photo, rng, .03), rng.uniform(.5, .95))).enhance(rng.uniform(.92, 1.08))


def with_label(photo, rng):
    "Paste a white label into the corner, as shops do"
    photo,(w,h) = photo.copy(),photo.size
    photo.paste('white', (round(.6*w), round(.88*h), round(.97*w), round(.97*h)))
    return photo


def watermarked(photo, rng):
    "Write a name across, half transparent, as agencies do"
    layer,font = Image.new('RGBA', photo.size),ImageFont.load_default(photo.height//7)
    draw = ImageDraw.Draw(layer)
    for i in range(3): draw.text((.05*photo.width, (.1 + .3*i)*photo.height), 'agency agency agency', (255, 255, 255, 120), font)
    return Image.alpha_composite(photo.convert('RGBA'), layer).convert('RGB')


def under_banner(photo, rng):
    "Put a white band above, as memes have it"
    return ImageOps.pad(photo, (photo.width, round(1.25*photo.height)), color='white', centering=(0, 1))


def in_collage(photo, rng, others):
    "Put others beside and below, of the same size"
    (w,h),n = photo.size,len(others) + 1
    sheet = Image.new('RGB', (2*w, h*n//2))
    for i,o in enumerate([photo, *others]): sheet.paste(ImageOps.fit(o, (w, h)), (i%2*w, i//2*h))
    return sheet


def two_thirds(photo, rng):
    "A window of two thirds of the width and height, anywhere"
    w,h = (round(2/3*o) for o in photo.size)
    x,y = (int(rng.integers(0, o//3 + 1)) for o in photo.size)
    return photo.crop((x, y, x + w, y + h))


EDITS = {
    'cropped up to 3 % per edge and scaled down': web_copy,
    'half the size': lambda photo, rng: scaled(photo, .5),
    'quarter of the size': lambda photo, rng: scaled(photo, .25),
    'cropped up to 5 % per edge': lambda photo, rng: cut(photo, rng, .05),
    'cropped up to 10 % per edge': lambda photo, rng: cut(photo, rng, .1),
    'much brighter or darker': lambda photo, rng: ImageEnhance.Brightness(photo).enhance(rng.choice([.7, 1.35])),
    'more or less contrast': lambda photo, rng: ImageEnhance.Contrast(photo).enhance(rng.choice([.65, 1.4])),
    'greyscale': lambda photo, rng: ImageOps.grayscale(photo),
    'label added': with_label,
    'border of 3 % added': lambda photo, rng: ImageOps.expand(photo, round(.03*min(photo.size)), 'white'),
    'rotated by 1 degree': lambda photo, rng: photo.rotate(rng.choice([-1, 1]), Image.Resampling.BICUBIC),
    'stretched by 10 %': lambda photo, rng: photo.resize((photo.width, round(1.1*photo.height))),
    'cropped up to 20 % per edge': lambda photo, rng: cut(photo, rng, .2),
    'two thirds of it': two_thirds,
    'square cut out': lambda photo, rng: ImageOps.fit(photo, (min(photo.size),)*2),
    'mirrored': lambda photo, rng: ImageOps.mirror(photo),
    'mirrored and cropped up to 10 % per edge': lambda photo, rng: ImageOps.mirror(cut(photo, rng, .1)),
    'watermark across': watermarked,
    'banner above': under_banner,
    'frame of 15 % added': lambda photo, rng: ImageOps.expand(photo, round(.15*min(photo.size)), 'black'),
}
COLLAGES = {'collage of two': 1, 'collage of four': 3} # how many others


RESAVED = { # factor of the size, format and quality
    'JPEG of quality 95': (1, 'JPEG', 95), 'JPEG of quality 70': (1, 'JPEG', 70), 'JPEG of quality 50': (1, 'JPEG', 50),
    'JPEG of quality 30': (1, 'JPEG', 30), 'WebP of quality 50': (1, 'WEBP', 50),
    'three quarters of the size, quality 50': (.75, 'JPEG', 50), 'half the size, quality 80': (.5, 'JPEG', 80),
    'half the size, quality 50': (.5, 'JPEG', 50), 'twice the size, quality 85': (2, 'JPEG', 85)}


def brighter(photo, by): return Image.fromarray((np.asarray(photo, 'float32')*by).clip(0, 255).astype('uint8'))


def with_object(photo, rng, size, contrast):
    "Add a disc of `size` times the short side, somewhat brighter or darker than its background"
    photo,r = photo.copy(),round(size*min(photo.size))
    x,y = (int(rng.integers(0, o - r)) for o in photo.size)
    behind = np.asarray(photo)[y:y+r, x:x+r].mean((0, 1))
    ImageDraw.Draw(photo).ellipse((x, y, x+r, y+r), tuple(int(o + (contrast if o < 128 else -contrast)) for o in behind))
    return photo


def with_shadow(photo, rng):
    "Darken one side by 10 %"
    part = np.ones((photo.height, photo.width, 1))
    part[:, :rng.integers(photo.width//4, 3*photo.width//4)] = .9
    return brighter(photo, part)


NEXT = {
    'object of 3 % added': lambda photo, rng: with_object(photo, rng, .03, 60),
    'object of 5 % added': lambda photo, rng: with_object(photo, rng, .05, 60),
    'faint object of 10 % added': lambda photo, rng: with_object(photo, rng, .1, 30),
    'light 10 % weaker': lambda photo, rng: brighter(photo, .9),
    'light 5 % weaker': lambda photo, rng: brighter(photo, .95),
    'light 2 % weaker': lambda photo, rng: brighter(photo, .98),
    'light 10 % warmer': lambda photo, rng: brighter(photo, [1.1, 1, .9]),
    'shadow added': with_shadow,
    'camera moved by 1 %': lambda photo, rng: photo.crop((round(.01*photo.width), round(.01*photo.height), *photo.size)),
    'only the noise differs': lambda photo, rng: photo,
}


def noisy(photo, rng):
    noise = rng.normal(0, 3, (photo.height, photo.width, 3))
    return Image.fromarray((np.asarray(photo) + noise).clip(0, 255).astype('uint8'))


def one_viewpoint(photos, folder):
    "How often `same_photo` finds resaved photos, and takes the next photo of the same viewpoint for one, in per cent"
    rng,found = np.random.default_rng(0),{}
    for what,change in {**RESAVED, **NEXT}.items():
        same = []
        for i,file in enumerate(photos):
            photo,one,other = open_photo(file),folder/f'{what} {i} one.jpg',folder/f'{what} {i} other'
            noisy(photo, rng).save(one, quality=92)
            if what in RESAVED: scaled(open_photo(one), change[0]).save(other, change[1], quality=change[2])
            else: noisy(change(photo, rng), rng).save(other, 'JPEG', quality=92)
            same.append(same_photo('copies', 0, one, other))
        found[what] = 100*float(np.mean(same))
    return found


def draw_photos(folder, n):
    "Draw distinct photos: objects on courts and tables, and every third on white"
    from tellapart.demo.draw import cutout, draw
    for i in range(n):
        label = ('badminton', 'squash', 'tennis')[i//3 % 3]
        photo = open_photo(cutout(label, i, size=(320, 240))) if i%3 == 0 else draw(label, i, size=(320, 240))
        photo.save(folder/f'{i:05}.jpg', quality=90)


def edited_copies(photos, others, folder):
    "Name of an edit → files of the photos with that edit, saved again as JPEG; `others` are for collages"
    rng,name,copies = np.random.default_rng(0),count(),{}
    def collage(n): return lambda photo, rng: in_collage(photo, rng, [open_photo(o) for o in rng.choice(others, n)])
    edits = EDITS | {edit: collage(n) for edit,n in COLLAGES.items()}
    for edit,f in edits.items():
        copies[edit] = [folder/f'{next(name)}.jpg' for _ in photos]
        for photo,file in zip(photos, copies[edit]): f(open_photo(photo), rng).save(file, quality=int(rng.integers(60, 95)))
    return copies


def hash_bits(files, hash, n):
    "Bits of hashes as -1 and 1, a row a file; and the milliseconds per hash"
    photos,start = [open_photo(o) for o in files],time.perf_counter()
    bits = np.array([hash(o, n).hash.ravel() for o in photos], 'float32')
    return 2*bits - 1, 1000*(time.perf_counter() - start)/len(files)


def recall_of_hash(hash, n, distinct, copies, share):
    "Recall of a hash by edit, in per cent, with a limit that at most `share` of distinct pairs pass; and its milliseconds per photo"
    first,ms = hash_bits(distinct, hash, n)
    agree = np.sort((first@first.T)[np.triu_indices(len(first), 1)])
    limit = agree[-1 - int(share*len(agree))] # pairs that agree more than this are copies
    found = lambda files: (first[:len(files)]*hash_bits(files, hash, n)[0]).sum(1) > limit
    return {edit: 100*float(np.mean(found(files))) for edit,files in copies.items()}, ms


def recall_of_tellapart(distinct, copies, folder):
    "Recall by edit, in per cent, by hashes alone and with features; and the pairs of distinct photos that are candidates and confirmed"
    distance = lambda a, b: (int(a, 16) ^ int(b, 16)).bit_count()
    first,x,n = [phash(open_photo(o)) for o in distinct],file_features(distinct, folder),len(distinct)
    by_hash,with_features = {},{}
    for edit,files in copies.items():
        hashes = [phash(open_photo(o)) for o in files]
        by_hash[edit] = 100*float(np.mean([is_duplicate(distance(a, b), *o) for a,b,*o in zip(first, hashes, distinct, files)]))
        both = np.concatenate([x, file_features(files, folder)])
        pairs = similar_pairs([*first, *hashes], [*distinct, *files], both, lambda o: o[:, 1] == o[:, 0] + n)
        with_features[edit] = 100*len(pairs)/len(files)
    pairs,parts = candidate_pairs(first),part_candidates(first, x)
    confirmed = similar_pairs(first, distinct, x)
    counts = dict(candidates=len(pairs), confirmed=len(verify_pairs(pairs, distinct)), parts=len(parts), all=len(confirmed))
    print('confirmed:', *((distinct[a], distinct[b]) for a,b,*_ in confirmed.tolist()), sep='\n')
    return by_hash,with_features,counts


def measure(what, *args):
    "Print the numbers of one measurement"
    if what == 'pairs':
        hashes = [o.tobytes().hex() for o in np.random.default_rng(0).integers(0, 256, (int(args[0]), 32), 'uint8')]
        start = time.perf_counter()
        candidate_pairs(hashes)
        print(json.dumps(dict(pairs=time.perf_counter() - start)))
    if what == 'stages':
        photos = [open_photo(o) for o in args]
        phash(photos[0])
        start = time.perf_counter()
        hashes = [phash(o) for o in photos]
        hashed = time.perf_counter()
        verify_pairs(np.array([[a, a+1, 17] for a in range(len(photos)-1)]), args)
        verified = time.perf_counter()
        for a,b in zip(args, args[1:]): shared_part(a, b)
        found = dict(hash=hashed - start, verify=verified - hashed, part=time.perf_counter() - verified)
        print(json.dumps({k: 1000*o/(len(photos) - (k != 'hash')) for k,o in found.items()}))


def main(folder, n=1500, edited=150):
    "Make copies, search for them, and report"
    from _bench import in_process, report
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        if not folder: draw_photos(tmp, n)
        distinct = sorted(o for o in (folder or tmp).rglob('*') if o.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp'))
        for o in 'copies', 'series': (tmp/o).mkdir()
        distinct = [distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))] # so that all labels are edited
        copies = edited_copies(distinct[:edited], distinct[edited:], tmp/'copies')
        pairs = len(distinct)*(len(distinct) - 1)//2
        by_hash,ours,counts = recall_of_tellapart(distinct, copies, tmp)
        series = one_viewpoint(distinct[:edited], tmp/'series')
        hashes = {name: recall_of_hash(*o, distinct, copies, max(counts['confirmed'], 1)/pairs) for name,o in HASHES.items()}
        stages = in_process(__file__, 'stages', *distinct[:200])
    recall = {'tellapart': ours, 'by its hashes alone': by_hash} | {name: o for name,(o,_) in hashes.items()}
    rows = [(f'recall, all edits, {name}', np.mean([*o.values()]), '%') for name,o in recall.items()]
    rows += [(f'recall, {edit}, {name}', o[edit], '%') for edit in copies for name,o in recall.items()]
    rows += [('time per hash, tellapart', stages['hash'], 'ms')] + [(f'time per hash, {name}', ms, 'ms') for name,(_,ms) in hashes.items()]
    rows += [('photos taken to be distinct', len(distinct), ''), ('candidates by hashes among their pairs', counts['candidates'], 'pairs'),
             ('confirmed among these', counts['confirmed'], 'pairs'), ('candidates by features', counts['parts'], 'pairs'),
             ('confirmed in all', counts['all'], 'pairs')]
    rows += [(f'recall, resaved: {o}', series[o], '%') for o in RESAVED]
    rows += [(f'false copies, next photo: {o}', series[o], '%') for o in NEXT]
    rows += [('verifying a candidate by hashes', stages['verify'], 'ms'), ('verifying a candidate by features', stages['part'], 'ms')]
    rows += [('candidates among 20,000 photos', in_process(__file__, 'pairs', 20_000)['pairs'], 's')]
    many = in_process(__file__, 'pairs', 200_000)
    rows += [('candidates among 200,000 photos', many['pairs'], 's'), ('peak memory for these', many['peak'], 'MB')]
    report('duplicates', rows, {}, ['tellapart', 'imagehash', 'numpy', 'scipy', 'pillow'], columns=[[*recall]])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
