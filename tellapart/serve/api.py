"The JSON API: photos in, predictions out"
import base64, binascii, json, re
from collections.abc import Awaitable, Callable
from math import ceil
from tornado.httputil import HTTPInputError, HTTPServerRequest, parse_body_arguments
from tornado.web import stream_request_body
from tellapart import __version__
from tellapart.errors import TellapartError
from tellapart.images import to_data_url
from tellapart.pages import render
from tellapart.use.app import title
from tellapart.use.classify import to_dict
from .requests import Handler, RateLimit, Refused, client_address, is_cross_site
from .shared_classifier import Busy, SharedClassifier

MOST_PHOTOS = 32 # of one request
MOST_BYTES = 64*2**20 # of one request: one photo of the largest that is allowed, as a data URL nearly two thirds of that
_BODY_TIMEOUT = 120 # seconds that a request may take to arrive
_DATA_URL = re.compile(r'data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=[^;,]*)*;base64,(.*)', re.S | re.A)


def _from_json(body:bytes)->list[tuple[str, bytes]]:
    "Names and content of the photos in a request of JSON"
    example = 'send {"photos": ["data:image/jpeg;base64,..."]}.'
    try: given = json.loads(body)
    except (ValueError, RecursionError): raise Refused(422, f"The request isn't valid JSON: {example}") from None
    photos = given.get('photos') if isinstance(given, dict) else None
    if not isinstance(photos, list): raise Refused(422, f"The request has no list called photos: {example}")
    return [(f'photo {i+1}', data_url_content(o, f'Photo {i+1}')) for i,o in enumerate(photos)]


def data_url_content(
    url:object, # As it came in JSON
    name:str, # How an error names it
)->bytes: # Raises `Refused`
    "The content of a data URL"
    found = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if not found: raise Refused(422, f"{name} isn't a data URL: send data:image/jpeg;base64, and then the file in base64.")
    try:
        return base64.b64decode(found[1], validate=True)
    except (binascii.Error, ValueError): raise Refused(422, f"{name} isn't valid base64: encode the whole file.") from None


def _from_form(content_type:str, body:bytes)->list[tuple[str, bytes]]:
    "Names and content of the files in a form"
    files:dict = {}
    try: parse_body_arguments(content_type, body, {}, files)
    except HTTPInputError: files = {}
    return [(o.filename, o.body) for field in files.values() for o in field]


def request_photos(
    request:HTTPServerRequest, # For its content type
    body:bytes, # What it sent
)->list[tuple[str, bytes]]: # Names and content. Raises `Refused`
    "The photos in a request"
    content_type = request.headers.get('Content-Type', '')
    match content_type.partition(';')[0].strip().lower():
        case 'application/json': photos = _from_json(body)
        case 'multipart/form-data': photos = _from_form(content_type, body)
        case _: raise Refused(415, "The request is of another type: send a form (multipart/form-data) with files, or application/json.")
    if not photos: raise Refused(422, "The request has no photos: send one file or several.")
    if len(photos) > MOST_PHOTOS:
        raise Refused(422, f"The request has {len(photos):,} photos, more than {MOST_PHOTOS}: send fewer at a time.")
    return photos


@stream_request_body
class _Photos(Handler):
    "Answers for the photos in a request"
    answer:Callable[[list[str], list[bytes]], Awaitable[dict]] # to names and photos

    # Why it isn't answered, which is said when it has been read: a connection that is closed before may lose the answer
    refusal:Refused|None = None

    def initialize(self, shared:SharedClassifier, rates:RateLimit): self.shared,self.rates,self.body = shared,rates,bytearray()

    def prepare(self):
        "Refuse what needn't be read"
        if self.request.method != 'POST':
            return
        self.request.connection.set_body_timeout(_BODY_TIMEOUT)
        self.request.connection.set_max_body_size(2*MOST_BYTES) # so that we say that it's too large, and not Tornado
        if is_cross_site(self.request):
            self.refusal = Refused(403, "A page of another site can't send photos here: ask from a program, or from this site.")
        self._check_size(int(self.request.headers.get('Content-Length') or 0))

    def _check_size(self, size:int):
        if size > MOST_BYTES:
            raise Refused(413, f"The request has more than {MOST_BYTES//2**20} MB: send smaller photos, or fewer at a time.",
                          Connection='close')

    def data_received(self, chunk:bytes):
        self._check_size(len(self.body) + len(chunk))
        self.body += chunk

    async def post(self):
        if self.refusal: raise self.refusal
        names,photos = map(list, zip(*request_photos(self.request, bytes(self.body))))
        if wait := self.rates.take(client_address(self.request), len(photos)):
            raise Refused(429, f"Too many photos from this address: try again in {ceil(wait)} seconds.", Retry_After=ceil(wait))
        try: self.write_json(await self.answer(names, photos))
        except Busy: raise Refused(503, "Many others are asking: try again in a few seconds.", Retry_After=2) from None


class Classify(_Photos):
    "`POST /api/classify`"
    async def answer(self, names, photos):
        return dict(predictions=[to_dict(name, o) for name,o in zip(names, await self.shared.predictions(photos))])


class Explain(_Photos):
    "`POST /api/explain`"
    async def answer(self, names, photos):
        if len(photos) > 1: raise Refused(422, f"The request has {len(photos)} photos: send one at a time.")
        try: picture = await self.shared.explanation(photos[0])
        except TellapartError as e: raise Refused(422, str(e)) from None
        return dict(picture=to_data_url(picture, 640, 85))


class Document(Handler):
    "`GET /api`: a page for a person in a browser, and OpenAPI for a program"
    def initialize(self, shared:SharedClassifier): self.classify = shared.classify

    def get(self):
        document = openapi(self.classify.labels)
        if 'text/html' not in self.request.headers.get('Accept', ''):
            return self.write_json(document)
        url = f'{self.request.protocol}://{self.request.host}/api/classify'
        self.finish(render('api.html', title=title(self.classify.labels), url=url, labels=self.classify.labels, most=MOST_PHOTOS,
                           megabytes=MOST_BYTES//2**20))


def _strings(description:str)->dict: return dict(type='array', items=dict(type='string'), description=description)


def openapi(
    labels:list[str], # That the export tells apart
)->dict: # OpenAPI 3.1
    "The description of the API, for programs"
    pair = dict(type='array', prefixItems=[dict(type='string'), dict(type='number')], minItems=2, maxItems=2)
    prediction = dict(
        photo=dict(type='string', description="The file's name"),
        label={'type': ['string', 'null'], 'enum': [*labels, None], 'description': 'The likeliest; null for a file that is no photo'},
        probability=dict(type='number', minimum=0, maximum=1, description='Of that label, calibrated'),
        confident=dict(type='boolean', description='Whether the model is confident, and the photo like those that it was trained on'),
        labels=_strings('The prediction set: it holds the right label for 95 % of photos like the validated ones'),
        either=dict(type='string', description="Two or three labels that it hesitates between, such as 'badminton or squash'"),
        ranked=dict(type='array', items=pair, description='All labels with their probabilities, likeliest first'),
        reason=dict(type='string', description="Why it isn't confident, or why there is no label"),
        notes=_strings('What is odd about the file'))
    def body(schema): return {'application/json': dict(schema=schema)}
    file = dict(type='string', contentMediaType='application/octet-stream')
    files = dict(type='array', items=file, minItems=1)
    urls = dict(type='array', items=dict(type='string', pattern='^data:image/[a-z]+;base64,([A-Za-z0-9+/]{4})+$'), minItems=1)
    wrong = {'403': 'Sent by a page of another site', '413': 'Too large', '415': 'Neither a form nor JSON',
             '422': 'Without photos that can be used, or with too many', '429': 'Too many photos from this address',
             '503': 'Too many photos at once'}
    def of(**properties): return dict(type='object', properties=properties, required=list(properties))
    def post(name, summary, most, description, found):
        form,json = of(photo=files | dict(maxItems=most)),of(photos=urls | dict(maxItems=most))
        photos = {'multipart/form-data': dict(schema=form)} | body(json)
        errors = {k: dict(description=v, content=body({'$ref': '#/components/schemas/Error'})) for k,v in wrong.items()}
        return dict(post=dict(summary=summary, operationId=name, requestBody=dict(required=True, content=photos),
                              responses={'200': dict(description=description, content=body(found))} | errors))
    predictions = of(predictions=dict(type='array', items={'$ref': '#/components/schemas/Prediction'}))
    picture = of(picture=dict(type='string', description='A data URL'))
    classify = post('classify', 'Classify photos', MOST_PHOTOS, 'A prediction for each photo, in their order', predictions)
    darkened = "The photo, darkened where the prediction doesn't rest on it"
    explain = post('explain', 'Show what a prediction rests on', 1, darkened, picture)
    return dict(
        openapi='3.1.0', info=dict(title=title(labels), version=__version__),
        paths={'/api/classify': classify, '/api/explain': explain},
        components=dict(schemas=dict(
            Prediction=dict(type='object', properties=prediction, required=list(prediction), additionalProperties=False),
            Error=dict(type='object', properties=dict(error=dict(type='string')), required=['error']))))
