"Arbitrary tables, responses of search engines and file names: a source yields valid candidates, or ends with a sentence"
import json, os, tempfile
from pathlib import Path
from types import SimpleNamespace
import pytest
from hypothesis import example, given, strategies as st
from fuzzing import fuzz
from proxy import Proxy
from test_sources import HOSTS, Engine, commons, exhaust, file, hit, work
from tellapart.errors import TellapartError
from tellapart.gather.sources import base
from tellapart.project import Project
from tellapart.gather.sources import SOURCES
from tellapart.paths import url_to_path, safe_name, find_path

P = Project(name='x', labels=dict(cat='cat', dog='dog'), timeout=5, search=dict(without=['toy']))


TEXT = 'url','page','title','creator','licence','licence_url','object_id'

def assert_valid(candidates):
    "Check types and values of candidates"
    for o in candidates:
        assert o.url and all(isinstance(getattr(o, k), str) and getattr(o, k).encode() is not None for k in TEXT), o
        assert o.origin in ('web', 'own') and all(type(k) is int and k >= 0 for k in (o.width, o.height)), o
        if o.origin == 'own': assert o.url.isascii() and url_to_path(o.url).is_absolute()


def read(found):
    "Up to 300 candidates of a source, and the sentences that it returns or fails with"
    got = []
    try:
        for _ in range(300): got.append(next(found)) # noqa: PERF401 (what it returns comes with StopIteration)
    except StopIteration as end:
        return got, end.value or []
    except TellapartError as e:
        return got, [str(e)]
    return got, []


def assert_one_line(sentences): assert all(o and len(o) < 2000 and o.isprintable() for o in sentences), sentences


# Tables

CELLS = ['cat', 'Cat', 'dog', 'cow', '', 'https://x/1.jpg', '/a/b.jpg', r'C:\b.jpg', 'a/b.jpg', 'file:///a%20b.jpg', 'file://[x',
         '"', '"a', 'a"b', '""', '\0']
HEADS = ['URL,Label', 'url, LABEL ,title,width', '\ufefflabel,URL,object_id', 'URL,Label,URL', '"URL",Label', 'URL,Label,Thing,object_id']
CELL = st.one_of(st.sampled_from(CELLS), st.text(max_size=20))
ROW = st.lists(CELL, max_size=5).map(','.join)
TABLE = st.builds(lambda head, rows, end: (head + end + end.join(rows)).encode('utf-8', 'surrogatepass'),
                  st.sampled_from(HEADS), st.lists(ROW, max_size=12), st.sampled_from(['\n', '\r\n', '\r', '\n\n']))

@fuzz
@given(st.one_of(TABLE, st.binary(max_size=200)))
@example(b'URL,Label\nfile://[x,cat\n')
@example(b'URL,Label\na\0b,cat\n')
def test_fuzz_csv(data):
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder)/'photos.csv').write_bytes(data)
        for label in P.labels:
            got,notes = read(SOURCES['csv'](None, SimpleNamespace(csv_file=file, labels=P.labels), label))
            assert_valid(got)
            assert_one_line(notes)


@fuzz
@given(st.lists(st.tuples(st.text(st.characters(codec='utf-8', exclude_characters='\0\r\n'), min_size=1, max_size=30),
                          st.sampled_from(['cat', 'dog', 'cow'])), max_size=20))
@example([(' ', 'cat')])
def test_fuzz_every_row_of_a_table_is_read(rows):
    import csv
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'photos.csv'
        with file.open('w', newline='', encoding='utf-8') as f: csv.writer(f).writerows([('URL', 'Label'), *rows])
        got,notes = exhaust(SOURCES['csv'](None, SimpleNamespace(csv_file=file, labels=P.labels), 'cat'))
        assert len(got) == sum(label == 'cat' and bool(url.strip()) for url,label in rows), notes
        assert any('of other labels' in o for o in notes) == any(label == 'cow' and url.strip() for url,label in rows)


# Search engines

@pytest.fixture(scope='module', autouse=True)
def engines(tmp_path_factory):
    "One engine that replaces all real ones; its answer is in `ANSWER`"
    with pytest.MonkeyPatch.context() as patch, Engine(lambda request: ANSWER[0](request)) as engine, \
         Proxy(dict.fromkeys(HOSTS.values(), engine.server_address), tmp_path_factory.mktemp('proxy')) as proxy:
        for name in ('NO_PROXY', 'no_proxy', 'ALL_PROXY', 'all_proxy', 'https_proxy'): patch.delenv(name, raising=False)
        patch.setenv('HTTPS_PROXY', proxy.url)
        patch.setenv('SSL_CERT_FILE', str(proxy.ca))
        patch.setattr(base, 'RETRY_PAUSES', ())
        yield

ANSWER = [None]
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10),
                   st.sampled_from(['http://x/1.jpg', '\ud83c', '<b>']))
JSON = st.recursive(SCALAR, lambda o: st.lists(o, max_size=3) | st.dictionaries(st.text(max_size=5), o, max_size=3), max_leaves=8)


@st.composite
def mutated(draw, answer):
    "`answer` with some of its values replaced"
    answer = json.loads(json.dumps(answer))
    for _ in range(draw(st.integers(1, 4))):
        at = answer
        while True:
            key = draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
            if isinstance(at[key], (dict, list)) and at[key] and draw(st.booleans()): at = at[key]
            else: break
        at[key] = draw(JSON)
    return answer


def test_a_lone_surrogate_in_the_parameters_of_the_next_page():
    ANSWER[0] = lambda request: dict(query=dict(pages=[file(1)])) | {'continue': dict(gsroffset='\ud83c')}
    got,notes = read(SOURCES['wikimedia']('cat', P, 'cat'))
    assert len(got) == 1 and notes[0].startswith("Wikimedia Commons can't be searched for 'cat' (unreadable response)")


GOOD = dict(duckduckgo=dict(results=[hit(i, width=640, height=480) for i in range(2)]), wikimedia=commons(SimpleNamespace(query={})),
            openverse=dict(result_count=2, page_count=1, page_size=20, page=1, results=[work(i) for i in range(2)]))

@fuzz
@given(st.data(), st.sampled_from(sorted(GOOD)))
def test_fuzz_responses(data, name):
    "The first response is malformed, the next ones are empty"
    malformed = json.dumps(data.draw(mutated(GOOD[name]) | JSON))
    status,headers = data.draw(st.sampled_from([(200, {}), (429, {'Retry-After': '²'}), (503, {'Retry-After': '9'*5000}),
                                                (200, {'Content-Type': 'text/html; charset=no-such'})]))
    answers = iter([(status, malformed, headers)])
    ANSWER[0] = lambda request: 'vqd="4-1"' if name == 'duckduckgo' and request.path == '/' else next(answers, '{}')
    got,notes = read(SOURCES[name]('cat', P, 'cat'))
    assert_valid(got)
    assert_one_line(notes)


# Names

NAME = st.one_of(st.binary(min_size=1, max_size=40).map(os.fsdecode), st.text(st.characters(codec='utf-8'), min_size=1, max_size=40))
NAME = NAME.filter(lambda o: not {'/', '\0'} & set(o) and o not in ('.', '..'))

@pytest.mark.skipif(os.name == 'nt', reason="Windows' names are text")
@fuzz
@given(NAME)
def test_fuzz_file_urls(name):
    file = Path('/photos')/name
    assert url_to_path(file.as_uri()) == file and file.as_uri().isascii()


@pytest.mark.skipif(os.name == 'nt', reason="Windows' names are text")
@fuzz
@given(NAME)
def test_fuzz_file_names(name):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)/'cat'/safe_name(name)
        place.mkdir(parents=True)
        try: (file := place/name).touch()
        except OSError:
            return # too long, or this system refuses it
        p = SimpleNamespace(own_photos=Path(folder), train=SimpleNamespace(split='group'))
        got,notes = exhaust(SOURCES['folder'](None, p, 'cat'))
        assert_valid(got)
        assert_one_line(notes)
        assert [url_to_path(o.url) for o in got] in ([file], []) and find_path(file) == file
