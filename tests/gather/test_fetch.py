"The fetcher against misbehaving hosts, over real sockets"
import asyncio, gzip, socket, time, tracemalloc
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from tellapart.gather import fetch
from tellapart.gather.fetch import Fetcher, FetchError, is_public
from proxy import authority


def head(status='200 OK', **headers):
    return f'HTTP/1.1 {status}\r\n{"".join(f"{k}: {v}".replace("_", "-") + chr(13) + chr(10) for k,v in headers.items())}\r\n'.encode()


def response(body=b'photo', status='200 OK', **headers): return head(status, Content_Length=len(body), **headers) + body


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch): monkeypatch.setattr(fetch, 'RETRY_PAUSES', (.01, .02, .04))


class Host:
    "Answers by a coroutine of (path, writer), or always the same; records requests, connections, and the most requests at a time"
    def __init__(self, answer): self.answer,self.requests,self.connections,self.now,self.most = answer,[],0,0,0

    async def __call__(self, reader, writer):
        self.connections += 1
        try:
            while request := await reader.readuntil(b'\r\n\r\n'):
                self.requests.append((request.split()[1].decode(), time.monotonic()))
                self.request = request.decode()
                self.now += 1
                self.most = max(self.most, self.now)
                data = self.answer if isinstance(self.answer, bytes) else await self.answer(self.requests[-1][0], writer)
                self.now -= 1
                if data: writer.write(data)
                else:
                    return
        except (OSError, asyncio.IncompleteReadError): pass
        finally: writer.close()


def fetch_all(answer, *paths, **kw):
    "Fetch `paths` concurrently: the host, and for each path its content or `FetchError`"
    async def run():
        host = Host(answer)
        async with await asyncio.start_server(host, '127.0.0.1', 0) as server:
            address = server.sockets[0].getsockname()
            kw['host_map'] = {('our.host', 80): address, ('our.host', 443): address}
            async with Fetcher(**dict(timeout=3, max_bytes=10**6) | kw) as f:
                urls = [o if ':' in o else f'http://our.host{o}' for o in paths]
                return host,await asyncio.gather(*map(f, urls), return_exceptions=True)
    return asyncio.run(run())


def reason(answer, path='/', **kw):
    host,(result,) = fetch_all(answer, path, **kw)
    assert isinstance(result, FetchError), result
    return result.reason,result.transient


def in_turn(*answers):
    "Answer with one after the other, and with the last one for ever"
    left = list(answers)
    async def answer(path, writer): return left.pop(0) if len(left) > 1 else left[0]
    return answer


NOT_PUBLIC = """127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200
    192.0.0.192 192.0.2.1 198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8
    ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: fc00::1
    fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 5f00::1"""

@pytest.mark.parametrize('address', NOT_PUBLIC.split())
def test_not_public(address): assert not is_public(address)


@pytest.mark.parametrize('address', ['8.8.8.8', '93.184.216.34', '100.128.0.1', '172.32.0.1', '2606:2800:220:1::1', '2a00:1450:4001::1'])
def test_public(address): assert is_public(address)


SPELLINGS = """127.0.0.1 localhost 127.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 0 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1]
    169.254.169.254 [fe80::1] [64:ff9b::7f00:1] our.host@127.0.0.1 127.0.0.1. localhost. １２７.0.0.1 %31%32%37.0.0.1""".split()

def test_loopback_in_any_spelling():
    async def run():
        inside = Host(response())
        fetch = Fetcher(timeout=3, host_map={('our.host', 80): ('127.0.0.1', 9)})
        async with await asyncio.start_server(inside, '127.0.0.1', 0) as server, fetch:
            port = server.sockets[0].getsockname()[1]
            errors = await asyncio.gather(*[fetch(f'http://{o}:{port}/') for o in SPELLINGS], return_exceptions=True)
        reasons = [o.reason for o in errors]
        assert set(reasons) <= {'address not public', 'unknown host', 'bad address'} and reasons[0] == 'address not public'
        assert not inside.connections
    asyncio.run(run())


def test_redirects_are_checked_again():
    reasons = {'http://127.0.0.1/': 'address not public', '//localhost/': 'address not public', 'http://our.host:81/': 'unknown host',
               'https://our.host:444/': 'unknown host', 'file:///etc/passwd': 'not http', 'data:image/png;base64,AA==': 'not http',
               'http://our.host:x/': 'bad address', '/?\x01': 'bad address', '': 'HTTP 302'}
    async def answer(path, writer): return response(b'', '302 Found', Location=list(reasons)[int(path[1:])])
    assert [o.reason for o in fetch_all(answer, *[f'/{i}' for i in range(len(reasons))])[1]] == list(reasons.values())


def test_redirects():
    chain = lambda n: in_turn(*[response(b'see there', '302 Found', Location=f'next?{i}') for i in range(n)], response(b'at last'))
    host,(result,) = fetch_all(chain(5), '/a/b')
    assert result == b'at last' and [o for o,_ in host.requests][1] == '/a/next?0' and host.connections == 1
    host,(result,) = fetch_all(chain(30), '/')
    assert result.reason == 'redirect loop' and not result.transient and len(host.requests) == 6


def test_dns_rebinding(monkeypatch):
    "The connection goes to the address that was checked, and the next connection is checked again"
    answers = ['127.0.0.2', '127.0.0.1']
    def resolve(host, port, *_, **kw):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (answers.pop(0) if len(answers) > 1 else answers[0], port))]
    async def run():
        outside,inside = Host(response(b'outside', Connection='close')),Host(response(b'inside'))
        outside.answer = in_turn(outside.answer)
        try: server = await asyncio.start_server(outside, '127.0.0.2', 0)
        except OSError: pytest.skip('one loopback address only')
        port = server.sockets[0].getsockname()[1]
        async with server, await asyncio.start_server(inside, '127.0.0.1', port), Fetcher(timeout=3) as f:
            monkeypatch.setattr(socket, 'getaddrinfo', resolve)
            monkeypatch.setattr(fetch, 'is_public', '127.0.0.2'.__eq__)
            assert await f(f'http://changing.test:{port}/') == b'outside'
            with pytest.raises(FetchError, match='address not public'): await f(f'http://changing.test:{port}/')
            assert len(outside.requests) == 1 and not inside.connections
    asyncio.run(run())


def test_one_private_address_is_enough_to_refuse(monkeypatch):
    def resolve(host, port, **kw): return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (o, port)) for o in ('8.8.8.8', '10.0.0.1')]
    monkeypatch.setattr(socket, 'getaddrinfo', resolve)
    assert reason(response(), 'http://both.test/')[0] == 'address not public'


def test_invalid_urls():
    reasons = {'ftp://our.host/': 'not http', 'file:///etc/passwd': 'not http', 'mailto:me@our.host': 'not http',
               'http://our.host:x/': 'bad address', 'http://our.host/\r\nX-More: 1': 'bad address',
               'http://no-such-host.invalid/': 'unknown host', 'http://a..b/': 'unknown host', f'http://{"a"*70}.de/': 'unknown host'}
    host,errors = fetch_all(response(), *reasons)
    assert [o.reason for o in errors] == list(reasons.values()) and not host.connections


def test_slow_drip():
    async def drip(path, writer):
        writer.write(head(Content_Length=1000))
        while not writer.is_closing():
            writer.write(b'.')
            await asyncio.sleep(.05)
    assert reason(drip, timeout=.4) == ('timeout', True)


def test_no_handshake(): assert reason(response(), 'https://our.host/', timeout=.4) == ('timeout', True)


def test_hanging_hosts_get_a_cooldown():
    async def hang(path, writer): await asyncio.sleep(1)
    host,results = fetch_all(hang, *map(str, [f'/{i}' for i in range(50)]), timeout=.3, per_host=3)
    assert {(o.reason, o.transient) for o in results} == {('timeout', True)} and len(host.requests) <= 6


def test_endless_body():
    sent = 0
    async def endless(path, writer):
        nonlocal sent
        writer.write(head())
        while True:
            writer.write(bytes(2**16))
            await writer.drain()
            sent += 2**16
    tracemalloc.start()
    assert reason(endless, timeout=10) == ('too many bytes', False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 and sent < 50e6


def test_announced_too_large():
    assert reason(head(Content_Length=10**12)) == ('too many bytes', False)


def test_nothing_is_decompressed():
    bomb = gzip.compress(bytes(50 * 10**6))
    tracemalloc.start()
    host,(result,) = fetch_all(response(bomb, Content_Encoding='gzip'), '/')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result == bomb and peak < 5e6 and 'Accept-Encoding: identity' in host.request


def test_wrong_length():
    short = head(Content_Length=10, Connection='close') + b'short'
    async def closes(path, writer): writer.write(short)
    assert reason(closes, timeout=.3) == ('broken transfer', True)
    async def closes_once(path, writer):
        if not writes:
            return response()
        writer.write(writes.pop())
    writes = [short]
    assert fetch_all(closes_once, '/')[1] == [b'photo']
    host,(result,) = fetch_all(head(Content_Length=5) + b'photo and more', '/')
    assert result == b'photo'


def test_closed_at_once():
    async def closes(path, writer): pass
    host,(result,) = fetch_all(closes, '/', timeout=30)
    assert (result.reason, result.transient) == ('broken transfer', True) and len(host.requests) == 4


def test_not_http(): assert reason(b'220 mail.our.host ESMTP\r\n\r\n', timeout=.3)[0] == 'broken transfer'


def test_no_connection(free_port):
    async def run():
        async with Fetcher(timeout=.4, host_map={('our.host', 80): ('127.0.0.1', free_port)}) as f: await f('http://our.host/')
    with pytest.raises(FetchError, match='no connection') as e: asyncio.run(run())
    assert e.value.transient


def test_statuses():
    async def answer(path, writer): return response(b'no', f'{path[1:]} No')
    transient = {403: False, 404: False, 410: False, 500: True, 501: True, 502: True, 504: True}
    _,errors = fetch_all(answer, *[f'/{o}' for o in transient], timeout=.3)
    assert [(o.reason, o.transient) for o in errors] == [(f'HTTP {k}', v) for k,v in transient.items()]


def test_retries():
    seen = set()
    async def answer(path, writer):
        if path in seen:
            return response()
        seen.add(path)
        return response(b'later', f'{path[1:]} Later')
    host,results = fetch_all(answer, '/429', '/500', '/502', '/503', '/504')
    assert results == [b'photo']*5 and len(host.requests) == 10 and host.connections == 5


def test_a_cooldown_holds_for_all_photos_of_a_host():
    "Whoever asks too soon gets no photo"
    until = []
    async def answer(path, writer):
        if until:
            return response() if time.monotonic() > until[0] else response(b'', '403 Too Soon')
        until.append(time.monotonic() + .9)
        return response(b'', '429 Too Many', Retry_After='1')
    host,results = fetch_all(answer, '/a', '/b', '/c', per_host=1, timeout=5)
    assert results == [b'photo']*3 and len(host.requests) == 4


def test_a_cooldown_beyond_the_deadline_fails_at_once():
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for wait in ('3600', date, '9'*5000):
        answers = in_turn(response(b'', '429 Too Many', Retry_After=wait), response())
        host,results = fetch_all(answers, '/a', '/b', '/c', per_host=1, timeout=30)
        assert {(o.reason, o.transient) for o in results} == {('HTTP 429', True)} and len(host.requests) == 1


def test_connections_per_host():
    async def answer(path, writer):
        await asyncio.sleep(.01)
        return response()
    host,results = fetch_all(answer, *[f'/{i}' for i in range(60)], per_host=4)
    assert results == [b'photo']*60 and host.most == 4 and host.connections <= 4 and len(host.requests) == 60


def test_waiting_for_a_connection_does_not_count():
    async def answer(path, writer):
        await asyncio.sleep(.1)
        return response()
    assert fetch_all(answer, *'/a /b /c /d /e'.split(), per_host=1, timeout=.3)[1] == [b'photo']*5


def test_request_headers():
    host,_ = fetch_all(response(), '/photo?v=1&w=2#part')
    assert host.request.startswith('GET /photo?v=1&w=2 ') and 'Host: our.host\r\n' in host.request
    assert 'User-Agent: tellapart/' in host.request


def test_opted_out():
    headers = [dict(X_Robots_Tag='noai'), dict(X_Robots_Tag='nofollow, noimageai'), dict(x_robots_tag='NOINDEX'),
               {'X-Robots-Tag': 'all', 'x-robots-tag': 'noimageindex'}, dict(X_Robots_Tag='tellapart: noai'), dict(tdm_reservation='1')]
    paths = [f'/{i}' for i in range(len(headers))]
    async def headers_only(path, writer):
        writer.write(head(Content_Length=10**5, **headers[int(path[1:])]))
        await asyncio.sleep(1)
    assert {(o.reason, o.transient) for o in fetch_all(headers_only, *paths)[1]} == {('opted out', False)}
    async def answer(path, writer): return response(**headers[int(path[1:])])
    assert fetch_all(answer, *paths, respect_opt_out=False)[1] == [b'photo']*len(headers)


def test_not_opted_out():
    headers = [dict(X_Robots_Tag='nofollow'), dict(X_Robots_Tag='googlebot: noindex, noai'),
               dict(X_Robots_Tag='unavailable_after: 25 Jun 2030 15:00:00 PST'), dict(tdm_reservation='0')]
    async def answer(path, writer): return response(**headers[int(path[1:])])
    assert fetch_all(answer, *[f'/{i}' for i in range(len(headers))])[1] == [b'photo']*len(headers)


@asynccontextmanager
async def secure(folder, app, port, names=('our.host',)):
    "An HTTP/2 host with a certificate of an authority of its own; yields the authority's certificate"
    ca,cert = authority(folder, list(names))
    config = Config.from_mapping(bind=[f'127.0.0.1:{port}'], certfile=str(cert), keyfile=str(cert), loglevel='CRITICAL',
                                 graceful_timeout=.1)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    for _ in range(200):
        try:
            (await asyncio.open_connection('127.0.0.1', port))[1].close()
            break
        except OSError: await asyncio.sleep(.02)
    try: yield ca
    finally:
        stop.set()
        await task


class App:
    "Records the protocol versions and the clients of its requests"
    def __init__(self): self.versions,self.clients = set(),set()

    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http':
            return
        self.versions.add(scope['http_version'])
        self.clients.add(scope['client'])
        headers = {'/noai': [(b'x-robots-tag', b'noai')], '/long': [(b'content-length', b'5')], '/short': [(b'content-length', b'60000')]}
        await send(dict(type='http.response.start', status=200, headers=headers.get(scope['path'], [])))
        if scope['path'] == '/endless':
            while True: await send(dict(type='http.response.body', body=bytes(2**16), more_body=True))
        await send(dict(type='http.response.body', body=b'photo'*10**4))


def secured(folder, free_port, monkeypatch, *paths, names=('our.host',), trusted=True, **kw):
    app = App()
    async def run():
        async with secure(folder, app, free_port, names) as ca:
            if trusted: monkeypatch.setenv('SSL_CERT_FILE', str(ca))
            async with Fetcher(**dict(timeout=4, max_bytes=10**6, host_map={('our.host', 443): ('127.0.0.1', free_port)}) | kw) as f:
                return await asyncio.gather(*[f(f'https://our.host{o}') for o in paths], return_exceptions=True)
    return app,asyncio.run(run())


def test_http2(tmp_path, free_port, monkeypatch):
    app,results = secured(tmp_path, free_port, monkeypatch, *[f'/{i}' for i in range(20)])
    assert results == [b'photo'*10**4]*20 and app.versions == {'2'} and len(app.clients) == 1


@pytest.mark.long
def test_http2_host_that_is_left_early(tmp_path, free_port, monkeypatch):
    app,results = secured(tmp_path, free_port, monkeypatch, *['/noai', '/endless']*60, '/photo', per_host=1)
    assert [o.reason for o in results[:-1]] == ['opted out', 'too many bytes']*60 and results[-1] == b'photo'*10**4


def test_http2_wrong_length(tmp_path, free_port, monkeypatch):
    app,results = secured(tmp_path, free_port, monkeypatch, '/long', '/short', '/photo', per_host=1, timeout=.9)
    assert [o.reason for o in results[:2]] == ['broken transfer']*2 and results[2] == b'photo'*10**4


@pytest.mark.parametrize('how', [dict(trusted=False), dict(names=('other.host',))], ids=['unknown authority', 'for another host'])
def test_bad_certificate(tmp_path, free_port, monkeypatch, how):
    app,(result,) = secured(tmp_path, free_port, monkeypatch, '/', **how)
    assert (result.reason, result.transient) == ('bad certificate', False) and not app.clients


def test_proxies_are_not_used(monkeypatch, free_port):
    for name in ('HTTP_PROXY', 'http_proxy', 'ALL_PROXY'): monkeypatch.setenv(name, f'http://127.0.0.1:{free_port}')
    assert fetch_all(response(), '/')[1] == [b'photo']
