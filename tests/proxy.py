"""A proxy on loopback that stands for hosts of the real web, so that clients with fixed addresses can be tested over the wire"""
import datetime, socket, socketserver, ssl, threading
from contextlib import suppress
from pathlib import Path
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _certificate(name, key, issuer, issuer_key, *extensions):
    "A certificate for two days; one that is signed with its own key is an authority's"
    now = datetime.datetime.now(datetime.UTC)
    named = lambda o: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, o)])
    day = datetime.timedelta(days=1)
    builder = (x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False))
    for extension, critical in extensions: builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(o):
    if isinstance(o, x509.Certificate):
        return o.public_bytes(serialization.Encoding.PEM)
    return o.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def authority(folder: Path, names: list[str]) -> tuple[Path, Path]:
    "Two files in `folder`: the certificate of a temporary authority, and a certificate with its key for the hosts `names`"
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate('Throwaway', ca_key, 'Throwaway', ca_key, (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(False, False, False, False, False, True, True, False, False), True))
    leaf = _certificate(names[0], key, 'Throwaway', ca_key, (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName(o) for o in names]), False))
    (folder/'ca.pem').write_bytes(_pem(ca))
    (folder/'host.pem').write_bytes(_pem(key) + _pem(leaf))
    return folder/'ca.pem', folder/'host.pem'


class _Tunnel(socketserver.StreamRequestHandler):
    "One CONNECT request: terminates TLS and relays the data"
    def handle(self):
        name = self.rfile.readline().split()[1].decode().rpartition(':')[0]
        while self.rfile.readline().strip(): pass
        if name not in self.server.hosts:
            return self.wfile.write(b'HTTP/1.1 403 Forbidden\r\n\r\n')
        self.wfile.write(b'HTTP/1.1 200 Connection established\r\n\r\n')
        with suppress(OSError), self.server.tls.wrap_socket(self.connection, server_side=True) as client, \
             socket.create_connection(self.server.hosts[name]) as host:
            back = threading.Thread(target=self.relay, args=(host, client), daemon=True)
            back.start()
            self.relay(client, host)
            back.join()

    def relay(self, source, target):
        "Relay until one end closes, then close the other"
        with suppress(OSError):
            while data := source.recv(65536): target.sendall(data)
        for o in (source, target):
            with suppress(OSError): o.shutdown(socket.SHUT_RDWR)


class Proxy(socketserver.ThreadingTCPServer):
    "A forward proxy that connects each of `hosts` to the address it maps to; `url` is the proxy's, `ca` the authority to trust"
    daemon_threads = allow_reuse_address = True

    def __init__(self, hosts: dict[str, tuple], folder: Path):
        super().__init__(('127.0.0.1', 0), _Tunnel)
        self.hosts, self.url = hosts, f'http://127.0.0.1:{self.server_address[1]}'
        self.ca, host = authority(Path(folder), list(hosts))
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(host)
        threading.Thread(target=self.serve_forever, args=(.05,), daemon=True).start()

    def __exit__(self, *exc):
        self.shutdown()
        super().__exit__(*exc)
