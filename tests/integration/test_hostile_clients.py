"""Hostile clients of both faces: other clients are still answered, and nothing is logged as an error."""

import re
import resource
from collections.abc import Awaitable, Callable, Iterator

import psutil
import pytest
import structlog
import trio
import trio.lowlevel

from daemon.http.server import Server
from tests.integration.faces import PATIENCE_S, Running, both_faces, click, limits_with, read_all, read_answers, running

HOST = b"Host: clicks.example\r\n"
GET = b"GET /track-hit?offer=a HTTP/1.1\r\n" + HOST
POST = b"POST /track-hit?offer=a HTTP/1.1\r\n" + HOST
CLOSE = b"Connection: close\r\n\r\n"
H2C = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
WEBSOCKET = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
TLS_HELLO = bytes.fromhex("16030100c5010000c10303") + bytes(range(200))

ANSWERED_AND_OPEN = {
    "h2c with broken settings": (H2C + b"HTTP2-Settings: a\r\n\r\n", 302),
    "h2c without settings": (H2C + b"\r\n", 302),
    "h2c with settings that are fine": (H2C + b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n", 302),
    "websocket": (WEBSOCKET + KEY + b"\r\n", 302),
    "websocket without a key": (WEBSOCKET + b"\r\n", 302),
    "websocket with a broken key": (WEBSOCKET + b"Sec-WebSocket-Key: \xff\xfe\r\n\r\n", 302),
    "websocket of another version": (WEBSOCKET.replace(b"13", b"x") + KEY + b"\r\n", 302),
    "websocket with non-ASCII extensions": (WEBSOCKET + KEY + b"Sec-WebSocket-Extensions: \xe9\xe9;\xff\r\n\r\n", 302),
    "an upgrade to several": (GET + b"Connection: Upgrade\r\nUpgrade: h2c, websocket, \xff\r\n\r\n", 302),
    "absolute-form": (b"GET http://other.example:99/track-hit?offer=a HTTP/1.1\r\n" + HOST + b"\r\n", 302),
    "absolute-form in capitals": (b"GET HTTPS://OTHER.EXAMPLE/track-hit?offer=a HTTP/1.1\r\n" + HOST + b"\r\n", 302),
    "absolute-form with a broken host": (b"GET http://[::1/track-hit?offer=a HTTP/1.1\r\n" + HOST + b"\r\n", 302),
    "absolute-form without a path": (b"GET http://other.example?offer=a HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "UTF-8 as it was typed": ("GET /track-hit?offer=José HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 302),
    "thousands of parameters": (
        b"GET /track-hit?offer=a" + b"".join(b"&p%d=1" % n for n in range(1800)) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        302,
    ),
    "a host with a port and a last dot": (
        b"GET /track-hit?offer=a HTTP/1.1\r\nHost: clicks_1.example.:8080\r\n\r\n",
        302,
    ),
    "an empty host": (b"GET /track-hit?offer=a HTTP/1.1\r\nHost:\r\n\r\n", 302),
    "an IPv6 host": (b"GET /track-hit?offer=a HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", 302),
    "a path that is not UTF-8": (b"GET /%ff%fe%00 HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "a body of no bytes": (GET + b"Content-Length: 0\r\n\r\n", 302),
    "TRACE": (b"TRACE /track-hit HTTP/1.1\r\n" + HOST + b"\r\n", 405),
}

REFUSED_AND_CLOSED = {
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(27), 400),
    "HTTP/2.0 in a request line": (b"GET /track-hit?offer=a HTTP/2.0\r\n" + HOST + b"\r\n", 400),
    "a method that nobody knows": (b"BREW /track-hit?offer=a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /track-hit?offer=a\r\n\r\n", 400),
    "a body with a length": (POST + b"Content-Length: 5\r\n\r\nhello", 405),
    "a body of a GET": (GET + b"Content-Length: 5\r\n\r\nhello", 413),
    "a chunked body": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 405),
    "broken chunking": (POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello", 405),
    "a length beyond all": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "a body that waits to be asked for": (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", 405),
    "a length that is no number": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "an unknown transfer coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 405),
    "CONNECT": (b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n", 400),
    "CONNECT with a path": (b"CONNECT /track-hit HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "authority-form": (b"GET other.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a query without a path": (b"GET ?offer=a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "another scheme": (b"GET ftp://other.example/track-hit HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no host": (b"GET /track-hit?offer=a HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + HOST + b"\r\n", 400),
    "a host that is none": (b"GET /track-hit?offer=a HTTP/1.1\r\nHost: [\x80]:x@y/\r\n\r\n", 400),
    "a host with a label of 64 bytes": (b"GET / HTTP/1.1\r\nHost: " + b"a" * 64 + b".example\r\n\r\n", 400),
    "a host with an empty label": (b"GET / HTTP/1.0\r\nHost: clicks..example\r\n\r\n", 400),
    "a space in the target": (b"GET /track-hit?offer=a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a NUL in a header": (GET + b"X: a\0b\r\n\r\n", 400),
    "a header without a name": (GET + b": x\r\n\r\n", 400),
    "a lone CR in a header": (GET + b"X: a\rSet-Cookie: b\r\n\r\n", 400),
    "TLS": (TLS_HELLO + b"\r\n\r\n", 400),
    "a request line of a megabyte": (b"GET /" + b"a" * 1_000_000, 431),
    "a header of a megabyte": (GET + b"X: " + b"a" * 1_000_000, 431),
    "a megabyte of headers": (GET + b"a: b\r\n" * 170_000, 431),
}

LEFT_TO_THE_CONTROL_APP = {"a method that nobody knows"}
REFUSED_BY_CONTROL = {
    "a length beyond all": 413,
    "an unknown transfer coding": 501,
    "a body with a length": 413,
    "a chunked body": 413,
    "broken chunking": 413,
    "a body that waits to be asked for": 413,
}
"""Where the control face's parser gives another status."""


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if structlog or a stdlib logger logs an error: a client's fault is none of the daemon's."""
    with structlog.testing.capture_logs() as logs:
        yield
    loud = [entry for entry in logs if entry["log_level"] in {"error", "critical"} or "exc_info" in entry]
    assert loud == []
    assert [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


async def send_what_is_taken(client: trio.SocketStream, data: bytes) -> None:
    """Send until the server has closed; ignore the broken connection."""
    with trio.fail_after(PATIENCE_S):
        try:
            await client.send_all(data)
        except trio.BrokenResourceError:
            return


async def until_closed(talk: Callable[[trio.SocketStream], Awaitable[None]], client: trio.SocketStream) -> None:
    """Send forever, until the server closes the connection."""
    with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError):
        await talk(client)


@both_faces
async def test_unusual_requests_are_answered_and_the_connection_stays_open(kind: str) -> None:
    async with running(kind=kind) as face:
        for name, (request, status) in ANSWERED_AND_OPEN.items():
            async with await face.connect() as client:
                await client.send_all(request)
                answer = await read_answers(client, 1)
                assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer)
            async with await face.connect() as client:
                await client.send_all(request + click("next", "Connection: close"))
                both = await read_all(client)
                assert b"offer=next\r\n" in both, (name, both)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("click", name) for name in REFUSED_AND_CLOSED]
    + [("control", name) for name in REFUSED_AND_CLOSED if name not in LEFT_TO_THE_CONTROL_APP],
)
async def test_invalid_requests_are_refused_and_the_connection_closed(kind: str, name: str) -> None:
    request, status = REFUSED_AND_CLOSED[name]
    if kind == "control":
        status = REFUSED_BY_CONTROL.get(name, status)
    async with running(kind=kind) as face:
        async with await face.connect() as client:
            await send_what_is_taken(client, request)
            answer = await read_all(client)
            assert re.match(rb"HTTP/1\.1 %d " % status, answer), answer
            assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1, (
                "one answer, and nothing of what follows is a request"
            )
        await face.until_connections(0)
        await face.assert_still_answers()


@both_faces
async def test_junk_after_a_websocket_upgrade_is_refused_as_the_next_request(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(WEBSOCKET + KEY + b"\r\n" + bytes(range(128, 256)) + b"\r\n\r\n")
        assert re.findall(rb"HTTP/1\.1 (\d+)", await read_all(client)) == [b"302", b"400"]


@both_faces
async def test_a_refused_method_names_those_that_are_allowed(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(b"DELETE /track-hit HTTP/1.1\r\n" + HOST + CLOSE)
        allowed = re.search(rb"\r\nallow: ([^\r]*)", await read_all(client), re.IGNORECASE)
    assert allowed is not None
    assert {b"GET", b"HEAD"} <= set(allowed[1].split(b", "))


async def test_broken_chunking_of_an_allowed_body_is_400() -> None:
    async with running(kind="control", body_bytes_max=1000) as face, await face.connect() as client:
        await client.send_all(POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello")
        assert (await read_all(client)).startswith(b"HTTP/1.1 400")


async def test_two_body_lengths_are_refused() -> None:
    request = POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    async with running(kind="control", body_bytes_max=1000) as face, await face.connect() as client:
        await client.send_all(request)
        assert (await read_all(client)).startswith(b"HTTP/1.1 400")


@both_faces
async def test_a_dripping_head_is_closed_at_its_time_limit(kind: str) -> None:
    async with running(limits_with(head_s=0.2), kind) as face:
        async with await face.connect() as answered_once, await face.connect() as fresh:
            await answered_once.send_all(click())
            await read_answers(answered_once, 1)

            async def drip(client: trio.SocketStream) -> None:
                while True:
                    await client.send_all(b"G")
                    await trio.sleep(0.02)

            await until_closed(drip, answered_once)
            await until_closed(drip, fresh)
        await face.until_connections(0)


@both_faces
async def test_a_body_that_never_ends_is_refused_and_cut(kind: str) -> None:
    async def pour(client: trio.SocketStream) -> None:
        await client.send_all(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            await client.send_all(b"4000\r\n" + bytes(0x4000) + b"\r\n")

    async with running(kind=kind) as face:
        async with await face.connect() as client:
            await until_closed(pour, client)
        await face.until_connections(0)


@both_faces
@pytest.mark.parametrize("kernel_helps", [True, False])
async def test_a_client_that_never_reads_is_closed_at_its_time_limit(
    kind: str, kernel_helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel_helps:
        monkeypatch.setattr(Server, "_prepare", lambda self, listener: None)
    async with running(limits_with(head_s=0.2), kind) as face, await face.connect() as client:
        await client.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await face.until_connections(1)
        await face.until_connections(0)
        await face.assert_still_answers()


@both_faces
async def test_a_refused_client_may_finish_sending(kind: str) -> None:
    async with running(kind=kind) as face, await face.connect() as client:
        await client.send_all(POST + b"Content-Length: 100000\r\n\r\n")
        status = b"413" if kind == "control" else b"405"
        assert (await read_all(client)).startswith(b"HTTP/1.1 " + status)
        for _ in range(100):
            await client.send_all(bytes(1000))
            await trio.lowlevel.checkpoint()
        assert await read_all(client) == b"", "a reset would take the answer from a client that is still sending"


@both_faces
async def test_pipelining_without_reading_does_not_hold_the_connection(kind: str) -> None:
    async def ask(client: trio.SocketStream) -> None:
        while True:
            await client.send_all(click() * 100)

    async with running(limits_with(head_s=0.2), kind) as face, await face.connect() as client:
        await until_closed(ask, client)
        await face.until_connections(0)


@both_faces
@pytest.mark.slow
@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 5000, reason="needs 5,000 descriptors (ulimit -n)")
async def test_many_idle_connections_cost_little_and_are_closed(kind: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5000), hard))
    process, count = psutil.Process(), 2000 if kind == "click" else 500
    async with running(limits_with(head_s=4.0, connections_max=3000), kind) as face:
        before_bytes = process.memory_info().rss
        clients = [await open_answered(face) for _ in range(count)]
        grown_bytes = process.memory_info().rss - before_bytes
        await face.until_connections(0)
        for client in clients:
            assert await client.recv(1) == b""
            client.close()
        await face.assert_still_answers()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert grown_bytes < count * 50_000


async def open_answered(face: Running) -> trio.socket.SocketType:
    client = trio.socket.socket()
    await client.connect(("127.0.0.1", face.port))
    await client.send(click())
    await client.recv(4096)
    return client
