"What all of the server's own handlers share: errors in words, limits on requests, and no requests from other sites"
import json, time, traceback
from collections import OrderedDict
from http.client import responses
from ipaddress import ip_address
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit
from tornado.httputil import HTTPServerRequest
from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler

PER_MINUTE = 300 # photos that one address may send
_ADDRESSES = 10_000 # that are remembered


class RateLimit:
    "How many photos each address may still send: `per_minute` at once, and then as many each minute"
    def __init__(self, per_minute:int=PER_MINUTE): self.per_minute,self._left = per_minute,OrderedDict() # address → (photos, when)

    def take(self,
        address:str, # That photos come from
        n:int, # How many
    )->float: # Seconds to wait, or 0 if the photos may be sent
        "Count `n` photos from an address, unless there are too many"
        n,now = min(n, self.per_minute),time.monotonic() # else a request of more would wait for ever
        left,then = self._left.pop(address, (self.per_minute, now))
        left = min(self.per_minute, left + (now - then)*self.per_minute/60)
        wait = max(0, n - left)*60/self.per_minute
        self._left[address] = (left if wait else left - n), now
        if len(self._left) > _ADDRESSES: self._left.popitem(last=False)
        return wait


def client_address(
    request:HTTPServerRequest, # As it came
)->str: # An IP address
    "Who sent a request: behind a proxy, such as a host's router, the address that it says, and not its own"
    forwarded = request.headers.get('X-Forwarded-For', '').rpartition(',')[2].strip()
    own = request.remote_ip or ''
    return forwarded if forwarded and own and ip_address(own).is_private else own


class Refused(HTTPError):
    "An answer other than 200, with the sentence that says why"
    def __init__(self, status:int, sentence:str, **headers:Any):
        super().__init__(status, reason=responses.get(status, 'Error'))
        self.sentence,self.headers = sentence,headers


def is_cross_site(request:HTTPServerRequest)->bool:
    "Whether a browser sends `request` for a page of another site"
    origin = request.headers.get('Origin')
    if origin:
        return urlsplit(origin).netloc.lower() != request.host.lower()
    return request.headers.get('Sec-Fetch-Site', 'none') not in ('same-origin', 'none')


class Handler(RequestHandler):
    "Answers with JSON, also where something is wrong"
    number = '' # of an error that isn't the request's fault, by which the log has it

    def log_exception(self, typ, value, tb):
        if not isinstance(value, HTTPError):
            self.number = token_hex(3)
            app_log.error("Error %s: %s", self.number, self.request.uri, exc_info=(typ, value, tb))

    def write_error(self, status_code:int, **kwargs:Any):
        error = kwargs.get('exc_info', (None, None))[1]
        sentence = f"{responses.get(status_code, 'Error')}: see /api for what can be asked."
        if isinstance(error, Refused):
            sentence = error.sentence
            for k,v in error.headers.items(): self.set_header(k.replace('_', '-'), v)
        elif self.number and self.settings.get('show_errors'): sentence = ''.join(traceback.format_exception(error))
        elif self.number: sentence = f"Something went wrong here; whoever runs this app finds it in the log under the number {self.number}."
        self.finish(dict(error=sentence))

    def write_json(self, value:object):
        "Answer with `value`, with characters of all scripts as they are"
        self.set_header('Content-Type', 'application/json; charset=utf-8')
        self.finish(json.dumps(value, ensure_ascii=False))
