"The JSON API of a running server: what programs send, and what they shouldn't"
import base64
import httpx, pytest, schemathesis
from concurrent.futures import ThreadPoolExecutor
from exports import FORMAT_4, draw_photos
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from tellapart.use.classifier import Classifier
from tellapart.use.classify import to_dict

pytestmark = pytest.mark.long # starts servers


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for o in 'squash', 'tennis': draw_photos(folder/o, 4)
    return sorted(folder.glob('*/*'))


def data_url(photo): return f'data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}'
def ask(server, what='classify', **kw): return httpx.post(f'{server}/api/{what}', timeout=60, **kw)


def test_the_classifiers_predictions(server, photos):
    "Files in a form and data URLs in JSON get what a `Classifier` says, in their order"
    expected = list(map(Classifier(FORMAT_4), photos))
    by_form = ask(server, files=[('photo', (o.name, o.read_bytes())) for o in photos])
    by_json = ask(server, json=dict(photos=[data_url(o) for o in photos]))
    for found in by_form, by_json:
        assert found.status_code == 200 and found.headers['content-type'] == 'application/json; charset=utf-8'
        for row,prediction in zip(found.json()['predictions'], expected, strict=True):
            want = to_dict('', prediction)
            assert row['label'] == want['label'] and row['confident'] == want['confident'] and row['labels'] == want['labels']
            assert row['probability'] == pytest.approx(want['probability'], abs=1e-3)
    assert [o['photo'] for o in by_form.json()['predictions']] == [o.name for o in photos]


def test_what_is_no_photo_has_a_reason(server, photos):
    found = ask(server, files=[('photo', ('notes.txt', b'strings, grip tape')), ('photo', ('Schläger.png', photos[0].read_bytes()))])
    none,photo = found.json()['predictions']
    assert none['label'] is None and 'no photo' in none['reason'] and none['photo'] == 'notes.txt'
    assert photo['label'] and photo['photo'] == 'Schläger.png'


@pytest.mark.parametrize('request_,status,sentence', [
    (dict(content=b'\xff\xd8', headers={'Content-Type': 'image/jpeg'}), 415, "is of another type"),
    (dict(content=b'{"photos": [', headers={'Content-Type': 'application/json'}), 422, "isn't valid JSON"),
    (dict(content=b'['*100_000, headers={'Content-Type': 'application/json'}), 422, "isn't valid JSON"),
    (dict(json=dict(photos=[])), 422, "has no photos"),
    (dict(json=dict(photos='data:')), 422, "has no list called photos"),
    (dict(json=['data:image/png;base64,aaaa']), 422, "has no list called photos"),
    (dict(json=dict(photos=['https://example.com/photo.jpg'])), 422, "Photo 1 isn't a data URL"),
    (dict(json=dict(photos=['data:image/png;base64,????'])), 422, "Photo 1 isn't valid base64"),
    (dict(json=dict(photos=['data:image/png;base64,aaaa']*33)), 422, "33 photos, more than 32"),
    (dict(data=dict(photo='text')), 415, "is of another type"),
    (dict(content=b'--x\r\nnonsense', headers={'Content-Type': 'multipart/form-data; boundary=x'}), 422, "has no photos"),
    (dict(content=b'nonsense', headers={'Content-Type': 'multipart/form-data'}), 422, "has no photos"),
    (dict(content=bytes(65*2**20), headers={'Content-Type': 'application/json'}), 413, "more than 64 MB"),
    (dict(files=dict(photo=b'x'), headers={'Origin': 'https://elsewhere.example'}), 403, "of another site"),
    (dict(files=dict(photo=b'x'), headers={'Sec-Fetch-Site': 'cross-site'}), 403, "of another site"),
], ids=lambda o: str(o) if isinstance(o, int) else '')
def test_errors_are_sentences(server, request_, status, sentence):
    found = ask(server, **request_)
    assert found.status_code == status and sentence in found.json()['error'] and '\n' not in found.json()['error']


def test_a_body_without_a_length_is_limited_too(server):
    def chunks():
        for _ in range(70): yield bytes(2**20)
    try: found = ask(server, content=chunks(), headers={'Content-Type': 'application/json'})
    except httpx.TransportError: pass # the server has answered and closed the connection while we were still sending
    else: assert found.status_code == 413
    assert httpx.get(f'{server}/healthz').text == 'ok'


def test_what_it_looks_at(server, photos):
    "A picture as a data URL; a sentence where there is none"
    found = ask(server, 'explain', files=dict(photo=photos[0].read_bytes()))
    assert found.status_code == 200 and found.json()['picture'].startswith('data:image/jpeg;base64,')
    none = ask(server, 'explain', files=dict(photo=b'strings, grip tape'))
    assert none.status_code == 422 and 'no photo' in none.json()['error']
    assert ask(server, 'explain', files=[('photo', o.read_bytes()) for o in photos]).status_code == 422


def test_it_describes_itself(server):
    "A program gets OpenAPI, a browser a page"
    document = httpx.get(f'{server}/api').json()
    assert document['openapi'].startswith('3.1') and '/api/classify' in document['paths']
    page = httpx.get(f'{server}/api', headers={'Accept': 'text/html,*/*;q=0.8'})
    assert 'curl -F photo=@photo.jpg' in page.text and page.headers['content-type'].startswith('text/html')


def test_headers(server):
    for path in '', 'healthz', 'api', 'voila/static/favicon.ico', 'nothing':
        found = httpx.get(f'{server}/{path}', timeout=60)
        assert found.headers['x-content-type-options'] == 'nosniff' and 'server' not in found.headers
    assert 'Disallow: /' in httpx.get(f'{server}/robots.txt').text
    assert httpx.get(f'{server}/api', headers={'Accept-Encoding': 'gzip'}).headers['content-encoding'] == 'gzip'


def test_floods_are_limited(server, photos):
    "One address gets so many a minute, and is told when to try again; more at once than can wait are refused; then all is as before"
    small = dict(files=[('photo', (f'{i}', b'none')) for i in range(32)])
    with ThreadPoolExecutor(16) as pool: found = list(pool.map(lambda _: ask(server, **small), range(24)))
    assert {o.status_code for o in found} <= {200, 429, 503} and 429 in {o.status_code for o in found}
    for o in found:
        if o.status_code != 200: assert int(o.headers['retry-after']) > 0 and 'try again' in o.json()['error']
    assert httpx.get(f'{server}/healthz').text == 'ok'


def test_it_does_what_its_document_says(server):
    "Requests made up from the document, valid and invalid ones, get only answers that it announces"
    schema = schemathesis.openapi.from_url(f'{server}/api')
    operations = [o.ok() for o in schema.get_all_operations()]
    assert {o.label for o in operations} == {'POST /api/classify', 'POST /api/explain'}
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            @settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                # By the schema, bytes that are no photo are valid; in a form, all that is sent is bytes.
                form = case.media_type == 'multipart/form-data'
                case.call_and_validate(excluded_checks=[positive_data_acceptance, *([negative_data_rejection] if form else [])])
            check()
