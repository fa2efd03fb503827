"The web app beside the usual course app in Voilà and a Gradio interface, with the same model, in Chromium; and its API"
import io, json, os, socket, statistics, subprocess, sys, time
from contextlib import contextmanager
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

PEERS = 'course app', 'Gradio', 'tellapart'
TIMES,VISITORS = 5,5
VISITS = 200 # one after the other
CLIENTS,SECONDS = 16,30 # of the API
PATIENCE = 15_000 # milliseconds that a visitor waits for an answer
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-first-run']

# As courses write it: fastai in the kernel of each visitor
COURSE = '''
from fastai.vision.all import *
from ipywidgets import Button, FileUpload, Label, Output, VBox
learn = load_learner(EXPORT)
upload,button,shown,found = FileUpload(), Button(description='Classify'), Output(), Label()
def classify(_):
    im = PILImage.create(bytes(upload.value[-1].content))
    with shown:
        shown.clear_output()
        display(im.to_thumb(128))
    label,i,probs = learn.predict(im)
    found.value = f'Prediction: {label}; probability: {probs[i]:.4f}'
button.on_click(classify)
display(VBox([upload, button, shown, found]))
'''
GRADIO = '''
import sys, gradio
from tellapart.use.classifier import Classifier
classify = Classifier(sys.argv[1])
page = gradio.Interface(lambda im: dict(classify(im).ranked), gradio.Image(type='pil'), gradio.Label())
page.launch(server_port=int(sys.argv[2]))
'''


def commands(who, export, port, folder, gradio):
    "The command that starts a peer, and its environment"
    if who == 'course app':
        import nbformat
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(COURSE.replace('EXPORT', repr(str(export))))])
        nb.metadata.kernelspec = dict(name='python3', display_name='python3', language='python')
        nbformat.write(nb, folder/'course.ipynb')
        return [sys.executable, '-m', 'voila', folder/'course.ipynb', '--no-browser', f'--port={port}', '--Voila.port_retries=0'],{}
    if who == 'Gradio':
        (folder/'interface.py').write_text(GRADIO)
        return [gradio, folder/'interface.py', export, str(port)],dict(GRADIO_ANALYTICS_ENABLED='False')
    return [sys.executable, '-m', 'tellapart', 'serve', '--export', export, '--port', str(port), '--per-minute', '1000000'],{}


@contextmanager
def serving(who, export, folder, gradio):
    "A peer's address and process, while it runs"
    import psutil
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    command,env = commands(who, export, port, folder, gradio)
    root = Path(__file__).resolve().parents[1]
    server = subprocess.Popen(command, cwd=folder, env=os.environ | dict(PYTHONPATH=str(root)) | env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    ask = f'http://localhost:{port}/' + ('voila/static/voila.js' if who == 'course app' else '')
    try:
        for _ in range(600):
            try: urlopen(ask, timeout=60).close()
            except OSError: time.sleep(.2)
            else: break
        yield f'http://localhost:{port}/',psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(30)


READY = {'course app': '.widget-upload, .jupyter-button', 'Gradio': 'input[type=file]', 'tellapart': '.ta-upload input:enabled'}
CHOOSE = {'Gradio': 'input[type=file]', 'tellapart': '.ta-upload input'}
ANSWERED = {'course app': '.widget-label:has-text("probability")', 'Gradio': '.output-class', 'tellapart': '.ta-card h2'}


def classify(page, who, file):
    "Choose a photo; seconds until it is answered, NaN if it isn't"
    from playwright.sync_api import TimeoutError
    start = time.perf_counter()
    if who == 'course app':
        with page.expect_file_chooser() as chooser: page.click('.widget-upload')
        chooser.value.set_files(file)
        page.get_by_role('button', name='Classify').click()
    else: page.set_input_files(CHOOSE[who], file)
    if who == 'Gradio': page.get_by_role('button', name='Submit').click()
    try: page.wait_for_selector(ANSWERED[who], timeout=PATIENCE)
    except TimeoutError:
        return float('nan')
    return time.perf_counter() - start


def visit(context, who, url):
    "A page that can be used; seconds until then, seconds to the first paint, requests, bytes, and requests to others' hosts"
    page = context.new_page()
    seen = dict(requests=0, abroad=0, bytes=0)
    def count(request):
        if not request.url.startswith(('data:', 'blob:')):
            seen['requests'] += 1
            seen['abroad'] += 'localhost' not in request.url
    page.on('request', count)
    cdp = context.new_cdp_session(page)
    cdp.send('Network.enable')
    cdp.on('Network.loadingFinished', lambda o: seen.update(bytes=seen['bytes'] + o['encodedDataLength']))
    start = time.perf_counter()
    page.goto(url, wait_until='commit', timeout=120_000)
    page.wait_for_selector(READY[who], state='attached', timeout=120_000)
    ready = time.perf_counter() - start
    page.wait_for_timeout(500)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")/1000
    return page,ready,dict(paint=paint, requests=seen['requests'], abroad=seen['abroad'], page=seen['bytes']/1e6)


def photos(folder):
    "A photo of 1500 pixels, and one of a phone: 12 megapixels, 12 MB"
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    for name,size,noise in ('web', (1500, 1000), 6), ('phone', (4000, 3000), 45):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype='uint8')).resize(size, Image.Resampling.BICUBIC)
        grain = np.asarray(coarse) + rng.normal(0, noise, (size[1], size[0], 3))
        Image.fromarray(grain.clip(0, 255).astype('uint8')).save(folder/f'{name}.jpg', quality=92)
    return folder/'web.jpg', folder/'phone.jpg'


def visitors(browser, who, export, folder, gradio, files):
    "What visitors of a peer wait for, and what they cost"
    from _bench import _memory_of
    with serving(who, export, folder, gradio) as (url, process):
        time.sleep(5)
        runs = []
        for _ in range(TIMES):
            context = browser.new_context()
            page,cold,o = visit(context, who, url)
            times = dict(cold=cold, **o)
            times['photo'] = classify(page, who, files[0])
            page.close()
            page,times['warm'],_ = visit(context, who, url)
            times['phone'] = classify(page, who, files[1])
            context.close()
            runs.append(times)
    with serving(who, export, folder, gradio) as (url, process): # afresh, because some keep what visitors have left
        time.sleep(5)
        before = _memory_of(process)
        contexts = [browser.new_context() for _ in range(VISITORS)]
        for o in contexts: classify(visit(o, who, url)[0], who, files[0])
        time.sleep(3)
        five = _memory_of(process)
        for o in contexts: o.close()
        time.sleep(30)
        numbers = {k: statistics.median(o[k] for o in runs) for k in runs[0]}
        return numbers | dict(before=before, five=five, each=(five - before)/VISITORS, left=_memory_of(process) - before)


def many_visits(browser, export, folder, file):
    "MB that the server has grown by from the 20th visit to the last, and how many kernels are left"
    from _bench import _memory_of
    with serving('tellapart', export, folder, None) as (url, process):
        for i in range(VISITS):
            context = browser.new_context()
            classify(visit(context, 'tellapart', url)[0], 'tellapart', file)
            context.close()
            if i == 19: early = _memory_of(process)
        return dict(growth=_memory_of(process) - early, kernels=len(process.children(recursive=True)))


def api(export, folder, file):
    "The API with many clients at once: errors, photos a second, milliseconds for 99 of 100, and CPU time beside `Classifier.many`"
    import httpx, numpy as np, psutil
    from PIL import Image
    from tellapart.use.classifier import Classifier
    Image.open(file).resize((960, 640)).save(f := io.BytesIO(), 'JPEG', quality=92) # as the app sends photos
    data,found = f.getvalue(),[]
    own = psutil.Process()
    classify = Classifier(export)
    list(classify.many([data]*50))
    start = sum(own.cpu_times()[:2])
    list(classify.many([data]*1000))
    alone = (sum(own.cpu_times()[:2]) - start)/1000
    with serving('tellapart', export, folder, None) as (url, process):
        until = time.perf_counter() + SECONDS
        def client(_):
            with httpx.Client(timeout=60) as c:
                while time.perf_counter() < until:
                    begin = time.perf_counter()
                    status = c.post(f'{url}api/classify', files=dict(photo=data)).status_code
                    found.append((status, time.perf_counter() - begin))
        before = sum(process.cpu_times()[:2])
        with ThreadPoolExecutor(CLIENTS) as pool: list(pool.map(client, range(CLIENTS)))
        used = (sum(process.cpu_times()[:2]) - before)/len(found)
    return dict(errors=sum(o != 200 for o,_ in found), rate=len(found)/SECONDS, p99=1000*float(np.percentile([t for _,t in found], 99)),
                cpu=1000*used, alone=1000*alone)


def main(_):
    "Measure all, and report"
    from _bench import draw_photos, report, separate_environment
    from answer import project_export, tiny_export
    from playwright.sync_api import sync_playwright
    from tellapart.dev.install import chromium
    gradio,version = separate_environment('gradio', 'onnxruntime', 'pillow-heif')
    with TemporaryDirectory() as tmp, sync_playwright() as p:
        folder = Path(tmp)
        export = project_export() or tiny_export(draw_photos(folder/'photos'), folder/'export.pkl')
        files = photos(folder)
        browser = p.chromium.launch(executable_path=chromium(), args=FLAGS)
        peers = [o for o in PEERS if o != 'Gradio' or gradio]
        found = {}
        for who in peers:
            found[who] = visitors(browser, who, export, folder, gradio, files)
            print(who, json.dumps(found[who]), flush=True)
        long = many_visits(browser, export, folder, files[0])
        browser.close()
        calls = api(export, folder, files[0])
    what = dict(cold=('a visitor can choose a photo', 's'), warm=('the same, with a warm cache', 's'), paint=('first paint', 's'),
                photo=('a photo of 1500 pixels, until it is answered', 's'), phone=('a 12-megapixel photo of a phone', 's'),
                page=('page, first visit', 'MB'), requests=('requests', ''), abroad=('of them to other hosts', ''),
                before=('server, before the first visitor', 'MB'), each=('each further visitor', 'MB'),
                five=(f'server with {VISITORS} visitors', 'MB'), left=('30 s after all have left, more than before', 'MB'))
    rows = [(f'{name}, {who}', o[k], unit) for k,(name,unit) in what.items() for who,o in found.items() if o[k] == o[k]] # not NaN
    rows += [(f'{VISITS} visits: growth after the 20th', long['growth'], 'MB'), ('kernels after them', long['kernels'], ''),
             (f'API, {CLIENTS} clients for {SECONDS} s: errors', calls['errors'], ''), ('photos a second', calls['rate'], ''),
             ('99 of 100 are answered within', calls['p99'], 'ms'), ("CPU time a photo, the server's", calls['cpu'], 'ms'),
             ('CPU time a photo, `Classifier.many`', calls['alone'], 'ms')]
    ratios = {what[k][0]: found['course app'][k]/found['tellapart'][k] for k in ('cold', 'warm', 'photo', 'page', 'five')}
    report('app', rows, ratios, ['tellapart', 'voila', 'fastai', 'onnxruntime', 'playwright'], columns=[peers],
           **({'gradio': version} if version else {}))


if __name__ == '__main__':
    from _bench import arguments
    main(arguments(__doc__).photos)
