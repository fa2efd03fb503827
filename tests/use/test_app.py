"The app as a visitor meets it: served by Voilà, in a real browser"
import csv, io, os, re, signal, socket, subprocess, sys, time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from tellapart.use.classifier import Classifier, read_samples
from webapp import ask, served

ROOT = Path(__file__).resolve().parents[2]


def command(export, port): return [sys.executable, '-m', 'tellapart', 'serve', '--export', export, '--port', str(port)]


def serving(export, port, by='tellapart'):
    "A server of the app, by tellapart, or by Voilà alone, as Binder does it"
    stock = [Path(sys.executable).with_name('voila'), 'app.ipynb', '--no-browser', f'--port={port}', '--Voila.port_retries=0']
    url = f'http://localhost:{port}/voila/static/favicon.ico'
    return served(command(export, port) if by == 'tellapart' else stock, url, cwd=ROOT, env=dict(TELLAPART_EXPORT=str(export)))


def port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@pytest.fixture(scope='module')
def by_tellapart(export_pkl):
    "The address of the page that asks the API"
    with serving(export_pkl, n := port()): yield f'http://localhost:{n}/'


@pytest.fixture(scope='module')
def by_voila(export_pkl):
    "The address of the widget that asks its kernel"
    with serving(export_pkl, n := port(), 'voila'): yield f'http://localhost:{n}/'


@pytest.fixture(params=['by_tellapart', 'by_voila'])
def app(request):
    "The app's address, by each road"
    return request.getfixturevalue(request.param)


@pytest.fixture
def page(browser, app):
    "A visitor's page, with the app ready"
    page = browser.new_page(viewport=dict(width=1000, height=800))
    page.goto(app)
    page.wait_for_selector('.ta-upload')
    yield page
    page.close()


@pytest.fixture
def photos(export_pkl):
    "Photos that are small enough to be sent as they are"
    return [o for o in sorted(export_pkl.parent.glob('photos/*/*')) if min(Image.open(o).size) <= 640]


def test_photos_and_what_is_none(page, export_pkl, photos, tmp_path):
    "Several files at once: each photo gets the classifier's own prediction, a file that is none a sentence, and a reload starts afresh"
    (notes := tmp_path/'notes.txt').write_text('hello')
    assert page.inner_text('h1') == 'Badminton, squash or tennis?'
    some = [photos[0], notes, photos[-1]]
    first,second,third = ask(page, some)
    for card,photo in (first, photos[0]), (third, photos[-1]):
        prediction = Classifier(export_pkl)(photo)
        assert card[0] == photo.name
        assert card[1] == (f'{prediction.label} {prediction.probability:.0%}' if prediction.confident else 'Not sure')
        assert card[-6:] == [o for label,p in prediction.ranked for o in (label, f'{p:.0%}')]
    assert second == ['?', 'notes.txt', 'Not classified', 'This file is no photo that we can read; save it as JPEG or PNG.']
    page.reload()
    page.wait_for_selector('.ta-upload')
    assert page.locator('.ta-card').count() == 0
    assert ask(page, photos[:1])[0] == first


def card_with(browser, export_pkl, photo, tmp_path, free_port, **thresholds):
    "The app's card for a photo, with other thresholds in the export"
    from exports import change_meta, rewrite
    graph = dict(probability=1.01, ood=None, reference=None, set_probability=None) | thresholds
    changed = rewrite(export_pkl, tmp_path/'changed.pkl', change_meta(thresholds=dict(graph=graph)))
    with serving(changed, free_port):
        page = browser.new_page()
        page.goto(f'http://localhost:{free_port}/')
        page.wait_for_selector('.ta-upload')
        card, = ask(page, [photo])
        page.close()
    return card


def test_not_sure_is_said_plainly(browser, export_pkl, photos, tmp_path, free_port):
    "Below the export's threshold the app says so"
    card = card_with(browser, export_pkl, photos[0], tmp_path, free_port)
    assert card[1] == 'Not sure' and re.match(r'It is most like \w+ \(\d+%\); the model is confident from 101%\.', card[2])


def test_two_labels_that_share_a_photo_are_both_named(browser, export_pkl, photos, tmp_path, free_port):
    "Where it isn't confident, but all other labels are unlikely"
    (first,_),(second,p),_ = Classifier(export_pkl)(photos[0]).ranked
    card = card_with(browser, export_pkl, photos[0], tmp_path, free_port, set_probability=p - .01)
    assert card[1] == f'{first} or {second}'


def test_hostile_names_are_only_text(page, photos):
    "A file's name is shown as it is, and nothing in it runs"
    name = '<img src=x onerror="window.taken=true"><script>window.taken=true</script>.jpg'
    card, = ask(page, [dict(name=name, mimeType='image/jpeg', buffer=photos[0].read_bytes())])
    assert card[0] == name
    assert page.evaluate('window.taken') is None


def test_too_large_is_said_and_survived(page, photos, tmp_path):
    "A file over the limit gets a sentence without being sent, and the next one a prediction"
    with (tmp_path/'huge.heic').open('wb') as f: # which this browser can't open and shrink
        f.write(b'\0\0\0\x18ftypheic')
        f.truncate(300*2**20)
    card, = ask(page, [tmp_path/'huge.heic'])
    assert card[-1] == 'This file has 300 MB, more than the 50 MB that can be sent; choose a smaller one.'
    assert ask(page, photos[:1])[0][0] == photos[0].name


def test_just_under_the_limit_gets_through(page, tmp_path, photos):
    "The largest file that may be sent fits through the server's limit, where the browser can't shrink it"
    from pillow_heif import register_heif_opener
    register_heif_opener()
    Image.open(photos[0]).convert('RGB').save(f := io.BytesIO(), 'HEIF')
    (tmp_path/'large.heic').write_bytes(f.getvalue().ljust(50*2**20, b'\0'))
    card, = ask(page, [tmp_path/'large.heic'])
    assert card[:2] == ['?', 'large.heic'] and card[2] != 'Not classified'


def test_a_large_photo_is_sent_small_and_without_where_it_was_taken(browser, export_pkl, photos, by_tellapart, tmp_path):
    "Upright, and with the prediction that the file itself gets"
    photo = Image.open(photos[0]).convert('RGB').resize((3000, 2000)).transpose(Image.Transpose.ROTATE_90) # stored sideways
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825).update({1: 'N', 2: (48.0, 12.0, 30.0)})
    photo.save(tmp_path/'phone.jpg', exif=exif, quality=95)
    page = browser.new_page()
    page.add_init_script("""const send = window.fetch;
        window.fetch = async (url, o) => {
            window.sent = [...new Uint8Array(await o.body.get("photo").arrayBuffer())];
            return send(url, o);
        }""")
    page.goto(by_tellapart)
    card, = ask(page, [tmp_path/'phone.jpg'])
    jpeg = bytes(page.evaluate('window.sent'))
    page.close()
    assert Image.open(io.BytesIO(jpeg)).size == (960, 640) and not Image.open(io.BytesIO(jpeg)).getexif() and b'Exif' not in jpeg
    expected = Classifier(export_pkl)(tmp_path/'phone.jpg')
    shown = dict(zip(card[-6::2], card[-5::2]))
    assert shown.keys() == {o for o,_ in expected.ranked} and all(abs(float(shown[o][:-1])/100 - p) < .03 for o,p in expected.ranked)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_accessible(browser, photos, by_tellapart, scheme):
    "axe-core finds nothing to complain about, on a phone, before and after photos have been chosen; the keyboard reaches everything"
    page = browser.new_page(viewport=dict(width=390, height=844), color_scheme=scheme)
    page.goto(by_tellapart)
    assert not Axe().run(page).response['violations']
    ask(page, photos[:6])
    page.click('.ta-about summary')
    assert not Axe().run(page).response['violations']
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    reached = set()
    for _ in range(20):
        page.keyboard.press('Tab')
        reached.add(page.evaluate("document.activeElement.className || document.activeElement.type || document.activeElement.tagName"))
    assert {'file', 'ta-filter', 'ta-sort', 'ta-csv', 'ta-explain', 'SUMMARY'} <= reached
    page.goto(f'{by_tellapart}api')
    assert not Axe().run(page).response['violations']
    page.close()


def test_pasted(browser, photos, by_tellapart):
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(by_tellapart)
    page.evaluate("""bytes => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files }));
    }""", list(photos[0].read_bytes()))
    page.wait_for_selector('.ta-card')
    assert page.inner_text('.ta-file') == 'image.png'
    page.close()


def test_what_it_looks_at(page, photos):
    "In place of the photo a picture of what the prediction rests on, and the photo again"
    ask(page, photos[:1])
    before = page.get_attribute('.ta-card img', 'src')
    page.click('.ta-explain')
    page.wait_for_selector('.ta-explain[aria-pressed=true]:enabled')
    assert page.get_attribute('.ta-card img', 'src').startswith('data:image/jpeg') and before.startswith('blob:')
    page.click('.ta-explain')
    page.wait_for_selector('.ta-explain[aria-pressed=false]:enabled')
    assert page.get_attribute('.ta-card img', 'src') == before


def test_a_sample_is_tried_with_one_click(page, export_pkl):
    "It is classified like any photo, and its credit is shown"
    page.click('.ta-samples button')
    page.wait_for_selector('.ta-card')
    sample, = read_samples(export_pkl)
    prediction = Classifier(export_pkl)(sample.photo)
    assert page.inner_text('.ta-file') == 'sample 1.jpg' and page.inner_text('.ta-bars span >> nth=0') == prediction.ranked[0][0]
    page.click('.ta-samples summary')
    assert page.inner_text('.ta-samples li') == 'Squash by Ann, CC BY 4.0'


def test_many_are_sorted_filtered_and_downloaded(page, export_pkl, photos, tmp_path):
    "From six on there is a table's worth: order, filter, and a file for a spreadsheet, in which no name is a formula"
    some = [dict(name=f'={i}.png', mimeType='image/png', buffer=o.read_bytes()) for i,o in enumerate(photos[:7])]
    ask(page, some)
    expected = [Classifier(export_pkl)(o) for o in photos[:7]]
    page.select_option('.ta-sort', 'low')
    names = lambda: [o.inner_text() for o in page.locator('.ta-file').all()]
    assert names() == [f'={i}.png' for i in sorted(range(7), key=lambda i: round(expected[i].probability, 4))]
    page.select_option('.ta-filter', '?')
    assert {*names()} == {f'={i}.png' for i,o in enumerate(expected) if not o.confident}
    with page.expect_download() as download: page.click('.ta-csv')
    rows = list(csv.DictReader(download.value.path().read_text('utf-8-sig').splitlines()))
    assert [o['photo'] for o in rows] == [f"'={i}.png" for i in range(7)] and [o['label'] for o in rows] == [o.label for o in expected]


@pytest.mark.parametrize('by', ['tellapart', 'voila'])
def test_lost_connection_is_said(browser, export_pkl, photos, free_port, by):
    "Where the server is gone, the page says so instead of waiting for ever"
    with serving(export_pkl, free_port, by):
        page = browser.new_page()
        page.clock.install()
        page.goto(f'http://localhost:{free_port}/')
        page.clock.run_for(5000)
        page.wait_for_selector('.ta-upload')
    page.set_input_files('.ta-upload input', photos[0])
    lost = page.locator('.ta-status:text("The connection was lost")')
    for _ in range(30): # the photo is read before the wait begins
        page.clock.run_for(61_000)
        if lost.is_visible():
            break
    lost.wait_for()
    page.close()


@pytest.mark.parametrize('by,left', [('tellapart', 0), ('voila', 1)])
def test_visitors_leave_nothing_running(browser, export_pkl, free_port, by, left):
    "The kernel of a visitor who leaves ends, and one waits for the next; the page that asks the API needs none"
    psutil = pytest.importorskip('psutil')
    with serving(export_pkl, free_port, by) as server:
        def kernel(o):
            try:
                return 'ipykernel_launcher' in ' '.join(o.cmdline())
            except psutil.NoSuchProcess:
                return False # it has just ended
        kernels = lambda: list(filter(kernel, psutil.Process(server.pid).children()))
        for _ in range(3):
            page = browser.new_page()
            page.goto(f'http://localhost:{free_port}/')
            page.wait_for_selector('.ta-upload')
            page.goto('about:blank')
            page.close()
        deadline = time.time() + 20
        while len(kernels()) > left and time.time() < deadline: time.sleep(.2)
        assert len(kernels()) == left


@pytest.mark.long
@pytest.mark.parametrize('path', ['voila/files/export.pkl', 'voila/files/tellapart.toml', 'voila/files/../export.pkl', 'export.pkl'])
def test_files_beside_the_app_are_not_served(app, path):
    with pytest.raises(HTTPError) as e: urlopen(app + path)
    assert e.value.code in (403, 404)


@pytest.mark.long
def test_serve_needs_an_export(tmp_path, free_port):
    done = subprocess.run(command(tmp_path/'no.pkl', free_port), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "no.pkl isn't there" in done.stderr and 'Traceback' not in done.stderr


def test_serve_on_a_port_that_is_taken(app, export_pkl):
    port = int(app.split(':')[2].strip('/'))
    done = subprocess.run(command(export_pkl, port), capture_output=True, text=True, cwd=export_pkl.parent)
    assert done.returncode == 1 and f'Port {port} is taken' in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.skipif(os.name == 'nt', reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_the_server(export_pkl, free_port, ctrl_c):
    with serving(export_pkl, free_port) as server:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert 'Traceback' not in server.stdout.read()
    with socket.socket() as s: assert s.connect_ex(('127.0.0.1', free_port))
