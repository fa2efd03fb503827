"The demo web over the wire: real clients, and every planted fault"
import io, threading
from urllib.parse import urlsplit
import httpx, pytest
from ddgs import DDGS
from ddgs.exceptions import DDGSException
from PIL import Image
from proxy import Proxy
from tellapart.demo.web import BROKEN, FORM, DemoWeb, run_demo_web, load_ground_truth, ground_truth_of
from tellapart.images import NotAPhoto, open_photo

pytestmark = pytest.mark.long # a web of drawn photos
TERMS = {'squash': ['squash racket', 'squash racquet'], 'tennis': ['tennis racket'], 'badminton': ['badminton racket']}


@pytest.fixture(scope='module')
def web():
    with DemoWeb(TERMS, per_label=80, seed=7) as web: yield web


@pytest.fixture(scope='module')
def proxy(web, tmp_path_factory):
    with Proxy({'duckduckgo.com': web.search.server_address}, tmp_path_factory.mktemp('proxy')) as proxy: yield proxy


@pytest.fixture
def ddgs(proxy): return DDGS(proxy=proxy.url, verify=str(proxy.ca))


def test_ddgs_gets_both_pages(web, ddgs):
    found = [o for page in (1, 2) for o in ddgs.images('tennis racket', backend='duckduckgo', max_results=None, page=page)]
    assert [ground_truth_of(web.truth, o['image']) for o in found] == web.found('tennis racket')
    assert len(found) > 100
    truth = ground_truth_of(web.truth, found[0]['thumbnail'])
    assert (found[0]['width'], found[0]['height']) == truth.size


def test_ddgs_finds_nothing_for_nonsense(ddgs):
    with pytest.raises(DDGSException, match='No results'): ddgs.images('qwertzuiop', backend='duckduckgo')


def test_jmd_gets_all_pages_and_thumbnails(web, proxy, monkeypatch):
    from jmd_imagescraper.core import ImgSize, duckduckgo_scrape_urls
    for name in ('NO_PROXY', 'no_proxy', 'ALL_PROXY', 'all_proxy'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HTTPS_PROXY', proxy.url)
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(proxy.ca))
    urls = duckduckgo_scrape_urls('tennis racket', 1000)
    assert [ground_truth_of(web.truth, o) for o in urls] == web.found('tennis racket')
    monkeypatch.delenv('HTTPS_PROXY')
    assert min(open_photo(httpx.get(urls[0]).content).size) <= 240
    monkeypatch.setenv('HTTPS_PROXY', proxy.url)
    originals = duckduckgo_scrape_urls('tennis racket', 120, img_size=ImgSize.Large)
    assert originals == [web.address(o) for o in web.found('tennis racket')[:120]]


def test_the_proxy_refuses_other_hosts(proxy):
    with pytest.raises(httpx.ProxyError), httpx.Client(proxy=proxy.url) as client: client.get('https://example.com')


def test_the_same_seed_gives_the_same_web(web):
    a, b = (DemoWeb(TERMS, per_label=80, seed=o) for o in (7, 8))
    assert a.truth == web.truth and not set(b.truth) & set(a.truth)
    some = list(web.truth)[::25]
    assert [a.file(o) for o in some] == [web.file(o) for o in reversed(some)][::-1]


def test_ground_truth_in_a_file(web, tmp_path):
    web.save_truth(file := tmp_path/'truth.json')
    assert load_ground_truth(file) == web.truth
    file.write_text(file.read_text('utf-8').replace('"out of distribution"', '"stranger"'), 'utf-8') # as it was called before
    assert load_ground_truth(file) == web.truth


def test_labels_in_any_script():
    with DemoWeb({'Bär': ['großer Bär & Co'], '熊': ['熊']}, per_label=3) as web:
        page = httpx.get(web.url, params=dict(q='großer Bär & Co')).text
        assert 'großer Bär &amp; Co' in page
        ok = [o for o in web.truth.values() if not o.faults]
        assert {o.label for o in ok} == {'Bär', '熊'}
        for o in ok: assert open_photo(httpx.get(web.address(o)).content).size == o.size


def having(web, fault): return [o for o in web.truth.values() if fault in o.faults]


def fetch(web, o, **kw): return httpx.get(web.address(o), follow_redirects=True, timeout=10, **kw)


def test_missing(web): assert all(fetch(web, o).status_code == 404 for o in having(web, 'missing'))


@pytest.mark.parametrize('fault,reason', [('html', 'no photo'), ('cut short', 'broken'), ('empty', 'empty'), ('tiny', 'too small')])
def test_files_that_are_no_photos(web, fault, reason):
    for o in having(web, fault):
        answer = fetch(web, o)
        assert answer.status_code == 200 and answer.headers['content-type'] == 'image/jpeg'
        with pytest.raises(NotAPhoto) as e: open_photo(answer.content)
        assert e.value.reason == reason


def test_broken_off(web):
    o = having(web, 'broken off')[0]
    for _ in range(2): # every time
        with pytest.raises(httpx.RemoteProtocolError), httpx.stream('GET', web.address(o)) as answer:
            half = b''
            for chunk in answer.iter_raw(): half += chunk
        assert half == sent(web, o)[:len(half)] and int(answer.headers['content-length']) == len(sent(web, o)) > len(half) > 0


def test_redirects(web):
    assert all(len(fetch(web, o).history) == 1 for o in having(web, 'redirect'))
    for o in having(web, 'redirect loop'):
        with pytest.raises(httpx.TooManyRedirects): fetch(web, o)


def test_rate_limit_is_lifted_on_the_second_visit():
    with DemoWeb(TERMS, per_label=20, seed=9) as web:
        o = having(web, 'rate limited')[0]
        first, second = fetch(web, o), fetch(web, o)
        assert (first.status_code, first.headers['retry-after'], second.status_code) == (429, '1', 200)


def test_slow_photos_come_from_the_slow_host(web):
    assert {urlsplit(web.address(o)).port for o in having(web, 'slow')} == {web.hosts[-2].server_port}
    assert fetch(web, having(web, 'slow')[0]).status_code in (200, 429)


def test_hanging(web):
    with pytest.raises(httpx.ReadTimeout): httpx.get(web.address(having(web, 'hanging')[0]), timeout=.2)


def sent(web, o): return web.file(o.id)


@pytest.mark.long
def test_forms(web):
    for o in having(web, 'transparent'):
        im = Image.open(io.BytesIO(sent(web, o)))
        assert (im.format, im.size, im.getchannel('A').getextrema()[0]) == ('PNG', o.size, 0)
    for o in having(web, 'sideways'):
        im = Image.open(io.BytesIO(sent(web, o)))
        assert im.getexif()[0x0112] in (3, 6, 8)
        assert open_photo(sent(web, o)).size == o.size
    for o in having(web, 'webp'):
        assert Image.open(io.BytesIO(sent(web, o))).format == 'WEBP'


@pytest.mark.long
def test_duplicates(web):
    for o in having(web, 'exact duplicate'):
        assert sent(web, o) == web.file(o.of) and o.path != web.truth[o.of].path
    copies = having(web, 'near duplicate')
    assert any(o.wrong for o in copies)
    for o in copies:
        assert sent(web, o) != web.file(o.of)
        small = [open_photo(web.file(i)).convert('L').resize((16, 16)).tobytes() for i in (o.id, o.of)]
        assert sum(abs(a-b) for a, b in zip(*small)) / 256 < 25


def test_an_object_has_several_photos(web):
    groups = {}
    for o in web.truth.values():
        if not o.of and o.label: groups.setdefault(o.group, []).append(o)
    several = [o for o in groups.values() if len(o) > 1]
    assert several and all(len({(o.label, o.shot) for o in g}) == len(g) for g in several)


@pytest.mark.long
def test_concurrent_requests(web):
    ask = [o for o in web.truth.values() if not o.faults][:24] * 2
    got = {}
    threads = [threading.Thread(target=lambda i=i, o=o: got.update({i: fetch(web, o).content})) for i, o in enumerate(ask)]
    for o in threads: o.start()
    for o in threads: o.join()
    assert [got[i] for i in range(len(ask))] == [web.file(o.id) for o in ask]


def test_each_photo_has_its_own_latency(monkeypatch):
    with DemoWeb(TERMS, per_label=3, seed=1, latency=(.1, .3), without=['slow', 'hanging', 'missing']) as web:
        a, b = [o for o in web.truth.values() if not o.faults][:2]
        waits = []
        monkeypatch.setattr(web.stopping, 'wait', waits.append)
        for o in a, b, a: fetch(web, o)
        assert waits[0] == waits[2] != waits[1] and all(.1 <= o <= .3 for o in waits)
    assert not {'slow', 'hanging', 'missing'} & {f for o in web.truth.values() for f in o.faults}


def test_a_web_of_real_photos(tmp_path):
    "Each is sent unchanged and offered once; a wrong label is another label's photo"
    for label in TERMS:
        (tmp_path/label).mkdir()
        for i in range(25): Image.effect_noise((90 + i, 70), 60).convert('RGB').save(tmp_path/label/f'{i}.{"webp" if i % 2 else "png"}')
        (tmp_path/label/'notes.txt').write_text('no photo')
    with DemoWeb(TERMS, per_label=100, photos=tmp_path) as web:
        shown = [o for o in web.truth.values() if not o.of]
        assert len({o.file for o in shown}) == len(shown) > 60
        plain = [o for o in shown if not {*BROKEN, *FORM} & {*o.faults}]
        for o in plain[::6]:
            file = tmp_path/o.file
            assert file.parent.name == o.label and fetch(web, o).content == file.read_bytes()
        assert any(o.wrong for o in plain)
        assert fetch(web, plain[0]).headers['content-type'] == f'image/{plain[0].file.rpartition(".")[2]}'
        copy = having(web, 'near duplicate')[0]
        assert open_photo(fetch(web, copy).content).size == copy.size
        thumbnail = open_photo(httpx.get(f'{web.url}/thumbnail/{copy.id}.jpg').content)
        assert max(thumbnail.size) <= 240


@pytest.mark.long
def test_a_web_in_another_process(tmp_path):
    options = dict(terms={'tennis': ['tennis racket']}, per_label=2, seed=9)
    with run_demo_web(**options, prepared=True) as web:
        assert web.truth == DemoWeb(**options).truth
        web.save_truth(tmp_path/'truth.json')
        assert load_ground_truth(tmp_path/'truth.json') == web.truth
        assert web.url == 'http://{}:{}'.format(*web.host_addresses[0])
        def status(): return fetch(web, having(web, 'rate limited')[0]).status_code
        assert (status(), status()) == (429, 200)
        httpx.get(f'{web.url}/forget')
        assert status() == 429
    with pytest.raises(httpx.ConnectError): httpx.get(web.url)
