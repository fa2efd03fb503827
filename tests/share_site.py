"A web server for a folder, as any host of static pages has one"
import functools, threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class _Files(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        '.mjs': 'text/javascript', '.js': 'text/javascript', '.wasm': 'application/wasm'}
    def log_message(self, *_): pass


@contextmanager
def static_server(folder):
    "The address of a web server for a folder, as any host has one"
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(_Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://localhost:{server.server_port}/'
    finally:
        server.shutdown()
        server.server_close()
