"The static page in Chromium: first answer, bytes, milliseconds a photo beside Python's, and a folder of 1,000 photos"
import gzip, statistics, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory

TIMES = 5
PHOTOS = 30 # that one after another are classified for the time of one
FOLDER = 1000
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-first-run']
READY = 'html[data-ready]'
# A worker of the page's own, with as many threads as are asked for
OPEN = '''async threads => {
    const { meta, files, runtime, limits } = JSON.parse(document.getElementById('model').textContent);
    const url = o => new URL(o, location).href, worker = new Worker('worker.js', { type: 'module' }), waiting = [];
    worker.onmessage = ({ data }) => waiting.shift()(data);
    window.askWorker = (what, given) => new Promise(resolve => {
        waiting.push(resolve);
        worker.postMessage({ id: 0, what, ...given }); });
    const at = Object.fromEntries(files.map(o => [o, url(o)]));
    await askWorker('open', { meta, limits, threads, files: at, ort: { module: url(runtime[0]), wasm: url(runtime[1]) } }); }'''
EACH = '''async ([photo, n]) => {
    const blob = new Blob([Uint8Array.from(atob(photo), o => o.charCodeAt(0))]), times = [];
    for (let i = 0; i < n; i++) {
        const start = performance.now();
        await askWorker('classify', { source: blob });
        times.push(performance.now() - start); }
    return times; }'''


def exports(photos, folder):
    "First models of EfficientNet-Lite0, in 8 bits and in 32"
    from first import make_project, split_photos
    from tellapart.export.export import export
    from tellapart.train.first_model import first_model
    train,test = split_photos(photos, 0, 60, 0)
    learn = first_model(make_project(train, folder)).learn
    return {bits: export(learn, folder/f'{bits}.pkl', int8=bits == 8) for bits in (8, 32)},[Path(o) for o,_ in test]


def first_answers(browser, url, photo):
    "Seconds from asking for the page to an answer: with nothing kept, and from what the page keeps on the device"
    cold,warm = [],[]
    for _ in range(TIMES):
        context = browser.new_context()
        for times in cold,warm:
            page = context.new_page()
            start = time.perf_counter()
            page.goto(url, wait_until='commit')
            page.set_input_files('.ta-upload input', photo)
            page.wait_for_selector('.ta-card h2')
            times.append(time.perf_counter() - start)
            page.wait_for_selector(READY, state='attached')
            page.evaluate('navigator.serviceWorker.ready.then(() => 0)')
            page.wait_for_timeout(1000)
            page.close()
        context.close()
    return statistics.median(cold),statistics.median(warm)


def in_browser(browser, url, photo):
    "Milliseconds a photo on one thread and on two"
    import base64
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector(READY, state='attached')
    page.evaluate('navigator.serviceWorker.ready.then(() => 0)')
    page.wait_for_timeout(1000)
    page.goto(url) # isolated now, so that it may use threads
    page.wait_for_selector(READY, state='attached')
    found = {}
    for threads in 1,2:
        page.evaluate(OPEN, threads)
        found[threads] = statistics.median(page.evaluate(EACH, [base64.b64encode(photo.read_bytes()).decode(), PHOTOS]))
    context.close()
    return found


def in_python(export, int8, photo):
    "The same for `Classifier`"
    from tellapart.use.classifier import Classifier
    found,data = {},photo.read_bytes()
    for threads in 1,2:
        classify,times = Classifier(export, int8, threads),[]
        for _ in range(PHOTOS):
            start = time.perf_counter()
            classify(data)
            times.append(1000*(time.perf_counter() - start))
        found[threads] = statistics.median(times)
    return found


def sort_folder(browser, url, folder):
    "Seconds for a folder, and MB that the browser grew by"
    import psutil
    from _bench import _memory_of
    own = psutil.Process()
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector(READY, state='attached')
    page.click('[data-tab=sort]')
    before,start = _memory_of(own),time.perf_counter()
    page.set_input_files('#sort input[type=file]', folder)
    page.wait_for_selector('#sort .ta-status:has-text("are classified")', timeout=600_000)
    seconds = time.perf_counter() - start
    grown = _memory_of(own) - before
    page.close()
    return seconds,grown


def main(photos):
    "Measure all, and report"
    import shutil
    from _bench import draw_rackets, report
    from playwright.sync_api import sync_playwright
    from tellapart.dev.install import chromium
    from tellapart.share import share
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tests'))
    from share_site import static_server
    with TemporaryDirectory() as tmp, sync_playwright() as p:
        folder = Path(tmp)
        models,test = exports(photos or draw_rackets(folder/'drawn', 100, (640, 480)), folder)
        (many := folder/'many').mkdir()
        for i in range(FOLDER): shutil.copy(test[i % len(test)], many/f'{i}{test[i % len(test)].suffix}')
        browser = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        rows,ratios = [],{}
        for bits,export in models.items():
            shared = share('page', folder/f'page-{bits}', export)
            with static_server(folder/f'page-{bits}') as url:
                if bits == 8:
                    cold,warm = first_answers(browser, url, test[0])
                    seconds,grown = sort_folder(browser, url, many)
                browsers = in_browser(browser, url, test[0])
            python = in_python(export, bits == 8, test[0])
            for threads in 1,2:
                what = f'a photo in {bits} bits, {"one thread" if threads == 1 else "two threads"}'
                rows += [(f'{what}, page', browsers[threads], 'ms'), (f'{what}, Python', python[threads], 'ms')]
                ratios[what] = python[threads]/browsers[threads]
            if bits == 8:
                zipped = sum(len(gzip.compress(o, 6)) for o in shared.files.values())/1e6
                largest = max(map(len, shared.files.values()))/1e6
        one = len(share('page', folder/'one', models[8], one_file=True).files['app.html'])/1e6
        browser.close()
    rows += [('first answer, nothing kept', cold, 's'), ('first answer, from the second visit on', warm, 's'),
             ('all files, gzipped', zipped, 'MB'), ('the largest file', largest, 'MB'), ('everything in one file', one, 'MB'),
             (f'a folder of {FOLDER:,} photos', seconds, 's'), ('memory that it takes', grown, 'MB')]
    report('page', rows, ratios, ['tellapart', 'onnxruntime', 'playwright'], columns=[('page', 'Python')])


if __name__ == '__main__':
    from _bench import arguments
    main(arguments(__doc__).photos)
