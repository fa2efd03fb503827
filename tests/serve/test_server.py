"The server: whom it listens to, and whether a notebook needs kernels"
import asyncio, re, shutil, sys
from uuid import uuid4
import httpx, nbformat, pytest
from jupyter_server.auth.security import passwd
from tornado.web import Application
from exports import FORMAT_4
from tellapart.course import shipped
from tellapart.errors import TellapartError
from tellapart.machine import lan_address
from tellapart.serve.api import Classify
from tellapart.serve.page import needs_kernel
from tellapart.serve.requests import RateLimit
from tellapart.serve.server import frame_policy
from webapp import ask, served


@pytest.mark.long
def test_lan(tmp_path, free_port):
    "It says where phones in the room find it, as a QR code, too, and answers there"
    if not (address := lan_address()): pytest.skip("this machine isn't in a network")
    there = f'http://{address}:{free_port}'
    command = [sys.executable, '-m', 'tellapart', 'serve', '--lan', '--export', FORMAT_4, '--port', str(free_port)]
    with served(command, f'{there}/healthz', tmp_path) as server:
        assert httpx.get(f'{there}/healthz').text == 'ok'
        server.terminate()
        said = server.communicate(timeout=20)[0]
    assert there in said and '▀' in said


def test_a_notebook_of_ones_own_needs_kernels(tmp_path):
    assert not needs_kernel(shipped()/'app.ipynb')
    nb = nbformat.read(shipped()/'app.ipynb', 4)
    nb.cells.append(nbformat.v4.new_code_cell('print("hello")'))
    nbformat.write(nb, tmp_path/'app.ipynb')
    assert needs_kernel(tmp_path/'app.ipynb') and needs_kernel(tmp_path/'missing.ipynb')


def test_rate_limit():
    "So many at once, then as many as time has passed for; each address by itself"
    rates = RateLimit(60)
    assert rates.take('a', 60) == 0 and 0 < rates.take('a', 5) <= 5 and rates.take('b', 60) == 0
    assert rates.take('a', 61) > 0 and rates.take('c', 61) == 0 # more than may ever be sent at once count as so many


@pytest.mark.long
def test_a_password(tmp_path, free_port):
    "Nothing but the login is shown without it; a cookie remembers it; guessing is slow, and other sites can't"
    command = [sys.executable, '-m', 'tellapart', 'serve', '--export', FORMAT_4, '--port', str(free_port)]
    at,page = f'http://localhost:{free_port}',{'Accept': 'text/html'}
    with served(command, f'{at}/healthz', tmp_path, dict(TELLAPART_PASSWORD_HASH=passwd('open sesame'))):
        with httpx.Client(base_url=at, timeout=60) as visitor:
            assert visitor.get('/', headers=page).headers['location'].endswith('/login') and visitor.get('/healthz').text == 'ok'
            for path in '', 'api', 'voila/static/voila.js', 'voila/files/app.ipynb', f'api/kernels/{uuid4()}/channels':
                assert visitor.get(f'/{path}').status_code == 401
            assert visitor.post('/api/classify', files=dict(photo=b'x')).status_code == 401
            assert 'Password' in visitor.get('/login').text
            wrong = visitor.post('/login', data=dict(password='guess'))
            assert wrong.status_code == 403 and "the password: try again" in wrong.text and not visitor.cookies
            right,elsewhere = dict(password='open sesame'),{'Origin': 'https://elsewhere.example'}
            assert visitor.post('/login', data=right, headers=elsewhere).status_code == 403
            assert visitor.post('/login', data=right).status_code == 302
            assert 'Across or down?' in visitor.get('/', headers=page).text
            assert visitor.post('/api/classify', files=dict(photo=b'x')).status_code == 200
        guesses = [httpx.post(f'{at}/login', data=dict(password=str(i)), timeout=60).status_code for i in range(15)]
        assert 429 in guesses and guesses[0] == 403


@pytest.mark.parametrize('debug', [False, True])
def test_an_error_of_ours_has_a_number(debug, caplog):
    "A visitor sees a number, and the log has the traceback under it; with --debug the visitor sees that, too"
    class Broken:
        async def predictions(self, photos): raise ZeroDivisionError('somewhere')
    async def ask():
        app = Application([('/', Classify, dict(shared=Broken(), rates=RateLimit()))], show_errors=debug)
        server = app.listen(0, '127.0.0.1')
        port = next(iter(server._sockets.values())).getsockname()[1]
        async with httpx.AsyncClient() as visitor: found = await visitor.post(f'http://127.0.0.1:{port}/', files=dict(photo=b'x'))
        server.stop()
        return found
    found = asyncio.run(ask())
    said = found.json()['error']
    assert found.status_code == 500 and ('ZeroDivisionError: somewhere' in said) == debug
    number, = re.findall(r'Error (\w+): /', caplog.text)
    assert 'ZeroDivisionError: somewhere' in caplog.text and (debug or said.endswith(f'under the number {number}.'))


@pytest.fixture
def own_app(tmp_path):
    "A folder whose app.ipynb has a cell of its own"
    for o in 'tellapart.toml', 'voila.json': shutil.copy(shipped()/o, tmp_path)
    (tmp_path/'notebooks').mkdir()
    (tmp_path/'notebooks/01_gather.ipynb').touch() # which says that this is the course's folder
    nb = nbformat.read(shipped()/'app.ipynb', 4)
    told = 'import os, sys; print("variables:", dict(os.environ), "onnxruntime:", "onnxruntime" in sys.modules)'
    nb.cells.append(nbformat.v4.new_code_cell(told))
    nbformat.write(nb, tmp_path/'app.ipynb')
    return tmp_path


@pytest.mark.long
def test_kernels_know_no_secrets(own_app, free_port):
    "An app.ipynb with cells of its own is shown by Voilà, and what its kernel prints has nothing that is the server's alone"
    command = [sys.executable, '-m', 'tellapart', 'serve', '--export', FORMAT_4, '--port', str(free_port)]
    secrets = dict(DATABASE_URL='sqlite:///hush-1.db', AWS_SECRET_ACCESS_KEY='hush-2', GITHUB_TOKEN='hush-3', MY_PASSWORD='hush-4')
    at = f'http://localhost:{free_port}'
    with served(command, f'{at}/healthz', own_app, secrets): html = httpx.get(at, timeout=60).text
    assert 'variables:' in html and 'TELLAPART_EXPORT' in html and 'hush' not in html


def test_cells_of_ones_own(browser, own_app, export_pkl, free_port):
    "Where app.ipynb has more cells, they are shown, and the app in it asks the server's classifier: its kernel has none"
    command = [sys.executable, '-m', 'tellapart', 'serve', '--frame-ancestors', 'none', '--export', export_pkl, '--port', str(free_port)]
    at = f'http://localhost:{free_port}'
    with served(command, f'{at}/healthz', own_app):
        page = browser.new_page()
        policy = page.goto(at).headers['content-security-policy']
        assert policy == "frame-ancestors 'none'" and httpx.get(at).headers['content-security-policy'].endswith("frame-ancestors 'none'")
        card, = ask(page, [next(export_pkl.parent.glob('photos/tennis/*'))])
        page.wait_for_selector('.ta-card form') # "Was this right?", which the server asks
        assert 'onnxruntime: False' in page.inner_text('body') and card[-6] == 'tennis'
        page.close()


def test_frames():
    "Which pages may show the app is said in the policy's words, and nothing else can be said there"
    assert frame_policy('none') == "frame-ancestors 'none'" and frame_policy('*') == 'frame-ancestors *'
    assert frame_policy('self https://blog.example') == "frame-ancestors 'self' https://blog.example"
    for wrong in '', 'https://blog.example; script-src *', "'none'", '-':
        with pytest.raises(TellapartError, match='names no pages: write'): frame_policy(wrong)


@pytest.mark.long
def test_a_full_app_says_so(own_app, free_port):
    "Where each visitor needs a kernel, there are only so many; one too many gets a page that tries again"
    command = [sys.executable, '-m', 'tellapart', 'serve', '--visitors', '2', '--export', FORMAT_4, '--port', str(free_port)]
    at = f'http://localhost:{free_port}'
    with served(command, f'{at}/healthz', own_app):
        found = [httpx.get(at, timeout=60) for _ in range(4)] # none of them leaves
        assert [o.status_code for o in found][:2] == [200]*2 and found[-1].status_code == 503
        assert 'The app is full' in found[-1].text and 'http-equiv="refresh"' in found[-1].text and int(found[-1].headers['retry-after'])
        assert httpx.get(f'{at}/healthz').text == 'ok'


@pytest.mark.long
def test_an_export_that_is_named_from_here(tmp_path, free_port):
    "The server goes to the folder of app.ipynb, wherever it was started"
    shutil.copy(FORMAT_4, tmp_path/'mine.pkl')
    command = [sys.executable, '-m', 'tellapart', 'serve', '--export', 'mine.pkl', '--port', str(free_port)]
    with served(command, f'http://localhost:{free_port}/healthz', tmp_path):
        assert 'ta-upload' in httpx.get(f'http://localhost:{free_port}/').text
