"A server for the tests of a file"
import socket, sys
import pytest
from exports import FORMAT_4
from webapp import served


@pytest.fixture(scope='module')
def server_process(tmp_path_factory):
    "The address and the process of a server"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        at = f'http://localhost:{(port := s.getsockname()[1])}'
    command = [sys.executable, '-m', 'tellapart', 'serve', '--export', FORMAT_4, '--port', str(port)]
    with served(command, f'{at}/healthz', tmp_path_factory.mktemp('server')) as process: yield at, process


@pytest.fixture(scope='module')
def server(server_process): return server_process[0]
