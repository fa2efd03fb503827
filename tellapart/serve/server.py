"Serve the app on this machine: Voilà shows app.ipynb, set up by voila.json beside it, and the API answers beside it"
import logging, os, re, socket, sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tornado.httputil import HTTPServerRequest
from tornado.web import ErrorHandler, HTTPError, OutputTransform, RequestHandler
from traitlets import Bool, Instance, Int, List, Unicode
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler
from tellapart.course import course, shipped
from tellapart.errors import TellapartError
from tellapart.machine import lan_address
from tellapart.use.classifier import Classifier
from .api import Classify, Document, Explain
from .kernels import VISITORS, Visit
from .login import TRIES, Login, cookie_secret, password_hash, protected
from .page import Page, Static, needs_kernel, page
from .requests import PER_MINUTE, RateLimit
from .shared_classifier import SharedClassifier


class Health(RequestHandler):
    "`GET /healthz`, for hosts that ask whether the server is alive"
    def get(self): self.finish('ok')


class Robots(RequestHandler):
    "`GET /robots.txt`: the page may be found, but a crawler that follows its links would start kernels"
    def get(self):
        self.set_header('Content-Type', 'text/plain')
        self.finish('User-agent: *\nAllow: /$\nDisallow: /\n')


def frame_policy(
    pages:str, # '*' for all, 'none', 'self', or addresses such as https://blog.example, separated by spaces
)->str: # Raises `TellapartError` for what no browser would understand
    "The directive that says which pages may show the app in a frame"
    words = pages.split()
    if not words or not all(re.fullmatch(r'(?=.*[\w*])[\w.:/*-]+', o, re.A) for o in words):
        raise TellapartError(f"{pages!r} names no pages: write *, none, self, or addresses such as https://blog.example.")
    return 'frame-ancestors ' + ' '.join(f"'{o}'" if o in ('none', 'self') else o for o in words)


class SecurityHeaders(OutputTransform):
    "Headers for every response, Voilà's own included"
    def __init__(self, request:HTTPServerRequest, frames:str):
        super().__init__(request)
        self.frames = frames

    def transform_first_chunk(self, status_code, headers, chunk, finishing):
        headers['X-Content-Type-Options'] = 'nosniff'
        headers['Referrer-Policy'] = 'same-origin'
        policy = [o.strip() for o in headers.get('Content-Security-Policy', '').split(';')]
        ours = [o for o in policy if o and not o.startswith(('frame-ancestors', 'report-uri'))] # Jupyter's, which nobody reads
        headers['Content-Security-Policy'] = '; '.join([*ours, self.frames])
        headers.pop('Server', None)
        return status_code, headers, chunk


class App(Voila):
    "Voilà with the API, health checks and compressed responses, and it can be stopped while it is starting a kernel"
    shared = Instance(SharedClassifier)
    kernels = Bool() # whether app.ipynb needs any
    password = Unicode() # its hash; '' for none
    visitors = Int(VISITORS) # with a kernel each, at a time
    per_minute = Int(PER_MINUTE) # photos that one address may send
    frames = Unicode() # from `frame_policy`
    debug = Bool() # whether visitors see what went wrong
    feedback = List() # its handler, if it is taken

    def init_settings(self): return super().init_settings() | dict(compress_response=True, show_errors=self.debug)

    def init_handlers(self):
        self.app.transforms.append(partial(SecurityHeaders, frames=self.frames))
        at,shared = self.server_url.rstrip('/'),dict(shared=self.shared)
        asked = shared | dict(rates=RateLimit(self.per_minute))
        stray = fr'{at}/voila/templates/(?![\w.-]+/static/[\w.-]).*',ErrorHandler,dict(status_code=404) # Voilà would fail
        ours = [stray, (f'{at}/healthz', Health), (f'{at}/robots.txt', Robots), (fr'{at}/static/(\w+)/([\w.]+)', Static),
                (f'{at}/api', Document, shared), (f'{at}/api/classify', Classify, asked), (f'{at}/api/explain', Explain, asked)]
        ours += [(f'{at}{path}', *rest) for path,*rest in self.feedback]
        if not self.kernels: ours.append((f'{at}/', Page, dict(html=page(self.shared.classify, bool(self.feedback)))))
        voilas = [(path, Visit, *(o | dict(visitors=self.visitors) for o in rest)) if handler is TornadoVoilaHandler
                  else (path, handler, *rest) for path,handler,*rest in super().init_handlers()]
        if not self.password:
            return [*ours, *voilas]
        login = f'{at}/login'
        ours.append((login, Login, dict(hashed=self.password, tries=RateLimit(TRIES))))
        return [(path, protected(handler, login), *rest) for path,handler,*rest in [*ours, *voilas]]

    def stop(self):
        try: super().stop()
        except HTTPError as e: # the kernel that it tries to stop has ended already
            if e.status_code != 404: raise


def _check_free(port:int):
    "Raise `TellapartError` where another program uses `port`, or there is no such port"
    if not 0 < port < 2**16: raise TellapartError(f"There is no port {port}: choose one from 1 to 65535.")
    with socket.socket() as s:
        s.settimeout(1)
        if s.connect_ex(('127.0.0.1', port)) == 0:
            raise TellapartError(f"Port {port} is taken by another program: stop that one, or choose another port: "
                                 f"tellapart serve --port {port + 1}")


def _announce(port:int, lan:bool):
    "Print the app's address; with `lan`, also the one for others, and as a QR code for phones"
    print(f"The app is at http://localhost:{port} (Ctrl-C stops it).", flush=True)
    if lan:
        if not (address := lan_address()): raise TellapartError("This machine isn't in a network: connect it to one, or leave out --lan.")
        import segno
        there = f'http://{address}:{port}'
        print(f"Phones and computers in the same network find it at {there}:\n")
        segno.make(there).terminal(compact=True)
        print(flush=True)


def _feedback(export:str|Path, classify:Classifier)->list:
    "The handler of feedback, where its libraries are installed and its database can be opened"
    if not find_spec('sqlalchemy'):
        return []
    from tellapart.use.feedback import FeedbackStore, database_url
    from .feedback import ANSWERS_PER_MINUTE, Answers
    try: store = FeedbackStore(database_url(Path(export).absolute().parent))
    except TellapartError as e:
        print(f"{e} Until then no feedback is taken.", file=sys.stderr)
        return []
    needed = dict(store=store, labels=classify.labels, limits=classify.limits, rates=RateLimit(ANSWERS_PER_MINUTE))
    return [('/api/feedback', Answers, needed)]


def _app_folder()->Path:
    "The folder of app.ipynb and voila.json: the course at hand, where they may have been edited, else the package"
    folder = course(Path.cwd())
    return folder if (folder/'app.ipynb').exists() else shipped()


def serve(
    export:str|Path='export.pkl', # Raises `ExportError` where it can't be used
    port:int=8866, # Voilà's usual one
    ip:str='127.0.0.1', # To listen on: 0.0.0.0 for all addresses of this machine, as hosts need it
    lan:bool=False, # For the local network: on all addresses, and say which one it is
    password:bool=False, # Ask for a password that visitors need; without it, `TELLAPART_PASSWORD_HASH` may have the hash of one
    visitors:int=VISITORS, # At a time, where app.ipynb has cells of its own, for which each needs a kernel
    per_minute:int=PER_MINUTE, # Photos that one address may send; a class behind one router has one address
    frame_ancestors:str='*', # Pages that may show the app in a frame, as in `frame_policy`; all, because it keeps nothing of a visitor's
    debug:bool=False, # Show in the page what went wrong, in full; else visitors see a number, under which the log has it
):
    "Serve the app until Ctrl-C. Raises `TellapartError` where `port` is taken"
    frames,hashed,shared = frame_policy(frame_ancestors),password_hash(password),SharedClassifier(export)
    _check_free(port)
    feedback = _feedback(export, shared.classify)
    # What kernels know: with it they ask the API, and load no model
    os.environ.update(TELLAPART_EXPORT=str(Path(export).absolute()), TELLAPART_API='/api', TELLAPART_FEEDBACK='1' if feedback else '')
    os.chdir(_app_folder())
    kernels = needs_kernel(Path('app.ipynb'))
    if lan: ip = '0.0.0.0'
    _announce(port, lan)
    logging.getLogger('tornado.general').setLevel(logging.ERROR) # it warns about Jupyter's own ping settings
    options = ['--no-browser', f'--port={port}', f'--Voila.ip={ip}', '--Voila.port_retries=0', '--Voila.log_level=ERROR',
               '--VoilaConfiguration.kernel_spec_manager_class=tellapart.serve.kernels.QuietKernels',
               '--VoilaConfiguration.multi_kernel_manager_class=tellapart.serve.kernels.Kernels',
               f'--VoilaConfiguration.show_tracebacks={debug}']
    if not kernels: options.append('--VoilaConfiguration.preheat_kernel=False')
    login = dict(password=hashed, cookie_secret=cookie_secret(hashed)) if hashed else {}
    App.launch_instance(['app.ipynb', *options], shared=shared, kernels=kernels, visitors=visitors, per_minute=per_minute, frames=frames,
                        debug=debug, feedback=feedback, **login)
