"The static page in a real browser: it answers as Python does, sorts folders, learns, works offline, and asks nobody"
import base64, csv, io, json, zipfile
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from exports import change_meta, draw_photos, rewrite
from tellapart.dev.install import chromium
from tellapart.share import share
from tellapart.use.classifier import Classifier, preprocess, read_meta
from tellapart.use.rounding import round_weights
from share_site import static_server
from webapp import ask

pytestmark = pytest.mark.training
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-first-run', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
READY = 'html[data-ready]' # the model is open
CONTROLLED = '''new Promise(done => navigator.serviceWorker.controller ? done()
    : navigator.serviceWorker.addEventListener('controllerchange', () => done()))''' # by the service worker, as from the second visit on


def open_page(context, url):
    "The page, when it can answer, and the hosts that it has asked"
    page,hosts = context.new_page(),set()
    page.on('request', lambda o: hosts.add(o.url.partition('//')[2].partition('/')[0]))
    page.goto(url)
    page.wait_for_selector(READY, state='attached', timeout=60_000)
    return page,hosts


@pytest.fixture
def context(browser):
    "A visitor's browser, with nothing kept from others"
    context = browser.new_context(viewport=dict(width=1000, height=900))
    yield context
    context.close()


def png(pixels):
    Image.fromarray(pixels).save(f := io.BytesIO(), 'PNG')
    return f.getvalue()


STEPS = [
    [dict(step='resize', size=[24, 24], method='squish', pad=None, resample=3)],
    [dict(step='resize', size=[30, 20], method='crop', pad=None, resample=2)],
    [dict(step='resize', size=[24, 24], method='pad', pad='reflect', resample=1)],
    [dict(step='resize', size=[24, 24], method='pad', pad='edge', resample=5)],
    [dict(step='resize', size=[24, 18], method='pad', pad='constant', resample=4)],
    [dict(step='resize', size=[24, 24], method='pad', pad=[255, 255, 250], resample=0)],
    [dict(step='resize', size=[32, 32], method='squish', pad=None, resample=2), dict(step='center_crop', size=[24, 24], pad='constant')],
    [dict(step='center_crop', size=[90, 90], pad='reflect'), dict(step='interpolate', size=[24, 24], pool=None)],
    [dict(step='resize', size=[64, 64], method='squish', pad=None, resample=2), dict(step='interpolate', size=[24, 20], pool=[32, 30])],
]


def test_preprocessing_is_pythons(context, site):
    "Crops, padding, filters and rounding, pixel by pixel, of photos of many shapes, in colour and grey"
    page,rng = open_page(context, site)[0],np.random.default_rng(0)
    run = '''async ([data, width, height, meta]) => {
        const { preprocess } = await import('./preprocess.js'), bytes = Uint8ClampedArray.from(atob(data), o => o.charCodeAt(0));
        return [...preprocess({ data: bytes, width, height, bands: 3 }, meta)]; }'''
    for i in range(54):
        h,w = rng.integers(20, 110, 2)
        pixels,mode = rng.integers(0, 256, (h, w, 3), dtype='uint8'),'L' if i % 5 == 4 else 'RGB'
        meta = dict(mode=mode, preprocess=STEPS[i % len(STEPS)], mean=[.5]*(1 if mode == 'L' else 3), std=[.25]*(1 if mode == 'L' else 3))
        found = page.evaluate(run, [base64.b64encode(pixels.tobytes()).decode(), int(w), int(h), meta])
        expected = preprocess(Image.fromarray(pixels), meta)
        off = np.abs(np.array(found, 'float32').reshape(expected.shape) - expected).max()
        assert off < (1e-4 if 'pool' in meta['preprocess'][-1] else 1e-5), (off, meta) # one level of a pixel is .016


@pytest.mark.parametrize('dtype', ['int8', 'float16', 'float32'])
def test_predictions_are_pythons(context, small_export, photos, runtime, dtype, tmp_path):
    """The same label for every photo, and probabilities within 1e-3 where the pixels and the rounded weights are the same; a browser
    decodes JPEG in its own way"""
    export = rewrite(small_export, tmp_path/'export.pkl', change_meta(page_weights=dtype))
    share('page', tmp_path/'page', export)
    with static_server(tmp_path/'page') as url: compare(open_page(context, url)[0], Classifier(rounded(export, dtype)), photos)


def rounded(export, dtype):
    "An export whose own weights are those of its page"
    shapes = {f'/{record}': shape for record,_,shape in read_meta(export)['weights'].values()}
    def change(name, content):
        shape = next((o for k,o in shapes.items() if name.endswith(k)), None)
        return content if shape is None else round_weights(np.frombuffer(content, 'float32').reshape(shape), dtype).tobytes()
    return rewrite(export, export.with_name('rounded.pkl'), change)


def test_weights_in_8_bits_are_chosen(small_export): assert read_meta(small_export)['page_weights'] == 'int8'


def compare(page, classify, photos):
    files = sorted(photos.glob('*/*'))[::2]
    shown = ask(page, files)
    for file,card in zip(files, shown, strict=True):
        prediction = classify(file)
        assert card[0] == file.name and (card[1].startswith(prediction.label) if prediction.confident else card[1] != 'Not classified')
    page.evaluate('''async () => {
        const { meta, files, runtime, limits } = JSON.parse(document.getElementById('model').textContent);
        const url = o => new URL(o, location).href;
        const worker = new Worker('worker.js', { type: 'module' }), waiting = [];
        worker.onmessage = ({ data }) => waiting.shift()(data);
        window.askWorker = (what, given) => new Promise(resolve => {
            waiting.push(resolve);
            worker.postMessage({ id: 0, what, ...given }); });
        const ort = { module: url(runtime[0]), wasm: url(runtime[1]) };
        const at = Object.fromEntries(files.map(o => [o, url(o)]));
        await askWorker('open', { meta, limits, threads: 1, ort, files: at }); }''')
    run = '''async data => {
        const photo = new Blob([Uint8Array.from(atob(data), o => o.charCodeAt(0))]);
        return (await askWorker('classify', { source: photo })).found; }'''
    rng = np.random.default_rng(0) # for noise, whose probabilities are of all kinds
    noise = [rng.integers(0, 256, (*rng.integers(64, 120, 2), 3), dtype='uint8') for _ in range(20)]
    for pixels in [np.asarray(Image.open(o).convert('RGB')) for o in files] + noise:
        found,expected = page.evaluate(run, base64.b64encode(png(pixels)).decode()),classify(pixels)
        assert found['label'] == expected.label and found['confident'] == expected.confident and found['either'] == expected.either
        assert np.abs(np.array([p for _,p in sorted(found['ranked'])]) - [p for _,p in sorted(expected.ranked)]).max() < 1e-3
        assert found['labels'] == list(expected.labels) and bool(found['reason']) == bool(expected.reason)
    jpegs = [o for o in photos.glob('*/*') if o.suffix == '.jpg']
    same = [page.evaluate(run, base64.b64encode(o.read_bytes()).decode())['label'] == classify(o).label for o in jpegs]
    assert len(same) > 25 and np.mean(same) >= .995


def test_offline_and_alone(browser, page_folder, photos):
    "No other host is asked; from the second visit on it needs no network at all, and may use several threads"
    context = browser.new_context()
    with static_server(page_folder) as url:
        page,hosts = open_page(context, url)
        assert page.evaluate('crossOriginIsolated') is False
        page.evaluate(CONTROLLED)
        page.close()
        page,more = open_page(context, url)
        assert page.evaluate('crossOriginIsolated') is True
        page.close()
        assert hosts | more == {url.partition('//')[2].strip('/')}
    page,_ = open_page(context, url) # whose server has gone
    assert ask(page, [next(photos.glob('tennis/*'))])[0][1] != 'Not classified'
    context.close()


def test_what_it_looks_at_and_samples(context, site):
    page = open_page(context, site)[0]
    page.click('.ta-samples button')
    page.click('.ta-explain')
    page.wait_for_selector('.ta-explain[aria-pressed=true]')
    assert page.get_attribute('.ta-card > img', 'src').startswith('blob:') and 'one thread' in page.locator('.tp-threads').text_content()


def folder_of_photos(folder, n=100):
    "Photos of stripes in a tree, with some that are none"
    for label in 'badminton', 'squash', 'tennis':
        draw_photos(folder/'trips'/label, n)
        for file in (folder/'trips'/label).iterdir(): Image.open(file).resize((80, 60)).save(file)
    (folder/'broken.jpg').write_bytes(b'\xff\xd8\xff nothing')
    (folder/'notes.txt').write_text('no photo')
    return folder


def sort_folder(page, folder, done='are classified'):
    page.click('[data-tab=sort]')
    page.set_input_files('#sort input[type=file]', folder)
    page.wait_for_selector(f'#sort .ta-status:has-text("{done}")', timeout=120_000)


def saved_zip(page, to):
    with page.expect_download() as download: page.click('.tp-zip')
    download.value.save_as(to)
    return zipfile.ZipFile(to)


@pytest.fixture(scope='module')
def heap(tmp_path_factory): return folder_of_photos(tmp_path_factory.mktemp('heap')/'heap')


def test_a_folder_is_sorted_and_reviewed(context, site, small_export, heap, tmp_path):
    "300 photos and what is none; a correction by keys; the zip and its table are what `tellapart review` takes"
    page = open_page(context, site)[0]
    sort_folder(page, heap)
    assert "1 that can't be opened" in page.inner_text('#sort .ta-status')
    tile = page.locator('.tp-group:has(h2:has-text("tennis")) .tp-tile').first
    moved = tile.get_attribute('title').partition(':')[0]
    tile.click()
    page.keyboard.press('1')
    assert page.inner_text('#sort .ta-status') == '1 moved to badminton.'
    page.select_option('.tp-layout', 'label/tree')
    z = saved_zip(page, tmp_path/'sorted.zip')
    assert z.testzip() is None and len(z.namelist()) == 301
    rows = list(csv.DictReader(io.StringIO(z.read('sorted.csv').decode('utf-8-sig'))))
    predictions = dict(zip([o['path'] for o in rows], Classifier(small_export).many([heap.parent/o['path'] for o in rows])))
    for row in rows:
        o = predictions[row['path']]
        assert row['label'] == (o.label or '') and (o.label is None or row['confident'] == ('yes' if o.confident else 'no'))
    z.extractall(tmp_path/'home')
    from tellapart.clean.review import find_corrections
    corrected,others,unknown = find_corrections(str(tmp_path/'home/sorted.csv'), ['badminton', 'squash', 'tennis'])
    (row,to,label), = corrected
    assert (row.path, label) == (moved, 'badminton') and to.startswith('badminton/trips/tennis/') and not unknown
    assert others.total() == 299


def test_photos_are_saved_into_a_folder(context, site, heap):
    "Where the browser can write into a folder, into a new one in it, so that nothing is replaced; the test's is the page's own storage"
    page = open_page(context, site)[0]
    page.evaluate('window.showDirectoryPicker = () => navigator.storage.getDirectory()')
    sort_folder(page, heap)
    for expected in 'heap sorted','heap sorted 2':
        page.evaluate("document.querySelector('.tp-folder').hidden = false")
        page.click('.tp-folder')
        page.wait_for_selector(f'#sort .ta-status:has-text("300 photos and sorted.csv are in /{expected}.")', timeout=60_000)
    names = page.evaluate("""async () => {
        const names = [], walk = async (folder, path) => {
            for await (const [name, o] of folder) o.kind === 'file' ? names.push(path + name) : await walk(o, `${path}${name}/`); };
        await walk(await navigator.storage.getDirectory(), '');
        return names; }""")
    assert len(names) == 602 and {'heap sorted/sorted.csv', 'heap sorted 2/sorted.csv'} <= {*names}


def test_a_sort_goes_on_where_it_stopped(context, site, heap):
    "A tab that was closed half-way: the same folder again, and what was done is there"
    page = open_page(context, site)[0]
    page.click('[data-tab=sort]')
    page.set_input_files('#sort input[type=file]', heap)
    page.wait_for_selector('#sort .ta-status:has-text("photos a second")')
    page.click('.tp-stop')
    page.wait_for_selector('#sort .ta-status:has-text("Stopped at")')
    done = int(page.inner_text('#sort .ta-status').split()[2].replace(',', ''))
    page.close()
    page = open_page(context, site)[0]
    if done < 301:
        page.click('[data-tab=sort]')
        page.evaluate("""() => {
            const status = document.querySelector('#sort .ta-status');
            window.said = [];
            new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true }); }""")
    sort_folder(page, heap)
    assert done == 301 or any(f'{done} of 301 photos were classified before' in o for o in page.evaluate('said'))
    assert '301 photos are classified' in page.inner_text('#sort .ta-status')


def reviewed(saved, folder, label):
    "`tellapart review` takes what a page has saved into a project that has the label"
    from tellapart.catalog import Catalog
    from tellapart.clean.review import review
    from tellapart.project import Project
    p = Project(name='more', labels={o: o for o in ('badminton', label)})
    p._file = folder/'tellapart.toml'
    review(saved, p)
    with Catalog(p.folder) as catalog: df = catalog.frame('all')
    assert len(df) and {*df.label} == {label} and {*df.origin} == {'feedback'} and df.url.str.startswith('page:').all()


def teach(page, label, photos):
    page.click('[data-tab=learn]')
    page.fill('.tp-name', label)
    page.set_input_files('#learn input[type=file]', photos)
    page.wait_for_selector(f'#learn .ta-status:has-text("Learned {label}")', timeout=60_000)


def test_it_learns_on_the_device(context, site, photos, tmp_path):
    "A new label from eight photos is known at once, also after a reload; what it learned from can be taken home, and forgotten"
    page = open_page(context, site)[0]
    rng = np.random.default_rng(0)
    for i in range(10): # blots, unlike any stripes
        Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype='uint8')).resize((90, 90)).save(tmp_path/f'blots {i}.png')
    blots = sorted(tmp_path.glob('blots*'))
    tennis = sorted(photos.glob('tennis/*'))[:3]
    before = ask(page, [blots[9], *tennis])
    assert all(not card[1].startswith('blots') for card in before)
    teach(page, 'blots', blots[:8])
    assert page.is_visible('.tp-changed') and page.inner_text('.tp-learned') == 'blots: 8'
    with page.expect_download() as download: page.click('.tp-save')
    download.value.save_as(tmp_path/'examples.zip')
    assert zipfile.ZipFile(tmp_path/'examples.zip').namelist() == [*(f'blots/example {i}.jpg' for i in range(1, 9)), 'sorted.csv']
    reviewed(tmp_path/'examples.zip', tmp_path, 'blots')
    page.reload()
    page.wait_for_selector(READY, state='attached')
    after = ask(page, [blots[8], *tennis])
    assert 'blots' in ' '.join(after[0][1:3]) and all(card[-6] == 'tennis' for card in after[1:])
    assert page.locator('.ta-card select >> nth=0').locator('option').all_inner_texts()[-2:] == ['no, blots', 'none of these']
    page.locator('.ta-card select').first.select_option('tennis')
    page.wait_for_selector('.ta-why:has-text("Learned: this is tennis")')
    page.click('[data-tab=learn]')
    page.click('.tp-forget')
    page.wait_for_selector('#learn .ta-status:has-text("as it came")')
    page.click('[data-tab=classify]')
    assert not page.is_visible('.tp-changed') and [o[1:] for o in ask(page, tennis)[:3]] == [o[1:] for o in before[1:]]


def test_a_shared_photo_is_answered(context, site, photos):
    "What a phone's share menu sends arrives in the page"
    page = open_page(context, site)[0]
    page.evaluate(CONTROLLED)
    data = base64.b64encode(next(photos.glob('squash/*.jpg')).read_bytes()).decode()
    page.evaluate('''data => {
        const form = Object.assign(document.createElement('form'), { method: 'post', action: 'share', enctype: 'multipart/form-data' });
        const input = Object.assign(document.createElement('input'), { type: 'file', name: 'photos' }), all = new DataTransfer();
        all.items.add(new File([Uint8Array.from(atob(data), o => o.charCodeAt(0))], 'a.jpg', { type: 'image/jpeg' }));
        input.files = all.files;
        form.append(input);
        document.body.append(form);
        window.shareForm = form; }''', data)
    found = page.evaluate("(async () => (await fetch('share', { method: 'post', body: new FormData(shareForm) })).url)()")
    assert found.endswith('?shared')
    page.goto(found)
    page.wait_for_selector('.ta-card h2')
    manifest = json.loads(page.evaluate("(async () => (await fetch('manifest.webmanifest')).text())()"))
    assert manifest['share_target']['action'] == 'share' and manifest['share_target']['params']['files'][0]['name'] == 'photos'


def test_a_live_camera_is_steady_and_teaches(browser, site):
    "A camera's picture is answered, and ten pictures of it make a label"
    with browser.browser_type.launch(executable_path=chromium(), args=FLAGS) as with_camera:
        page,_ = open_page(with_camera.new_context(), site)
        page.click('[data-tab=camera]')
        page.click('.tp-start')
        page.wait_for_selector('.tp-live:not(:empty)')
        page.click('[data-tab=learn]')
        page.fill('.tp-name', 'screen')
        page.click('.tp-ten')
        page.wait_for_selector('#learn .ta-status:has-text("Learned screen from 10 photos")', timeout=60_000)
        page.click('[data-tab=camera]')
        page.click('.tp-start')
        page.wait_for_selector('.tp-live:has-text("screen")')


def test_one_file_from_a_disk(browser, runtime, small_export, photos, heap, tmp_path):
    "Opened by a double click it classifies and sorts, without a server and without a network"
    share('page', tmp_path/'stick', small_export, one_file=True)
    context = browser.new_context(offline=True)
    page,hosts = open_page(context, (tmp_path/'stick/app.html').as_uri())
    assert ask(page, [next(photos.glob('tennis/*'))])[0][-6] == 'tennis'
    sort_folder(page, heap)
    assert len(saved_zip(page, tmp_path/'sorted.zip').namelist()) == 301
    assert not hosts - {''} and (tmp_path/'stick/app.html').stat().st_size < 12e6
    context.close()


@pytest.mark.parametrize('width,colours', [(1000, 'light'), (390, 'dark')])
def test_everybody_can_use_it(browser, site, photos, width, colours):
    "axe-core finds nothing in any part of the page, and nothing is wider than a phone"
    context = browser.new_context(viewport=dict(width=width, height=800), color_scheme=colours, bypass_csp=True)
    page,_ = open_page(context, site)
    ask(page, sorted(photos.glob('*/*'))[:2])
    for tab in 'classify', 'camera', 'sort', 'learn':
        page.click(f'[data-tab={tab}]')
        assert page.locator('h1:visible').count() == 1
        found = Axe().run(page, options=dict(resultTypes=['violations']))
        assert not found.response['violations'], found.generate_report()
        assert page.evaluate('document.documentElement.scrollWidth') <= width
    page.focus('[data-tab=learn]')
    page.keyboard.press('ArrowRight')
    assert page.is_visible('#classify') and not page.is_visible('#learn')
    context.close()


@pytest.mark.parametrize('lack,said', [('WebAssembly.validate = () => false', 'no WebAssembly SIMD'),
                                       ('delete window.WebAssembly', 'WebAssembly')])
def test_an_old_browser_is_told(context, site, lack, said):
    page = context.new_page()
    page.add_init_script(lack)
    page.goto(site)
    page.wait_for_selector(f'#classify .ta-status:has-text("{said}")')


@pytest.mark.slow
def test_ten_thousand_photos(browser, site, tmp_path):
    "They take no more memory than a thousand"
    folder,rng = tmp_path/'many',np.random.default_rng(0)
    folder.mkdir()
    for i in range(10_000): Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype='uint8')).save(folder/f'{i}.jpg')
    context = browser.new_context()
    page,_ = open_page(context, site)
    cdp = context.new_cdp_session(page)
    def heap_size():
        cdp.send('HeapProfiler.collectGarbage')
        return cdp.send('Runtime.getHeapUsage')['usedSize']
    page.click('[data-tab=sort]')
    page.set_input_files('#sort input[type=file]', folder)
    page.wait_for_selector('#sort .ta-status:has-text("1,")', timeout=120_000)
    early = heap_size()
    page.wait_for_selector('#sort .ta-status:has-text("10,000 photos are classified")', timeout=600_000)
    assert heap_size() - early < 50e6
    assert len(saved_zip(page, tmp_path/'sorted.zip').namelist()) == 10_001
    context.close()
