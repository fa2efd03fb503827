"Sources: search engines over the wire, behind a proxy, with errors, repetitions and malformed responses; tables and folders"
import html, json, math, os, threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit
import pandas as pd
import pytest
import tellapart
from tellapart.errors import TellapartError
from tellapart.gather.sources import base, demo
from tellapart.credits import COLUMNS, TERMS
from tellapart.demo.web import DemoWeb
from tellapart.project import Project, read_project
from tellapart.gather.sources import Candidate, SOURCES, SearchError
from tellapart.paths import url_to_path
from proxy import Proxy

Request = namedtuple('Request', 'path query headers')
DOCUMENT = (Path(__file__).resolve().parents[2]/'docs/sources.md').read_text('utf-8')
HOSTS = dict(duckduckgo='duckduckgo.com', bing='www.bing.com', openverse='api.openverse.org', wikimedia='commons.wikimedia.org')


class Engine(ThreadingHTTPServer):
    """A search engine; `answer` maps a request to a body (text, or an object for JSON), or to status, body and headers.
    `requests` records the requests"""
    daemon_threads = True

    def __init__(self, answer):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.answer,self.requests = answer,[]
        threading.Thread(target=self.serve_forever, args=(.05,), daemon=True).start()

    def searches(self, path): return [o.query for o in self.requests if o.path == path]

    def __exit__(self, *exc):
        self.shutdown()
        super().__exit__(*exc)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass

    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        request = Request(url.path, dict(parse_qsl(url.query)), self.headers)
        self.server.requests.append(request)
        answer = self.server.answer(request)
        status,body,headers = answer if isinstance(answer, tuple) else (200, answer, {})
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for k,v in dict(headers, **{'Content-Length': len(body)}).items(): self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope='module')
def proxy(tmp_path_factory):
    with Proxy(dict.fromkeys(HOSTS.values()), tmp_path_factory.mktemp('proxy')) as proxy: yield proxy


@pytest.fixture(autouse=True)
def through_proxy(proxy, monkeypatch):
    "Send all requests through the proxy, which has no hosts yet"
    proxy.hosts.clear()
    for name in ('NO_PROXY', 'no_proxy', 'ALL_PROXY', 'all_proxy', 'https_proxy'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HTTPS_PROXY', proxy.url)
    for name in 'SSL_CERT_FILE','REQUESTS_CA_BUNDLE': monkeypatch.setenv(name, str(proxy.ca))
    monkeypatch.setattr(base, 'RETRY_PAUSES', (.01, .01))


@pytest.fixture
def engine(proxy):
    "Replace a real engine: `engine('openverse', answer)`"
    started = []
    def start(name, answer):
        started.append(Engine(answer))
        proxy.hosts[HOSTS[name]] = started[-1].server_address
        return started[-1]
    yield start
    for o in started: o.__exit__()


@pytest.fixture(scope='module')
def demo_web():
    with DemoWeb({'tennis': ['tennis racket']}, per_label=80) as web: yield web


@pytest.fixture
def web(demo_web, proxy):
    "The demo web as DuckDuckGo"
    proxy.hosts[HOSTS['duckduckgo']] = demo_web.search.server_address
    return demo_web


def project(**search):
    return Project(name='rackets', labels=dict(squash='squash racket', tennis='tennis racket'), per_label=80, timeout=5, search=search)

def found(source, term='tennis racket', **search): return list(SOURCES[source](term, project(**search), 'tennis'))


def duckduckgo(results):
    "DuckDuckGo's two responses: a page with a token, and `results(request)`"
    return lambda request: 'vqd="4-1"' if request.path == '/' else results(request)

def hit(i, **kw): return dict(image=f'https://x.example/{i}.jpg', url=f'https://x.example/{i}', title=f'racket {i}') | kw
def hits(*numbers): return dict(results=[hit(i) for i in numbers])
def numbers(candidates): return [int(Path(o.url).stem) for o in candidates]


# The registry

@pytest.mark.parametrize('name', SOURCES)
def test_every_source_is_documented(name):
    assert SOURCES[name].__doc__ and f'`"{name}"`' in DOCUMENT.partition('| `source =` |')[2].partition('\n\n')[0]


def test_origins_and_their_terms():
    assert {'web', 'own', 'demo'} <= {o.origin for o in SOURCES.values()}
    assert TERMS.items() >= dict(own='your own photo', demo='drawn by the demo web').items()


# DuckDuckGo

@pytest.mark.parametrize('source', ['duckduckgo', 'jmd'])
def test_search_over_the_wire(web, source):
    assert [o.url for o in found(source)] == [web.address(o) for o in web.truth.values()]
    assert found(source, 'qwertzuiop') == []


def test_duckduckgo_announces_sizes(web):
    assert [(o.width, o.height) for o in found('duckduckgo')] == [o.size for o in web.truth.values()]


INVALID_SIZES = [None, '', 'abc', -1, math.inf, [640], {}]

def test_invalid_sizes(engine, tmp_path):
    page = dict(results=[hit(i, width=o, height='480') for i,o in enumerate(INVALID_SIZES)] + [hit(99, width='640', height=480.0)])
    engine('duckduckgo', duckduckgo(lambda request: hits() if 's' in request.query else page))
    assert [(o.width, o.height) for o in found('duckduckgo')] == [(0, 480)]*len(INVALID_SIZES) + [(640, 480)]
    works = [work(i, width=o, height=o) for i,o in enumerate(INVALID_SIZES)]
    engine('openverse', lambda request: dict(page_count=1, results=works))
    assert [(o.width, o.height) for o in found('openverse')] == [(0, 0)]*len(INVALID_SIZES)
    p = table(tmp_path, 'URL,Label,Width,height\nhttps://x/1.jpg,tennis,640,480\nhttps://x/2.jpg,tennis,abc,\nhttps://x/3.jpg,tennis\n')
    assert [(o.width, o.height) for o in SOURCES['csv'](None, p, 'tennis')] == [(640, 480), (0, 0), (0, 0)]


def test_jmd_falls_back_with_a_message(web, proxy, monkeypatch, capsys):
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(proxy.ca.with_name('none.pem')))
    assert len(list(islice(SOURCES['jmd']('tennis racket', project(), 'tennis'), 5))) == 5
    assert 'duckduckgo is searched instead' in capsys.readouterr().out


def test_filters_reach_the_engine(engine):
    web = engine('duckduckgo', duckduckgo(lambda request: hits(1) if 's' not in request.query else hits()))
    found('duckduckgo', kind='photo', size='large', licence='modify', without=['toy', 'table tennis'])
    request = web.searches('/i.js')[0]
    assert request['q'] == 'tennis racket -toy -"table tennis"'
    assert {*request['f'].split(',')} - {''} == {'type:photo', 'size:Large', 'license:ModifyCommercially'}
    found('duckduckgo')
    assert 'f' not in web.searches('/i.js')[-1]


def test_jmd_applies_filters(engine, capsys):
    web = engine('duckduckgo', lambda request: 'vqd=4-1&' if request.path == '/' else hits(1, 2, 1))
    assert numbers(found('jmd', kind='clipart', size='small', without=['toy'])) == [1, 2]
    request = web.searches('/i.js')[0]
    assert 'size:Small' in request['f'] and 'type:Clipart' in request['f'] and request['q'] == 'tennis racket -toy'
    web.answer = duckduckgo(lambda request: hits(3) if 's' not in request.query else hits())
    assert numbers(found('jmd', licence='open')) == [3]
    assert "it can't search by licence" in capsys.readouterr().out and 'license:Share' in web.searches('/i.js')[-2]['f']


def test_pages_end_without_new_results(engine):
    pages = {None: hits(*range(100)), '100': hits(*range(50, 150)), '200': hits(*range(120, 150)), '300': hits(999)}
    web = engine('duckduckgo', duckduckgo(lambda request: pages[request.query.get('s')]))
    assert numbers(found('duckduckgo')) == list(range(150))
    assert [o.get('s') for o in web.searches('/i.js')] == [None, '100', '200']


def test_titles_with_an_excluded_word_are_skipped(engine):
    page = dict(results=[hit(1), hit(2, title='TOY racket'), hit(3, title='Toyota')])
    engine('duckduckgo', duckduckgo(lambda request: hits() if 's' in request.query else page))
    assert numbers(found('duckduckgo', without=['toy'])) == [1, 3]
    assert numbers(found('duckduckgo', 'toy racket', without=['toy'])) == [1, 2, 3]


def test_a_refused_first_page_is_requested_again(engine):
    answers = [(403, '', {}), (403, '', {}), hits(1, 2), hits()]
    web = engine('duckduckgo', duckduckgo(lambda request: answers.pop(0)))
    assert numbers(found('duckduckgo')) == [1, 2]
    assert len(web.searches('/i.js')) == 4


def test_refused_three_times_is_no_results_without_a_fallback(engine):
    web = engine('duckduckgo', duckduckgo(lambda request: (403, '', {})))
    assert found('duckduckgo') == []
    assert len(web.searches('/i.js')) == 3


def test_the_fallback_is_searched_with_a_message(engine, proxy, capsys):
    engine('duckduckgo', duckduckgo(lambda request: (403, '', {})))
    about = dict(murl='https://x.example/7.jpg', purl='https://x.example/7', turl='https://x.example/t', t='racket 7')
    size = '<div class="img_info"><span class="nowrap">1024 × 683 · jpeg</span></div>'
    link = f'<div class="imgpt"><a class="iusc" m="{html.escape(json.dumps(about))}"></a></div>'
    page = f'<html><body><div>{link}<div class="infopt">{size}</div></div></body></html>'
    bing = engine('bing', lambda request: page if request.query.get('first') == '1' else '<html><body></body></html>')
    assert found('duckduckgo', fallback='bing', without=['toy']) == [
        Candidate('https://x.example/7.jpg', 'https://x.example/7', 'racket 7', width=1024, height=683)]
    assert capsys.readouterr().out == "DuckDuckGo has nothing for 'tennis racket' (no results); Bing is searched instead.\n"
    assert bing.requests[0].query['q'] == 'tennis racket -toy'
    bing.requests.clear()
    assert found('duckduckgo', fallback='bing', licence='open') == [] and not bing.requests
    proxy.hosts.pop(HOSTS['duckduckgo'])
    assert numbers(found('duckduckgo', fallback='bing')) == [7]


@pytest.mark.parametrize('answer', ['<html>Are you human?</html>', {}, dict(results=None), dict(results=[hit(1, title=None)]),
                                    (500, 'sorry', {}), (202, 'challenge', {})])
def test_malformed_responses_of_duckduckgo(engine, answer):
    engine('duckduckgo', duckduckgo(lambda request: answer))
    try: assert numbers(found('duckduckgo')) in ([], [1])
    except SearchError as e: assert "DuckDuckGo can't be searched for 'tennis racket' (unreadable response)" in str(e)


@pytest.mark.parametrize('source', ['duckduckgo', 'openverse', 'wikimedia'])
def test_no_network(source, free_port, monkeypatch):
    message = r'\(no connection\); try again later, check the network, or set source = "demo"'
    with pytest.raises(TellapartError, match=message): found(source)
    monkeypatch.setenv('HTTPS_PROXY', f'http://127.0.0.1:{free_port}')
    with pytest.raises(TellapartError, match='check the network, or set source = "demo"'): found(source)


# Openverse

def work(i, **kw):
    return dict(id=f'{i}', title=f'Racket {i}', url=f'https://live.example/{i}.jpg', foreign_landing_url=f'https://photos.example/{i}',
                creator='Ada', creator_url=None, license='by', license_version='4.0',
                license_url='https://creativecommons.org/licenses/by/4.0/', source='flickr', width=1024, height=683, mature=False) | kw

def openverse(request, works=range(45)):
    "Openverse, used without a key"
    page,size = int(request.query['page']), int(request.query['page_size'])
    if size > 20:
        return 401, dict(detail='page_size may not exceed 20 for anonymous requests'), {}
    pages = -(-len(works)//size)
    if page > pages:
        return 400, dict(detail=dict(page=['Ensure this value is less'])), {}
    results = [work(o) for o in works[(page-1)*size:page*size]]
    return dict(result_count=len(works), page_count=pages, page_size=size, page=page, results=results)


def test_openverse_page_by_page(engine):
    web = engine('openverse', openverse)
    got = found('openverse', without=['toy'], licence='modify', kind='photo', size='medium')
    assert numbers(got) == list(range(45))
    assert got[7] == Candidate('https://live.example/7.jpg', 'https://photos.example/7', 'Racket 7', 'Ada',
                               'CC BY 4.0', 'https://creativecommons.org/licenses/by/4.0/', 1024, 683)
    request = web.requests[0]
    assert request.path == '/v1/images/' and request.headers['User-Agent'] == f'tellapart/{tellapart.__version__}'
    assert request.query == dict(q='tennis racket -toy', page='1', page_size='20', license_type='commercial,modification',
                               category='photograph', size='medium')
    assert len(web.requests) == 3


def test_openverse_requests_no_more_pages_than_needed(engine):
    web = engine('openverse', openverse)
    assert len(list(islice(SOURCES['openverse']('tennis racket', project(), 'tennis'), 20))) == 20 and len(web.requests) == 1


def test_throttled_briefly(engine):
    times = iter([(429, dict(detail='Request was throttled. Expected available in 1 second.'), {'Retry-After': 1}), (503, 'busy', {})])
    web = engine('openverse', lambda request: next(times, None) or openverse(request, range(3)))
    assert numbers(found('openverse')) == [0, 1, 2] and len(web.requests) == 3


@pytest.mark.parametrize('answer', [(429, dict(detail='Request was throttled.'), {'Retry-After': 40_000}),
                                    (401, dict(detail='Anonymous requests are off'), {})])
def test_throttled_for_long(engine, answer):
    web = engine('openverse', lambda request: answer if request.query['page'] == '2' else openverse(request))
    got = []
    with pytest.raises(SearchError, match=f'HTTP {answer[0]}'):
        got.extend(SOURCES['openverse']('tennis racket', project(), 'tennis')) # which keeps those before the error
    assert len(got) == 20 and len(web.requests) == 2


@pytest.mark.parametrize('answer', ['<html>', [], 'null', {}, dict(results=[]), dict(results=[{}, dict(url=None)])])
def test_malformed_responses_of_openverse(engine, answer):
    engine('openverse', lambda request: answer)
    try: assert found('openverse') == []
    except SearchError as e: assert "Openverse can't be searched for 'tennis racket' (unreadable response)" in str(e)


def test_hostile_and_missing_fields(engine):
    works = [work(1, title='<img src=x onerror=alert(1)>Racket\n\t1', creator='<script>alert(2)</script>Eve &amp; Co'),
             work(2, title=None, creator=None, license_url=None, license_version=None, license='pdm', foreign_landing_url=None,
                  width=None, height=None),
             dict(url='https://live.example/3.jpg')]
    engine('openverse', lambda request: dict(result_count=3, page_count=1, page_size=20, page=1, results=works))
    one,two,three = found('openverse')
    assert one.title == 'Racket 1' and '<' not in one.creator and one.creator.endswith('Eve & Co')
    assert two == Candidate('https://live.example/2.jpg', licence='Public Domain Mark') and three == Candidate('https://live.example/3.jpg')


# Wikimedia Commons

def file(i, **about):
    about = dict(Artist='<a href="//commons.wikimedia.org/wiki/User:Ada" title="User:Ada">Ada</a>', LicenseShortName='CC BY-SA 4.0',
                 LicenseUrl='https://creativecommons.org/licenses/by-sa/4.0') | about
    info = dict(thumburl=f'https://upload.example/thumb/{i}.jpg', thumbwidth=1280, thumbheight=853,
                url=f'https://upload.example/original/{i}.jpg', width=6000, height=4000,
                descriptionurl=f'https://commons.example/wiki/File:Racket_{i}.jpg',
                descriptionshorturl=f'https://commons.example/w/index.php?curid={i}',
                extmetadata={k: dict(value=v, source='commons-desc-page') for k,v in about.items() if v is not None})
    return dict(pageid=i, ns=6, title=f'File:Racket {i}.jpg', index=i, imagerepository='local', imageinfo=[info])

def commons(request):
    "Three responses: fifty files, but only twenty with their metadata; then the metadata of the other thirty; then the next ten"
    def without_info(i): return {k: v for k,v in file(i).items() if k != 'imageinfo'}
    def files(whole, of): return dict(pages=[file(i) if i in whole else without_info(i) for i in reversed(of)])
    def on(**kw): return {'continue': kw}
    if 'iicontinue' in request.query:
        return dict(query=files(range(21, 51), range(1, 51))) | on(gsroffset=50, **{'continue': 'gsroffset||'})
    if 'gsroffset' in request.query:
        return dict(batchcomplete=True, query=files(range(51, 61), range(51, 61)))
    return dict(query=files(range(1, 21), range(1, 51))) | on(iicontinue='Racket_21.jpg|2020', **{'continue': '||imageinfo'})


def test_commons_continues(engine):
    web = engine('wikimedia', commons)
    got = found('wikimedia', without=['toy'])
    assert numbers(got) == list(range(1, 61))
    assert got[6] == Candidate('https://upload.example/thumb/7.jpg', 'https://commons.example/wiki/File:Racket_7.jpg', 'Racket 7', 'Ada',
                               'CC BY-SA 4.0', 'https://creativecommons.org/licenses/by-sa/4.0', 1280, 853)
    request = web.requests[0]
    assert request.path == '/w/api.php' and request.headers['User-Agent'].startswith('tellapart/')
    assert 'gzip' in request.headers['Accept-Encoding']
    assert request.query['gsrsearch'] == 'tennis racket -toy filetype:bitmap'
    assert request.query['gsrnamespace'] == '6' and request.query['iiurlwidth'] == '1280' and 'size' in request.query['iiprop'].split('|')


def test_filters_of_commons(engine):
    web = engine('wikimedia', lambda request: dict(batchcomplete=True))
    assert found('wikimedia', kind='clipart', size='large', licence='public') == found('wikimedia', licence='commercial') == []
    assert [o.query['gsrsearch'] for o in web.requests] == ['tennis racket filetype:drawing fileres:>1000 haslicense:unrestricted',
                                                         'tennis racket filetype:bitmap']


def test_an_error_in_a_successful_response(engine):
    error = dict(error=dict(code='ratelimited', info="You've exceeded your rate limit.", docref='See api.php'))
    answers = iter([error, (429, '<html>Too many requests', {})])
    web = engine('wikimedia', lambda request: next(answers, None) or dict(query=dict(pages=[file(1)])))
    assert numbers(found('wikimedia')) == [1]
    web.answer = lambda request: error
    with pytest.raises(SearchError, match=r"Wikimedia Commons can't be searched for 'tennis racket' \(ratelimited\)"): found('wikimedia')


def test_missing_metadata_of_commons(engine):
    small = file(3)
    del small['imageinfo'][0]['thumburl'], small['imageinfo'][0]['extmetadata']
    nobody = 'Unknown author<span style="display: none;">Unknown author</span>'
    files = [file(1, Artist=None, LicenseUrl=None, LicenseShortName='Public domain'), file(2, Artist=nobody), small]
    engine('wikimedia', lambda request: dict(query=dict(pages=files)))
    one,two,three = found('wikimedia')
    assert (one.creator, one.licence, one.licence_url, two.creator) == ('', 'Public domain', '', 'Unknown author')
    assert three.url == 'https://upload.example/original/3.jpg' and three.licence == '' and (three.width, three.height) == (6000, 4000)


# Tables, folders, and the demo web

def named(file): return SimpleNamespace(csv_file=file, labels=['squash', 'tennis'])

def table(folder, text, encoding='utf-8'):
    (folder/'photos.csv').write_bytes(text.encode(encoding))
    return named(folder/'photos.csv')

def exhaust(found):
    "The candidates of a source, and the sentences that it returns"
    candidates = []
    while True:
        try: candidates.append(next(found))
        except StopIteration as end:
            return candidates, end.value or []


def own(folder, split='group'): return SimpleNamespace(own_photos=folder, train=SimpleNamespace(split=split))


def test_a_table_of_jmd_imagescraper(web, tmp_path):
    from jmd_imagescraper.core import ImgSize, save_urls_to_csv
    for label in 'tennis', 'squash': save_urls_to_csv(tmp_path/'photos.csv', label, 'tennis racket', 10, ImgSize.Medium)
    p = named(tmp_path/'photos.csv')
    assert [o.url for o in SOURCES['csv'](None, p, 'tennis')] == [web.address(o) for o in list(web.truth.values())[:10]]


def test_credits_can_be_gathered_again(tmp_path):
    photo = dict(title='A racket, "new"', creator='Ada', licence='CC0', licence_url='https://cc/0', page='https://x/1',
                 url='https://x/1.jpg')
    row = photo | dict(file='tennis-1.jpg', label='tennis', origin='web')
    pd.DataFrame([row, row | dict(url='', origin='own')])[COLUMNS].to_csv(tmp_path/'CREDITS.csv', index=False, encoding='utf-8-sig')
    assert list(SOURCES['csv'](None, named(tmp_path/'CREDITS.csv'), 'tennis')) == [Candidate(**photo)]


def test_rows_without_a_photo_are_counted(tmp_path):
    rows = ['', 'https://x/1.jpg', 'https://x/2.jpg, Tennis ,more,and more', ',tennis', '"https://x/3\n.jpg",golf', '']
    p = table(tmp_path, '\r\n'.join(['URL,Label', *rows]), 'utf-8-sig')
    found,notes = exhaust(SOURCES['csv'](None, p, 'tennis'))
    assert [o.url for o in found] == ['https://x/2.jpg']
    assert notes == ['rows of photos.csv that were left out: 2 of other labels (none, golf), 1 without an address']
    found,notes = exhaust(SOURCES['csv'](None, p, 'squash'))
    assert not found and notes[0].endswith("has no row for 'squash'; its labels are Tennis, golf")


UNCLOSED = [('"https://x/2.jpg,tennis\n', 3, 4), ('https://x/2.jpg,tennis,"A racket\n', 3, 4),
            ('https://x/2.jpg,tennis,"A racket\nhttps://x/2b.jpg,tennis,"B"\n', 3, 2)]

@pytest.mark.parametrize('lost, at, n', UNCLOSED)
def test_lines_swallowed_by_an_unclosed_quote_are_counted(tmp_path, lost, at, n):
    rest = ''.join(f'https://x/{i}.jpg,tennis\n' for i in range(3, 6))
    found,notes = exhaust(SOURCES['csv'](None, table(tmp_path, 'URL,Label,Title\nhttps://x/1.jpg,tennis\n' + lost + rest), 'tennis'))
    assert notes == [f"rows of photos.csv that were left out: {n} from line {at} on, where a quote isn't closed"]
    assert len(found) + n == 1 + lost.count('\n') + 3


def test_columns_may_hold_whole_pages(tmp_path):
    page = 'x\n'*200_000
    p = table(tmp_path, f'URL,Label,Title\nhttps://x/1.jpg,tennis,"{page}"\nhttps://x/2.jpg,tennis\n')
    found,notes = exhaust(SOURCES['csv'](None, p, 'tennis'))
    assert numbers(found) == [1, 2] and not notes


def test_a_table_of_own_files(tmp_path):
    "Absolute and relative paths, as Linux, macOS and Windows write them, and `file:` URLs"
    (tmp_path/'mine'/'cafe\u0301').mkdir(parents=True)
    files = [tmp_path/'mine'/o for o in ('1.jpg', '2 #1?.jpg', 'cafe\u0301/3.jpg', '4%41.jpg')]
    for o in files: o.touch()
    one,two,three,four = files
    rows = [one, 'mine/1.jpg', 'mine\\1.jpg', './mine/../mine/1.jpg', one.as_uri(), f'file://localhost{one.as_uri()[7:]}',
            two, 'mine/2 #1?.jpg', two.as_uri(), 'Mine/Caf\u00e9/3.JPG', three.as_uri(), 'mine/4%41.jpg']
    p = table(tmp_path, 'URL,Label\n' + ''.join(f'{o},tennis\n' for o in rows))
    found,notes = exhaust(SOURCES['csv'](None, p, 'tennis'))
    assert [url_to_path(o.url).resolve() for o in found] == [one]*6 + [two]*3 + [three]*2 + [four] and not notes
    assert {o.origin for o in found} == {'own'} and all(o.url.isascii() for o in found)
    rows = ['C:\\photos\\a.jpg', 'none.jpg', 'HTTPS://x/1.jpg', 'data:image/png;base64', 'file://[x', 'a\0b']
    p = table(tmp_path, 'URL,Label\n' + ''.join(f'{o},tennis\n' for o in rows))
    assert [o.origin for o in SOURCES['csv'](None, p, 'tennis')][:3] == ['own', 'own', 'web']


@pytest.mark.parametrize('text, encoding, message', [
    ('url;label\nhttps://x/1.jpg;tennis\n', 'utf-8', 'has no column URL'), ('', 'utf-8', 'has no column URL'),
    ('URL,Name\n', 'utf-8', 'has no column Label'),
    ('URL,Label\nhttps://x/ü.jpg,tennis\n', 'latin-1', 'is no table in UTF-8'), ('URL,Label\n', 'utf-16', 'is no table in UTF-8'),
    ('URL,Label\nhttps://x/1.jpg,tennis\n"' + 'x'*2**24 + '"y', 'utf-8', r"can't be read beyond line 3 \(field larger than")])
def test_invalid_tables(tmp_path, text, encoding, message):
    with pytest.raises(TellapartError, match=message): list(SOURCES['csv'](None, table(tmp_path, text, encoding), 'tennis'))


def test_a_missing_table(tmp_path):
    p = named(tmp_path/'photos.csv')
    with pytest.raises(TellapartError, match="photos.csv can't be read"): list(SOURCES['csv'](None, p, 'tennis'))


def test_a_long_table_is_read_row_by_row(tmp_path):
    (tmp_path/'photos.csv').write_bytes(b'URL,Label\n' + b'https://x/1.jpg,tennis\n'*100_000 + b'\xff')
    first = SOURCES['csv'](None, named(tmp_path/'photos.csv'), 'tennis')
    assert next(first).url == 'https://x/1.jpg' # before its invalid end is read


@pytest.mark.skipif(os.name == 'nt', reason='making links takes rights on Windows')
def test_a_folder_with_loops_and_pipes(tmp_path):
    label = tmp_path/'tennis'
    (label/'mine').mkdir(parents=True)
    for o in 'a.jpg', 'mine/b.JPG', 'mine/photo.jpg?v=1', 'notes.md', 'film.mp4': (label/o).touch()
    (label/'loop').symlink_to(tmp_path)
    (label/'mine'/'back').symlink_to(label)
    (label/'gone.jpg').symlink_to(tmp_path/'nowhere')
    os.mkfifo(label/'pipe.jpg')
    got = [(o.url.rpartition('/')[2], o.object_id, o.origin) for o in SOURCES['folder'](None, own(tmp_path), 'tennis')]
    assert got == [('a.jpg', '', 'own'), ('b.JPG', 'mine', 'own'), ('photo.jpg%3Fv%3D1', 'mine', 'own')]
    _,notes = exhaust(SOURCES['folder'](None, own(tmp_path), 'tennis'))
    assert notes == [f'skipped in {label}: 2 linked folder(s) (loop, back), 1 broken link(s) (gone.jpg)']


def test_thumbnails_of_photo_servers_are_skipped(tmp_path):
    for o in '@eaDir', '.thumbnails', '.picasaoriginals', '#recycle', '__MACOSX', 'album':
        (tmp_path/'tennis'/o).mkdir(parents=True)
        (tmp_path/'tennis'/o/'a.jpg').touch()
    assert [o.object_id for o in SOURCES['folder'](None, own(tmp_path), 'tennis')] == ['album']


def test_photos_with_another_suffix_are_reported(tmp_path):
    (tmp_path/'tennis').mkdir()
    files = {'photo.bin': b'\xff\xd8\xff\xe0', 'b.txt': b'\x89PNG\r\n', 'notes.txt': b'bought in May', 'film.mp4': b'\0\0\0 ftypisom'}
    for name,start in files.items(): (tmp_path/'tennis'/name).write_bytes(start)
    notes = [f"skipped in {tmp_path/'tennis'}: 2 photo(s) with another suffix (b.txt, photo.bin)"]
    assert exhaust(SOURCES['folder'](None, own(tmp_path), 'tennis')) == ([], notes)


NFC,NFD = 'caf\u00e9 cat', 'cafe\u0301 cat'

@pytest.mark.parametrize('label, there', [(NFC, NFD), (NFD, NFC), (NFC, NFC.upper())])
def test_a_label_is_found_in_any_case_and_unicode_form(tmp_path, label, there):
    (tmp_path/there).mkdir()
    (tmp_path/there/'a.jpg').touch()
    assert len(list(SOURCES['folder'](None, own(tmp_path), label))) == 1
    (tmp_path/'Train').mkdir()
    (tmp_path/there).rename(tmp_path/'Train'/there)
    assert len(list(SOURCES['folder'](None, own(tmp_path, 'folder'), label))) == 1
    p = table(tmp_path, f'URL,Label\nhttps://x/1.jpg,{there}\n')
    p.labels = [label, 'dog']
    found,notes = exhaust(SOURCES['csv'](None, p, label))
    assert numbers(found) == [1] and not notes


def test_a_missing_folder_is_reported_with_those_that_are_there(tmp_path):
    for o in 'tennis rackets', 'squash', '.git': (tmp_path/o).mkdir()
    message = ("There is no folder .*tennis racket; make it and put photos of 'tennis racket' into it, "
               "or rename one of these folders: tennis rackets.")
    with pytest.raises(TellapartError, match=message): list(SOURCES['folder'](None, own(tmp_path), 'tennis racket'))


@pytest.mark.skipif(os.name == 'nt', reason="Windows' names are text")
def test_file_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b'caf\xe9')
    (tmp_path/'tennis'/name).mkdir(parents=True)
    (file := tmp_path/'tennis'/name/f'{name} #?%.jpg').touch()
    o, = SOURCES['folder'](None, own(tmp_path), 'tennis')
    assert o.url.isascii() and url_to_path(o.url) == file and o.object_id == r'caf\udce9'


def test_a_label_may_be_a_link_to_a_folder(tmp_path):
    (tmp_path/'elsewhere').mkdir()
    (tmp_path/'elsewhere'/'a.jpg').touch()
    try: (tmp_path/'tennis').symlink_to(tmp_path/'elsewhere', target_is_directory=True)
    except OSError: pytest.skip('making links takes rights on Windows')
    assert len(list(SOURCES['folder'](None, own(tmp_path), 'tennis'))) == 1


def test_a_demo_web_in_another_process(demo_web, tmp_path):
    def read(settings):
        (file := tmp_path/'tellapart.toml').write_text(f'name = "rackets"\nper_label = 80\n{settings}'
                                                       '[labels]\nsquash = "squash racket"\ntennis = "tennis racket"\n')
        return read_project(file, demo_web=demo_web.url)
    def candidates(p): return list(SOURCES['demo']('tennis racket', p, 'tennis'))
    got = candidates(p := read(''))
    hosts = demo.demo_hosts(demo.demo_web(p))
    assert len(got) == len(demo_web.truth) and all(o.origin == 'demo' for o in got)
    for o,truth in zip(got, demo_web.truth.values()):
        host,_,path = o.url.removeprefix('http://').partition('/')
        assert f'http://127.0.0.1:{hosts[host, 80][1]}/{path}' == demo_web.address(truth) and (o.width, o.height) == truth.size
    assert [o.title for o in candidates(read('search.without = ["1"]\n'))] == [o.title for o in got[1:]]


def test_the_demo_web_has_enough_for_the_largest_target():
    p = Project(name='x', labels=dict(a={'red': 60, 'blue': 4}, b='green'), source='demo', per_label=5)
    assert len(list(SOURCES['demo']('red', p, 'a'))) > 60 # enough even after all faults
