"Hostile files and requests: nothing crashes, nothing leaks, every answer is a sentence, and the next visitor is served"
import base64, json, socket, sys, time
from concurrent.futures import ThreadPoolExecutor
import httpx, pytest
from exports import FORMAT_4
from hostile import NAMES, corpus, encode, photo
from tellapart.images import NotAPhoto, open_photo
from tellapart.use.classifier import Classifier
from webapp import ask, served

pytestmark = pytest.mark.long # makes many files, and starts servers


@pytest.fixture(scope='module')
def files():
    found = corpus()
    assert len(found) >= 150
    return found


def post(at, files, **kw):
    "Classify, after the wait that a limit asks for"
    for _ in range(20):
        found = httpx.post(f'{at}/api/classify', files=[('photo', o) for o in files], timeout=120, **kw)
        if found.status_code not in (429, 503): break
        time.sleep(min(10, int(found.headers['retry-after'])))
    return found


def is_sentence(text): return text.endswith('.') and '\n' not in text and 'Traceback' not in text and '/tmp' not in text


def test_gate(files):
    "Each file is a photo, or refused with a sentence"
    for name,data in files.items():
        try: assert open_photo(data, 640).mode == 'RGB'
        except NotAPhoto as e: assert is_sentence(str(e)), name


def test_app(browser, server, files):
    "In a browser: odd files and names are only shown, nothing in them runs, and a photo after them is classified"
    at = server
    some = [o for o in files if not o.startswith(('cut', 'noise', 'bomb'))]
    page = browser.new_page()
    page.goto(at)
    chosen = [dict(name=o, mimeType='image/jpeg', buffer=files[o]) for o in some]
    chosen += [dict(name=o, mimeType='image/jpeg', buffer=encode(photo(), 'JPEG')) for o in NAMES if len(o) < 300]
    cards = ask(page, chosen)
    assert len(cards) == len(chosen) and page.evaluate('window.taken') is None
    page.close()
    page = browser.new_page()
    page.goto(at)
    assert ask(page, [dict(name='after.jpg', mimeType='image/jpeg', buffer=encode(photo(), 'JPEG'))])[0][0] == 'after.jpg'
    page.close()


def test_api(server_process, files):
    "By the API each file gets what the classifier says, within memory"
    psutil = pytest.importorskip('psutil')
    at,process = server_process
    names,classify = list(files),Classifier(FORMAT_4)
    for some in (names[i:i+20] for i in range(0, len(names), 20)):
        found = post(at, [(o, files[o]) for o in some])
        assert found.status_code == 200, some
        for row,expected in zip(found.json()['predictions'], classify.many([files[o] for o in some])):
            assert row['label'] == expected.label and (row['label'] or is_sentence(row['reason'])), row
    peak = psutil.Process(process.pid).memory_info()
    assert getattr(peak, 'rss', 0) < 2e9 and httpx.get(f'{at}/healthz').text == 'ok'


def test_names(server):
    "Names come back as they are, in JSON, and set nothing"
    at = server
    content = encode(photo(), 'JPEG')
    body = dict(photos=['data:image/jpeg;base64,' + base64.b64encode(content).decode()])
    for name in NAMES:
        found = httpx.post(f'{at}/api/classify', files=[('photo', (name, content))], timeout=60)
        assert found.status_code in (200, 422) and not found.cookies and 'x-set' not in found.headers
    assert httpx.post(f'{at}/api/classify', json=body, timeout=60).json()['predictions'][0]['photo'] == 'photo 1'


PATHS = ('export.pkl', 'tellapart.toml', 'data/rackets/ledger.db', 'feedback.db', '.git/config', 'voila/files/export.pkl',
         'voila/files/tellapart.toml', 'voila/files/..%2fexport.pkl', 'static/../export.pkl', 'static/x/..%2f..%2fexport.pkl',
         'voila/templates/..%2f..%2f..%2fexport.pkl', 'voila/static/..%2f..%2fexport.pkl', 'voila/render/app.ipynb', 'voila/tree',
         'api/contents', 'api/kernels', 'api/sessions')

@pytest.mark.parametrize('path', PATHS)
def test_nothing_else_is_served(server, path):
    found = httpx.get(f'{server}/{path}', timeout=60, follow_redirects=True)
    assert found.status_code in (403, 404, 405), found.text[:200]


def test_templates_are_not_chosen_by_visitors(server):
    assert 'Across or down?' in httpx.get(f'{server}/?template=../../../../etc&theme=%3Cscript%3E').text


def test_uploads_that_end_half_way_or_are_slow(server):
    "They hold nobody up"
    host,port = server.removeprefix('http://').split(':')
    headers = f'Host: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n'
    request = f'POST /api/classify HTTP/1.1\r\n{headers}'.encode()
    sockets = []
    for i in range(50):
        s = socket.create_connection((host, int(port)))
        s.sendall(request + b'{"photos": [' if i % 2 else request[:40])
        sockets.append(s)
    for s in sockets[::3]: s.close()
    start = time.monotonic()
    assert post(server, [('a.jpg', encode(photo(), 'JPEG'))]).status_code == 200 and time.monotonic() - start < 60
    for s in sockets: s.close()


def test_nonsense_on_the_wire(server):
    "Bytes that are no HTTP, a websocket that nobody offered, and a thousand calls at once"
    at = server
    host,port = at.removeprefix('http://').split(':')
    long = b'GET ' + b'a'*100_000 + b' HTTP/1.1\r\n\r\n'
    for nonsense in b'\0'*1000, b'GET / HTTP/9.9\r\n\r\n', b'\x16\x03\x01\x02\0' + bytes(500), long:
        with socket.create_connection((host, int(port))) as s:
            try:
                s.sendall(nonsense)
                s.settimeout(5)
                s.recv(1000)
            except OSError: pass # it hangs up, or waits for more
    upgrade = {'Upgrade': 'websocket', 'Connection': 'Upgrade', 'Sec-WebSocket-Key': 'x'*22 + '==', 'Sec-WebSocket-Version': '13',
               'Origin': 'https://elsewhere.example'}
    assert httpx.get(f'{at}/api/kernels/0b7ff2c1-0c5a-4f0e-8d5e-7d1c3a1f7f10/channels', headers=upgrade).status_code in (403, 404)
    with httpx.Client(timeout=120) as client, ThreadPoolExecutor(16) as pool:
        codes = set(pool.map(lambda i: client.post(f'{at}/api/classify', content=json.dumps({'photos': [i]})).status_code, range(1000)))
    assert codes <= {415, 422} and httpx.get(f'{at}/healthz').text == 'ok'


@pytest.mark.slow
def test_ten_thousand_calls(tmp_path, free_port):
    "Photos and what is none, from 16 clients: each call is answered, and the server doesn't grow"
    psutil = pytest.importorskip('psutil')
    at = f'http://localhost:{free_port}'
    command = [sys.executable, '-m', 'tellapart', 'serve', '--per-minute', '1000000', '--export', FORMAT_4, '--port', str(free_port)]
    bodies = [encode(photo(), 'JPEG'), b'no photo', encode(photo(), 'PNG')[:-20], b'']
    def call(client, i): return client.post(f'{at}/api/classify', files=dict(photo=('a.jpg', bodies[i % 4]))).status_code
    with (served(command, f'{at}/healthz', tmp_path) as process, httpx.Client(timeout=120) as client, ThreadPoolExecutor(16) as pool):
        def calls(n): return set(pool.map(lambda i: call(client, i), range(n)))
        memory = psutil.Process(process.pid).memory_info
        codes,before = calls(1000),memory().rss
        codes |= calls(9000)
        assert codes == {200} and memory().rss - before < 50*2**20 and httpx.get(f'{at}/healthz').text == 'ok'
