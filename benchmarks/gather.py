"Gathering: 300 large photos by tellapart, jmd_imagescraper, fastai and img2dataset; 20,000 small ones; and recall of planted faults"
import json, sys, time
from functools import wraps
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

LABELS = 'badminton', 'squash', 'tennis'
UNREADABLE = 'html', 'cut short', 'empty', 'tiny', 'broken off'


class Stopwatch:
    "Seconds spent in the functions that it wraps; nested calls count once"
    seconds,running = 0.,False
    def wrap(self, f):
        @wraps(f)
        def timed(*args, **kw):
            if self.running:
                return f(*args, **kw)
            self.running,start = True,time.perf_counter()
            try:
                return f(*args, **kw)
            finally: self.running,self.seconds = False,self.seconds + time.perf_counter() - start
        return timed


def recall(p):
    "Planted unreadable files and near duplicates, how many of them were found, and distinct photos quarantined as duplicates"
    from tellapart.demo.fault_recall import fault_recall
    from tellapart.demo.web import load_ground_truth, ground_truth_of
    from tellapart.catalog import Catalog
    planted = fault_recall(p)
    unreadable,near = planted.loc[list(UNREADABLE)].sum(),planted.loc['near duplicate']
    truth = load_ground_truth(p.ground_truth)
    with Catalog(p.folder) as catalog: df = catalog.frame('all').set_index('id')
    origin = df.url.map(lambda o: (t := ground_truth_of(truth, o)).of or t.id)
    wrong = sum(origin[id] != origin[of] for id,of in df.duplicate_of.dropna().items())
    return dict(unreadable=unreadable.offered, unreadable_found=unreadable.offered - unreadable.left,
                near=near.offered, near_found=near.offered - near.left, distinct=origin.nunique(), distinct_lost=wrong)


def tellapart(url, folder, each, *labels):
    "Gather and check with tellapart"
    file = Path(folder)/'tellapart.toml'
    terms = ''.join(f'{json.dumps(o)} = {json.dumps(o)}\n' for o in labels)
    file.write_text(f'name = "bench"\nsource = "demo"\nper_label = {each}\n[labels]\n{terms}[train]\nsize = 224\n')
    from tellapart.check.check import check
    from tellapart.gather.gather import gather
    from tellapart.catalog import Catalog
    from tellapart.project import read_project
    catalog = Stopwatch()
    for name,f in list(vars(Catalog).items()):
        # `stage` writes the photo itself, as any tool must, in other threads
        if callable(f) and name != 'stage': setattr(Catalog, name, catalog.wrap(f))
    start = time.perf_counter()
    p = read_project(file, demo_web=url)
    gather(p)
    check(p)
    return dict(working=time.perf_counter() - start, catalog=catalog.seconds, photos=len(list(p.photos.rglob('*.*'))))


def planted(url, folder, each, *labels):
    "Gather and check with tellapart, and count the planted faults that it finds"
    from tellapart.project import read_project
    return tellapart(url, folder, each, *labels) | {k: int(v) for k,v in recall(read_project(Path(folder)/'tellapart.toml')).items()}


def jmd_imagescraper(url, folder, each, *labels):
    "Search and download with jmd_imagescraper, in original sizes"
    from jmd_imagescraper.core import ImgLayout, ImgSize, ImgType, duckduckgo_search
    kinds = dict(img_size=ImgSize.Large, img_type=ImgType.All, img_layout=ImgLayout.All)
    for o in labels: duckduckgo_search(folder, o, o, max_results=int(each), **kinds)
    return {}


def fastai(url, folder, each, *labels):
    "Search with jmd_imagescraper, then download and verify as fastai's course does"
    from fastai.vision.utils import download_images, get_image_files, verify_images
    from jmd_imagescraper.core import ImgSize, duckduckgo_scrape_urls
    for o in labels: download_images(Path(folder)/o, urls=duckduckgo_scrape_urls(o, int(each), img_size=ImgSize.Large))
    verify_images(get_image_files(folder)).map(Path.unlink)
    return {}


def img2dataset(urls, folder, *_):
    "Download given URLs with img2dataset, in original sizes"
    from img2dataset import download
    download(urls, output_folder=folder, resize_mode='no', skip_reencode=True)
    return {}


def measure(what, *args):
    "Run one of these functions, and print its numbers"
    print("\n" + json.dumps(globals()[what](*args))) # below the tools' own output


def near_duplicates(web):
    "Hashes of the planted near duplicates"
    import httpx
    for o in web.truth.values():
        if 'near duplicate' not in o.faults: continue
        for _ in range(2): # a host may limit the rate of the first request
            response = httpx.get(web.address(o), follow_redirects=True, trust_env=False)
        yield sha256(response.content).digest()


def kept(folder, near):
    "Distinct usable photos without the near duplicates whose hashes are in `near`, and bad files, that a tool has kept"
    from fastai.vision.utils import get_image_files
    from tellapart.images import NotAPhoto, open_photo
    usable,bad,image_files = set(),0,set(get_image_files(folder))
    for o in folder.rglob('*.*'):
        if o.suffix in ('.json', '.txt', '.parquet'): continue # img2dataset writes these beside a photo
        try: open_photo(o)
        except NotAPhoto: bad += 1
        else: usable |= {sha256(o.read_bytes()).digest()} if o in image_files else set()
    return dict(usable=len(usable - near), bad=bad)


def in_turn(web, labels, each, tmp, times=3):
    "Gather `each` photos a label with each tool in turn; the medians by tool, and the version of img2dataset"
    import httpx
    sys.path.append(str(Path(__file__).resolve().parents[1]/'tests'))
    from _bench import in_process, median, separate_environment
    from proxy import Proxy
    python,version = separate_environment('img2dataset')
    offered = [[web.address(o) for o in web.truth.values() if o.offered == label] for label in labels]
    (tmp/'urls.txt').write_text('\n'.join(url for urls in offered for url in urls[:each]))
    near = set(near_duplicates(web))
    runs = {'tellapart': [], 'jmd_imagescraper': [], 'fastai': []} | ({'img2dataset': []} if python else {})
    with Proxy({'duckduckgo.com': web.host_addresses[0]}, tmp) as proxy:
        env = dict(HTTPS_PROXY=proxy.url, REQUESTS_CA_BUNDLE=str(proxy.ca), NO_PROXY='', no_proxy='')
        for i in range(times):
            for who in runs:
                httpx.get(f'{web.url}/forget', trust_env=False)
                (folder := tmp/f'{who}-{i}').mkdir()
                where,run_by = (tmp/'urls.txt', python) if who == 'img2dataset' else (web.url, sys.executable)
                one = in_process(__file__, who, where, folder, each, *labels, python=run_by, **env)
                runs[who].append(one | kept(folder/'data'/'bench'/'photos' if who == 'tellapart' else folder, near))
                print(f"{who}: {one['seconds']:.1f} s", flush=True)
    return {who: median(o) for who,o in runs.items()},version


def small_photos(folder, each):
    "Draw small, distinct photos quickly: blurred patches"
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
    "Gather small photos with tellapart, in a process of its own"
    from _bench import in_process
    from tellapart.demo.web import run_demo_web
    terms,without = {o: [o] for o in LABELS},['hanging', 'slow', 'rate limited']
    with run_demo_web(terms=terms, per_label=each, without=without, photos=photos) as web:
        (folder := tmp/f'small-{each}').mkdir()
        return in_process(__file__, 'tellapart', web.url, folder, each, *LABELS)


def main(photos):
    "Measure everything and report"
    from _bench import in_process, report
    from tellapart.demo.web import run_demo_web
    labels = sorted(o.name for o in photos.iterdir() if o.is_dir()) if photos else LABELS
    web = dict(terms={o: [o] for o in labels}, without=['hanging'], photos=photos)
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        with run_demo_web(**web, per_label=100, latency=(.05, .4), enlarge=2.2, prepared=True) as o:
            tools,version = in_turn(o, labels, 100, tmp)
        (folder := tmp/'planted').mkdir()
        with run_demo_web(**web, per_label=500) as o: p = in_process(__file__, 'planted', o.url, folder, 500, *labels)
        small = small_photos(tmp/'small', 9400)
        fewer,more = (many(o, small, tmp) for o in (1667, 6667))
    figures = dict(seconds=('wall time', 's'), usable=('usable photos', ''), bad=('bad files kept', ''), peak=('peak memory', 'MB'))
    rows = [(f'{what}, {who}', o[k], unit) for k,(what,unit) in figures.items() for who,o in tools.items()]
    rows += [('small photos per second', more['photos']/more['working'], ''),
             ("catalog's share of the time", 100*more['catalog']/more['working'], '%')]
    rows += [(f"peak memory for {o['photos']} small photos", o['peak'], 'MB') for o in (fewer, more)]
    rows += [(f'{what}, of {p[of]}', 100*p[n]/p[of], '%') for what,n,of in (
        ('unreadable files found', 'unreadable_found', 'unreadable'), ('near duplicates found', 'near_found', 'near'),
        ('distinct photos quarantined as duplicates', 'distinct_lost', 'distinct')) if p[of]]
    ratios = {f'wall time: {who} / tellapart': o['seconds']/tools['tellapart']['seconds'] for who,o in tools.items() if who != 'tellapart'}
    report('gather', rows, ratios, ['tellapart', 'jmd_imagescraper', 'fastai', 'httpx', 'pillow'],
           columns=[[*tools]], **({'img2dataset': version} if version else {}))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        main(arguments(__doc__).photos)
