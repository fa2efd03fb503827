"What the tests of the app share: a server that runs for a while, and a visitor"
import os, subprocess, time
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import urlopen


def wait_for(url, server, patience=60):
    "Wait until `url` responds, for that many seconds and as long as the server runs"
    for _ in range(patience*5):
        try: urlopen(url, timeout=20).close()
        except HTTPError: break # it responds, if only with an error
        except (URLError, ConnectionError): time.sleep(.2)
        else: break
        assert server.poll() is None, server.stdout and server.stdout.read()


@contextmanager
def served(command, url, cwd, env=None, patience=60):
    "Run `command` until the block ends; the block begins when `url` responds"
    server = subprocess.Popen(command, cwd=cwd, env=os.environ | (env or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(url, server, patience)
        yield server
    finally:
        server.terminate()
        server.wait(20)


def ask(page, photos):
    "Upload `photos` (paths, or dicts as Playwright takes them) and read the cards: a list of lists of lines"
    before = page.locator('.ta-card').count()
    page.set_input_files('.ta-upload input', photos) # which waits until it can be used
    page.wait_for_selector(f'.ta-card >> nth={before + len(photos) - 1}', timeout=60_000)
    page.wait_for_selector('.ta-upload input:enabled', state='attached')
    parts = '.ta-none, .ta-file, h2, .ta-why, .ta-bars li > *'
    return [[o for o in card.locator(parts).all_inner_texts() if o] for card in page.locator('.ta-card').all()[:len(photos)]]
