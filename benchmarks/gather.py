"Gathering: 300 large photos by tellapart, jmd_imagescraper, fastai and img2dataset; 20,000 small ones; and how much of what was planted is found"
import json, os, subprocess, sys, time
from functools import wraps
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

LABELS = 'badminton', 'squash', 'tennis'
UNREADABLE = 'html', 'cut short', 'empty', 'tiny', 'broken off'


class Stopwatch:
    "The seconds spent in the functions that it is put around; what they call in turn counts once"
    seconds,running = 0.,False
    def around(self, f):
        @wraps(f)
        def timed(*args, **kw):
            if self.running:
                return f(*args, **kw)
            self.running,start = True,time.perf_counter()
            try:
                return f(*args, **kw)
            finally: self.running,self.seconds = False,self.seconds + time.perf_counter() - start
        return timed


def found(p):
    "How much of what was planted gather and check found: unreadable files and near duplicates; and distinct photos taken for duplicates"
    from tellapart.demo.fault_recall import fault_recall
    from tellapart.demo.web import load_ground_truth, ground_truth_of
    from tellapart.catalog import Catalog
    planted = fault_recall(p)
    unreadable,near = planted.loc[list(UNREADABLE)].sum(),planted.loc['near duplicate']
    truth = load_ground_truth(p.ground_truth)
    with Catalog(p.folder) as catalog: df = catalog.frame('all').set_index('file')
    origin = df.url.map(lambda o: (t := ground_truth_of(truth, o)).of or t.id)
    dups = df[df.reason.fillna('').str.contains('duplicate of ')]
    wrong = sum(origin[file] != origin[of] for file,of in dups.reason.str.partition(' of ')[2].items())
    return dict(unreadable=unreadable.met, unreadable_found=unreadable.met - unreadable.left, near=near.met, near_found=near.met - near.left,
                distinct=origin.nunique(), distinct_lost=wrong)


def tellapart(url, folder, each, *labels):
    "Gather and check with tellapart"
    file = Path(folder)/'tellapart.toml'
    file.write_text(f'name = "bench"\nsource = "demo"\nper_label = {each}\n[labels]\n' + ''.join(f'{json.dumps(o)} = {json.dumps(o)}\n' for o in labels)
                    + '[train]\nsize = 224\n')
    from tellapart.check.check import check
    from tellapart.gather.gather import gather
    from tellapart.catalog import Catalog
    from tellapart.project import read_project
    catalog = Stopwatch()
    for name,f in list(vars(Catalog).items()):
        # `stage` writes the photo itself, as any tool must, and does so in other threads.
        if callable(f) and name != 'put': setattr(Catalog, name, catalog.around(f))
    start = time.perf_counter()
    p = read_project(file, demo_web=url)
    gather(p)
    check(p)
    return dict(working=time.perf_counter() - start, catalog=catalog.seconds, photos=len(list(p.photos.rglob('*.*'))))


def planted(url, folder, each, *labels):
    "What tellapart finds of what was planted"
    from tellapart.project import read_project
    return tellapart(url, folder, each, *labels) | {k: int(v) for k,v in found(read_project(Path(folder)/'tellapart.toml')).items()}


def jmd_imagescraper(url, folder, each, *labels):
    "Search and download as jmd_imagescraper does, the photos as their hosts have them"
    from jmd_imagescraper.core import ImgLayout, ImgSize, ImgType, duckduckgo_search
    for o in labels: duckduckgo_search(folder, o, o, max_results=int(each), img_size=ImgSize.Large, img_type=ImgType.All, img_layout=ImgLayout.All)
    return {}


def fastai(url, folder, each, *labels):
    "Search as jmd_imagescraper does, then download and verify as fastai's course does"
    from fastai.vision.utils import download_images, get_image_files, verify_images
    from jmd_imagescraper.core import ImgSize, duckduckgo_scrape_urls
    for o in labels: download_images(Path(folder)/o, urls=duckduckgo_scrape_urls(o, int(each), img_size=ImgSize.Large))
    verify_images(get_image_files(folder)).map(Path.unlink)
    return {}


def img2dataset(urls, folder, *_):
    "Download as img2dataset does, in sizes as they are, given the addresses"
    from img2dataset import download
    download(urls, output_folder=folder, resize_mode='no', skip_reencode=True)
    return {}


def measure(what, *args):
    "Do one of these, and print its numbers"
    print("\n" + json.dumps(globals()[what](*args))) # Below what the tools say


def of_its_own(name):
    "The Python of an environment with `name` alone, which doesn't go with our packages, and its version; `None` twice if it can't be had"
    env = Path(__file__).resolve().parents[1]/'build'/name
    python = env/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    ask = [python, '-c', f'import {name}; from importlib.metadata import version; print(version({name!r}))']
    if not python.exists(): subprocess.run([sys.executable, '-m', 'venv', env])
    try:
        if subprocess.run(ask, capture_output=True).returncode: subprocess.run([python, '-m', 'pip', 'install', '--quiet', name])
        return python,subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        print(f"{name} can't be installed, and is left out.")
        return None,None


def copies(web):
    "The hashes of the near duplicates that are planted"
    import httpx
    for o in web.truth.values():
        if 'near duplicate' not in o.faults: continue
        for _ in range(2): # The first time the host may say that it is too much
            answer = httpx.get(web.address(o), follow_redirects=True, trust_env=False)
        yield sha256(answer.content).digest()


def kept(folder, near):
    "What a tool has kept: usable photos, once each and less those in `near`, hashes of near duplicates; and bad files"
    from fastai.vision.utils import get_image_files
    from tellapart.images import NotAPhoto, open_photo
    usable,bad,seen = set(),0,set(get_image_files(folder))
    for o in folder.rglob('*.*'):
        if o.suffix in ('.json', '.txt', '.parquet'): continue # What img2dataset writes beside a photo
        try: open_photo(o)
        except NotAPhoto: bad += 1
        else: usable |= {sha256(o.read_bytes()).digest()} if o in seen else set()
    return dict(usable=len(usable - near), bad=bad)


def in_turn(web, labels, each, tmp, times=3):
    "Gather `each` photos a label by each of the tools in turn; the medians by tool, and the version of img2dataset"
    import httpx
    sys.path.append(str(Path(__file__).resolve().parents[1]/'tests'))
    from _bench import apart, median
    from proxy import Proxy
    python,version = of_its_own('img2dataset')
    offered = [[web.address(o) for o in web.truth.values() if o.offered == label] for label in labels]
    (tmp/'urls.txt').write_text('\n'.join(url for urls in offered for url in urls[:each]))
    near = set(copies(web))
    runs = {'tellapart': [], 'jmd_imagescraper': [], 'fastai': []} | ({'img2dataset': []} if python else {})
    with Proxy({'duckduckgo.com': web.places[0]}, tmp) as proxy:
        env = dict(HTTPS_PROXY=proxy.url, REQUESTS_CA_BUNDLE=str(proxy.ca), NO_PROXY='', no_proxy='')
        for i in range(times):
            for who in runs:
                httpx.get(f'{web.url}/forget', trust_env=False)
                (folder := tmp/f'{who}-{i}').mkdir()
                where = tmp/'urls.txt' if who == 'img2dataset' else web.url
                one = apart(__file__, who, where, folder, each, *labels, python=python if who == 'img2dataset' else sys.executable, **env)
                runs[who].append(one | kept(folder/'data'/'bench'/'photos' if who == 'tellapart' else folder, near))
                print(f"{who}: {one['seconds']:.1f} s", flush=True)
    return {who: median(o) for who,o in runs.items()},version


def small_photos(folder, each):
    "Draw small photos that are quick to make and unlike each other: blurred patches"
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    for label in LABELS:
        (folder/label).mkdir(parents=True)
        for i in range(each):
            patches = Image.fromarray(rng.integers(0, 256, (18, 24, 3), dtype='uint8'))
            patches.resize((160, 120), Image.Resampling.BICUBIC).save(folder/label/f'{i}.jpg')
    return folder


def many(each, photos, tmp):
    "Gather small photos with tellapart"
    from _bench import apart
    from tellapart.demo.web import demo_apart
    with demo_apart(terms={o: [o] for o in LABELS}, per_label=each, without=['hanging', 'slow', 'rate limited'], photos=photos) as web:
        (folder := tmp/f'small-{each}').mkdir()
        return apart(__file__, 'tellapart', web.url, folder, each, *LABELS)


def main(photos):
    "Measure everything and report"
    from _bench import apart, report
    from tellapart.demo.web import demo_apart
    labels = sorted(o.name for o in photos.iterdir() if o.is_dir()) if photos else LABELS
    web = dict(terms={o: [o] for o in labels}, without=['hanging'], photos=photos)
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        with demo_apart(**web, per_label=100, latency=(.05, .4), enlarge=2.2, prepared=True) as o: tools,version = in_turn(o, labels, 100, tmp)
        (folder := tmp/'planted').mkdir()
        with demo_apart(**web, per_label=500) as o: p = apart(__file__, 'planted', o.url, folder, 500, *labels)
        small = small_photos(tmp/'small', 9400)
        fewer,more = (many(o, small, tmp) for o in (1667, 6667))
    kinds = dict(seconds=('wall time', 's'), usable=('usable photos', ''), bad=('bad files kept', ''), peak=('most memory held', 'MB'))
    rows = [(f'{what}, {who}', o[k], unit) for k,(what,unit) in kinds.items() for who,o in tools.items()]
    rows += [('small photos a second', more['photos']/more['working'], ''), ("the catalog's share of the time", 100*more['catalog']/more['working'], '%')]
    rows += [(f"most memory held, {o['photos']} small photos", o['peak'], 'MB') for o in (fewer, more)]
    rows += [(f'{what}, of {p[of]}', 100*p[n]/p[of], '%') for what,n,of in (
        ('unreadable files found', 'unreadable_found', 'unreadable'), ('near duplicates found', 'near_found', 'near'),
        ('distinct photos taken for duplicates', 'distinct_lost', 'distinct')) if p[of]]
    report('gather', rows, {f'wall time, {who}': o['seconds']/tools['tellapart']['seconds'] for who,o in tools.items() if who != 'tellapart'},
           ['tellapart', 'jmd_imagescraper', 'fastai', 'httpx', 'pillow'], **({'img2dataset': version} if version else {}))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
