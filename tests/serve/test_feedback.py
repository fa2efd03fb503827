"Feedback, from a click in the app to the cleaner; in SQLite, and in PostgreSQL"
import io, os, shutil, subprocess, sys, tempfile, time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import httpx, pytest
from PIL import Image
from exports import FORMAT_4, draw_photos
from tellapart.catalog import Catalog
from tellapart.dev.install import postgresql
from tellapart.project import new_project, read_project
from tellapart.use.feedback import MOST_PHOTOS, NONE, RIGHT, FeedbackStore, database_url
from webapp import ask, served

pytestmark = pytest.mark.long # starts servers


@pytest.fixture(scope='module')
def postgres():
    "The URL of a PostgreSQL of our own"
    if not (bin := postgresql()): pytest.skip("no PostgreSQL: install postgresql from the system's packages to test with it")
    folder,user = Path(tempfile.mkdtemp(prefix='tellapart-postgres-')),{} # pytest's own folders are closed to other users
    if os.getuid() == 0: # initdb refuses root
        user = dict(user='postgres')
        shutil.chown(folder, 'postgres')
    initdb = [bin/'initdb', '-D', folder/'data', '-U', 'me', '-A', 'trust', '-E', 'UTF8']
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)
    port = 25_432 + os.getpid() % 1000
    command = [bin/'postgres', '-D', folder/'data', '-p', str(port), '-k', folder, '-h', '127.0.0.1', '-F']
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user)
    try:
        for _ in range(100):
            if not subprocess.run([bin/'pg_isready', '-h', '127.0.0.1', '-p', str(port)], capture_output=True).returncode: break
            time.sleep(.1)
        yield f'postgres://me@127.0.0.1:{port}/postgres' # as Heroku writes it
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder)


@pytest.fixture(params=['sqlite', 'postgres'])
def database(request, monkeypatch):
    "Feedback goes to each database in turn"
    monkeypatch.delenv('DATABASE_URL', raising=False)
    if request.param == 'postgres': monkeypatch.setenv('DATABASE_URL', request.getfixturevalue('postgres'))


def photo(seed=0):
    Image.effect_noise((300, 200), 40 + seed).convert('RGB').save(f := io.BytesIO(), 'JPEG')
    return f.getvalue()


def test_from_a_click_to_the_cleaner(browser, database, tmp_path, free_port):
    "Answers are counted; only with consent is a photo kept; it comes into the catalog under the visitor's label, and is deleted on request"
    shutil.copy(FORMAT_4, tmp_path/'export.pkl')
    draw_photos(tmp_path/'squash', 3)
    photos = sorted((tmp_path/'squash').iterdir())
    command = [sys.executable, '-m', 'tellapart', 'serve', '--export', tmp_path/'export.pkl', '--port', str(free_port)]
    with served(command, f'http://localhost:{free_port}/healthz', tmp_path):
        page = browser.new_page()
        page.goto(f'http://localhost:{free_port}/')
        ask(page, photos)
        forms = page.locator('.ta-question')
        forms.nth(0).locator('select').select_option('yes')
        forms.nth(0).locator('p:text("Thank you.")').wait_for()
        page.check('.ta-consent input')
        for i,answer in (1, 'across'), (2, NONE):
            forms.nth(i).locator('select').select_option(answer)
            forms.nth(i).locator('p:text("The photo is kept as")').wait_for()
        page.close()
    store = FeedbackStore(database_url(tmp_path))
    kept = list(store.photos())
    assert sum(store.counts().values()) == 3 and [o.answer for o in kept] == ['across', NONE]
    p = read_project(new_project('lines', ['across', 'down'], tmp_path/'projects'))
    def tellapart(*args):
        return subprocess.run([sys.executable, '-m', 'tellapart', 'feedback', *args], capture_output=True, text=True, cwd=tmp_path)
    pulled = tellapart('pull', '--project', p.file)
    assert pulled.stdout.startswith('Added to the catalog of lines: 2'), pulled.stderr
    with Catalog(p.folder) as catalog: assert list(catalog.frame().origin) == ['feedback']*2 and len(catalog.marks()) == 1
    assert 'photos kept' in tellapart('show').stdout
    assert tellapart('delete', kept[0].id).returncode == 0 and 'No photo is kept as' in tellapart('delete', kept[0].id).stderr
    assert [o.id for o in store.photos()] == [kept[1].id]
    for o in kept: store.delete(o.id)
    store.engine.dispose()


def test_many_answers_at_once(database, tmp_path):
    "None is lost, and no photo is kept twice"
    store = FeedbackStore(database_url(tmp_path))
    before = store.counts().get(('tennis', RIGHT), 0)
    with ThreadPoolExecutor(8) as pool: ids = list(pool.map(lambda i: store.add('tennis', RIGHT, b'photo %d' % (i % 5)), range(40)))
    assert store.counts()['tennis', RIGHT] == before + 40 and len([o for o in ids if o]) == 5 == store.n_photos()
    for o in ids: store.delete(o)
    store.engine.dispose()


def test_a_full_store_counts_on(tmp_path, monkeypatch):
    assert MOST_PHOTOS > 1
    monkeypatch.setattr('tellapart.use.feedback.MOST_PHOTOS', 1)
    store = FeedbackStore(database_url(tmp_path))
    assert store.add('tennis', RIGHT, b'1') and not store.add('tennis', RIGHT, b'2')
    assert store.counts() == {('tennis', RIGHT): 2}
    store.engine.dispose()


WRONG = (b'', b'[', b'{}', b'{"label": "across"}', b'{"label": "other", "answer": "yes"}', b'{"label": "across", "answer": "<b>"}',
         b'{"label": ["across"], "answer": "yes"}', b'{"label": "across", "answer": "yes", "photo": "data:image/png;base64,aaaa"}')

def test_hostile_answers(tmp_path, free_port):
    "What is no answer, no photo, or from another site is refused with a sentence, and floods are limited; what is kept has no metadata"
    shutil.copy(FORMAT_4, tmp_path/'export.pkl')
    command = [sys.executable, '-m', 'tellapart', 'serve', '--export', tmp_path/'export.pkl', '--port', str(free_port)]
    url = f'http://localhost:{free_port}/api/feedback'
    exif = Image.Exif()
    exif[0x010E] = 'secret'
    Image.open(io.BytesIO(photo())).save(f := io.BytesIO(), 'JPEG', exif=exif)
    sent = 'data:image/jpeg;base64,' + b64encode(f.getvalue()).decode()
    with served(command, f'http://localhost:{free_port}/healthz', tmp_path):
        assert httpx.post(url, json=dict(label='across', answer='yes', photo=sent)).json()['id']
        for wrong in WRONG:
            found = httpx.post(url, content=wrong)
            assert found.status_code == 422 and found.json()['error']
        right = dict(label='across', answer='yes')
        assert httpx.post(url, json=right, headers={'Origin': 'https://elsewhere.example'}).status_code == 403
        codes = [httpx.post(url, json=right).status_code for _ in range(80)]
        assert codes[0] == 200 and 429 in codes
    store = FeedbackStore(database_url(tmp_path))
    kept, = store.photos()
    assert b'secret' not in kept.photo and Image.open(io.BytesIO(kept.photo)).size == (300, 200)
    store.engine.dispose()
