"`POST /api/feedback`: what visitors say about predictions, and photos that they let us keep"
import asyncio, io, json
from math import ceil
from tellapart.errors import TellapartError
from tellapart.images import Limits, open_photo, shrink
from tellapart.use.feedback import NONE, RIGHT, FeedbackStore
from .api import data_url_content
from .requests import Handler, RateLimit, Refused, client_address, is_cross_site

ANSWERS_PER_MINUTE = 60 # answers of one address
_SIDE = 640 # pixels of the short side of a photo that is kept, as the app sends it


def _photo_to_keep(url:object, limits:Limits)->bytes:
    "A photo encoded anew from its pixels, so that nothing else of the file is kept"
    try: photo = shrink(open_photo(data_url_content(url, 'The photo'), _SIDE, limits), _SIDE)
    except TellapartError as e: raise Refused(422, str(e)) from None
    photo.save(f := io.BytesIO(), 'JPEG', quality=90)
    return f.getvalue()


class Answers(Handler):
    "Takes an answer, as `{\"label\": what was shown, \"answer\": ..., \"photo\": a data URL, with consent}`"
    def initialize(self, store:FeedbackStore, labels:list[str], limits:Limits, rates:RateLimit):
        self.store,self.labels,self.limits,self.rates = store,labels,limits,rates

    async def post(self):
        if is_cross_site(self.request): raise Refused(403, "A page of another site can't answer here.")
        if wait := self.rates.take(client_address(self.request), 1):
            raise Refused(429, f"Too many answers from this address: try again in {ceil(wait)} seconds.", Retry_After=ceil(wait))
        try: given = json.loads(self.request.body)
        except (ValueError, RecursionError): given = None
        match given:
            case {'label': str(label), 'answer': str(answer)} if label in self.labels and answer in (RIGHT, NONE, *self.labels): pass
            case _: raise Refused(422, f"The request isn't an answer: send a label, and as answer {RIGHT!r}, {NONE!r}, or the right label.")
        loop,url = asyncio.get_running_loop(),given.get('photo')
        photo = await loop.run_in_executor(None, _photo_to_keep, url, self.limits) if url else None
        id = await loop.run_in_executor(None, self.store.add, label, answer, photo)
        self.write_json(dict(id=id))
