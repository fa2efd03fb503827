"docs/extending.md: its recipe for a source, followed in a copy of the tree"
import csv, io, json, ssl, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zlib import crc32
import pytest
from PIL import Image
from fresh import tracked
from notebooks import write_notebook
from proxy import authority
from recipes import code_blocks, nbdev_export, run

HOST = 'museum.example'
PROJECT = '''name = "rackets"
source = "museum"
per_label = 3
timeout = 5
[labels]
squash = "squash racket"
tennis = "tennis racket"
[train]
valid = {museum = 0.3}
'''
GATHER = '''import socket, sys
from tellapart.gather import fetch
from tellapart.gather.gather import gather
from tellapart.project import read_project
fetch.is_public = lambda address: True
socket.getaddrinfo = lambda *args, **kw: [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', int(sys.argv[1])))]
gather(read_project('tellapart.toml'))
'''


class Museum(BaseHTTPRequestHandler):
    "The museum of the recipe: three photos for each search term"
    def log_message(self, *args): pass

    def do_GET(self):
        if self.path.startswith('/search'):
            photos = [dict(image=f'https://{HOST}/{i}-{crc32(self.path.encode())}.jpg', title=f'Racket {i}') for i in range(3)]
            body = json.dumps(dict(photos=photos)).encode()
        else:
            Image.effect_noise((90, 70), 80).save(f := io.BytesIO(), 'JPEG')
            body = f.getvalue()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def museum(tmp_path):
    "Its port on loopback, and the authority of its certificate"
    ca,host = authority(tmp_path, [HOST])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(host)
    with ThreadingHTTPServer(('127.0.0.1', 0), Museum) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(.05,), daemon=True).start()
        yield server.server_port,ca
        server.shutdown()


@pytest.mark.slow
def test_a_source_of_photos(tmp_path, museum):
    tree = tracked(tmp_path/'tree')
    *cells,row,test = code_blocks('A source of photos')
    write_notebook(tree/'notebooks/library/gather/sources/08_museum.ipynb', *cells)
    (table := tree/'docs/sources.md').write_text(table.read_text('utf-8').replace('| `"folder"` |', f'{row}| `"folder"` |'), 'utf-8')
    with (tree/'tests/gather/test_sources.py').open('a', encoding='utf-8') as f: f.write(f'\n\n{test}')
    nbdev_export(tree)
    run('-m', 'pytest', 'tests/gather/test_sources.py', 'tests/test_architecture.py', '-k', 'museum or documented or imports', cwd=tree)

    (tree/'tellapart.toml').write_text(PROJECT)
    port,ca = museum
    run('-c', GATHER, port, cwd=tree, SSL_CERT_FILE=str(ca))
    folder = tree/'data/rackets'
    with (folder/'CREDITS.csv').open(encoding='utf-8-sig', newline='') as f: rows = list(csv.DictReader(f))
    assert [o['origin'] for o in rows] == ['museum']*6 and all((folder/'photos'/o['label']/Path(o['file']).name).exists() for o in rows)
    assert 'courtesy of the Example Museum' in (folder/'credits.html').read_text('utf-8')
