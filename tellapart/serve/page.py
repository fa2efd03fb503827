"The app as a page that needs no kernel: drawn at once, it asks the API"
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
import nbformat
from tornado.web import HTTPError, RequestHandler
from tellapart.pages import render
from tellapart.use.app import body, title
from tellapart.use.classifier import Classifier, read_samples

_TYPES = {'.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8'}
# No script, style or picture from elsewhere; pages of others may show this one in a frame
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
           "form-action 'none'")


@cache
def static_files()->tuple[str, dict[str, bytes]]:
    "The page's scripts and styles, and a name that changes with them, so that browsers may keep them for ever"
    use,serve = files('tellapart.use'),files('tellapart.serve')
    found = {o.name: o.read_bytes() for o in (use/'app.js', use/'app.css', serve/'page.js')}
    return sha256(b''.join(found.values())).hexdigest()[:12], found


class Static(RequestHandler):
    "`GET /static/VERSION/NAME`"
    def get(self, version:str, name:str):
        now,found = static_files()
        if version != now or name not in found: raise HTTPError(404)
        self.set_header('Content-Type', _TYPES[Path(name).suffix])
        self.set_header('Cache-Control', 'public, max-age=31536000, immutable')
        self.finish(found[name])


class Page(RequestHandler):
    "`GET /`"
    def initialize(self, html:str): self.html = html

    def get(self):
        self.set_header('Content-Security-Policy', _POLICY)
        self.set_header('Cache-Control', 'no-cache')
        self.finish(self.html)


def page(
    classify:Classifier, # For what its export says
    feedback:bool, # Ask whether predictions are right
)->str: # HTML
    "The page, before any photo has been chosen"
    at,labels = f'static/{static_files()[0]}',classify.labels
    app = body(classify.meta, read_samples(classify.path), feedback)
    return render('app.html', title=title(labels), described=', '.join(labels), body=app, css=f'{at}/app.css', app_js=f'{at}/app.js',
                  page_js=f'{at}/page.js')


def needs_kernel(
    notebook:Path, # app.ipynb
)->bool: # Also where it can't be read, so that Voilà says so
    "Whether a notebook does anything besides showing the app"
    try: nb = nbformat.read(notebook, 4)
    except Exception: # whatever a file may hold
        return True
    return [o.source.strip() for o in nb.cells if o.source.strip()] != ['from tellapart.use.app import app', 'app()']
