"A password for a class or a family: a page asks for it once, and a cookie remembers"
import getpass, inspect, os, sys
from hashlib import sha256
from math import ceil
from jupyter_server.auth.security import passwd, passwd_check
from tornado.web import RequestHandler
from tellapart.errors import TellapartError
from tellapart.pages import render
from .requests import Handler, RateLimit, Refused, client_address, is_cross_site

VARIABLE = 'TELLAPART_PASSWORD_HASH' # in the environment of a server that can't ask
COOKIE = 'tellapart'
_DAYS = 30
TRIES = 10 # of an address in a minute
_PUBLIC = 'Login', 'Health', 'Robots', 'Static' # handlers that ask for no password


def password_hash(
    ask:bool, # Ask for a password in the terminal
)->str: # '' for no password. Raises `TellapartError` where it can't ask
    "The hash of the app's password"
    if not ask:
        return os.environ.get(VARIABLE, '')
    if not sys.stdin.isatty(): raise TellapartError(f"There is no terminal to ask for a password in: set {VARIABLE} to its hash instead.")
    password = getpass.getpass("Password for visitors: ")
    if not password: raise TellapartError("The password is empty: choose one, or leave out --password.")
    print(f"On a host, set {VARIABLE} to {(hashed := passwd(password))!r}")
    return hashed


def cookie_secret(
    hashed:str, # From `password_hash`
)->bytes:
    "A secret that lasts while the password does, so that visitors stay logged in when the server starts again"
    return sha256(f'tellapart {hashed}'.encode()).digest()


class Login(Handler):
    "`GET` and `POST /login`"
    def initialize(self, hashed:str, tries:RateLimit): self.hashed,self.tries = hashed,tries

    def get(self): self._show('')

    def _show(self, wrong:str, status:int=200):
        self.set_status(status)
        self.set_header('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'")
        self.set_header('Cache-Control', 'no-store')
        self.finish(render('login.html', wrong=wrong))

    def post(self):
        if is_cross_site(self.request): raise Refused(403, "A page of another site can't log in here.")
        if wait := self.tries.take(client_address(self.request), 1):
            return self._show(f"Too many tries: wait {ceil(wait)} seconds.", 429)
        if not passwd_check(self.hashed, self.get_body_argument('password', '')):
            return self._show("That isn't the password: try again.", 403)
        self.set_signed_cookie(COOKIE, 'in', expires_days=_DAYS, httponly=True, samesite='Lax', secure=self.request.protocol == 'https')
        self.redirect('.')


def protected(
    handler:type[RequestHandler], # Ours or Voilà's
    login:str, # The login page's path
)->type[RequestHandler]:
    "The handler, for visitors who have logged in; others are sent to the login page, and programs get 401"
    if handler.__name__ in _PUBLIC:
        return handler

    needed = f"This app has a password: log in at {login}."

    class Protected(handler): # type: ignore[valid-type, misc]
        async def prepare(self, *args, **kwargs):
            if self.get_signed_cookie(COOKIE, max_age_days=_DAYS):
                done = super().prepare(*args, **kwargs)
                if inspect.isawaitable(done): await done
            elif hasattr(self, 'refusal'): # it is read first
                super().prepare(*args, **kwargs)
                self.refusal = Refused(401, needed)
            elif 'text/html' in self.request.headers.get('Accept', ''): self.redirect(login)
            else:
                self.set_status(401)
                self.finish(dict(error=needed))
    Protected.__name__ = handler.__name__
    return Protected
