"""Thousands of fuzzed requests to both faces, the same ones in each run."""

import logging
import random
import re

import pytest
import structlog
import trio
import trio.lowlevel

from tests.integration.faces import Running, both_faces, limits_with, read_all, running

pytestmark = pytest.mark.slow

REQUESTS = {"click": 6_000, "control": 2_000}
CODES = {"click": {302, 400, 404, 405, 413}, "control": {302, 400, 404, 405, 413, 501}}
CLIENTS = 16
SEED = 20_240_229

LINES = [
    b"GET /track-hit?offer=a&gclid=EAIaIQ%20+x HTTP/1.1",
    b"HEAD /track-hit?offer=a HTTP/1.1",
    b"GET http://clicks.example/track-hit?offer=a HTTP/1.1",
    b"POST /track-hit HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT clicks.example:443 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"GET /track-hit?offer=%ff%00%zz&&&=;=? HTTP/1.0",
    b"GET //track-hit/..;/%2e%2e/? HTTP/1.1",
    b"get /functions/v1/track-hit HTTP/1.1",
    b"GET / HTTP/0.9",
]
HEADERS = [
    b"Host: clicks.example",
    b"Host: [::1]:99",
    b"Connection: keep-alive",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"HTTP2-Settings: a",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Extensions: permessage-deflate; \xe9",
    b"Content-Length: 0",
    b"Content-Length: 7",
    b"Content-Length: 1e3",
    b"Content-Type: multipart/form-data; boundary=",
    b"Content-Type: application/x-www-form-urlencoded; charset=\xff",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b'Cookie: a=b; =; ;;; "',
    b"Authorization: Basic !!!",
    b'Authorization: Digest username="',
    b"Range: bytes=9-1,-",
    b"If-Modified-Since: never",
    b"X-Forwarded-For: 203.0.113.7, \xff",
    b'Forwarded: for="_x;',
    b"Accept-Language: *;q=x, en;q=9",
    b" folded",
    b"No colon here",
]
SPECIALS = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b":",
    b"%",
    b"\xff",
    b"\x80",
    b"?",
    b"#",
    b"//",
    b"A" * 3000,
]
LAST = b"\r\n\r\nGET /track-hit?offer=last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def a_request(chance: random.Random) -> bytes:
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(1, 600))
    headers = chance.sample(HEADERS, chance.randrange(0, 6))
    if chance.random() < 0.8:
        headers.insert(0, HEADERS[0])
    request = bytearray(b"\r\n".join([chance.choice(LINES), *headers, b"", b""]))
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 8])):
        mutate(request, chance)
    return bytes(request)


def mutate(request: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(request) + 1)
    end = min(len(request), start + chance.randrange(1, 20))
    match chance.randrange(5):
        case 0:
            request[start:end] = b""
        case 1:
            request[start:start] = chance.choice(SPECIALS)
        case 2:
            request[start:start] = request[start:end] * chance.randrange(1, 5)
        case 3:
            request[start:end] = chance.randbytes(end - start)
        case 4 if request:
            request[min(start, len(request) - 1)] ^= 1 << chance.randrange(8)


async def send_them(face: Running, chance: random.Random, count: int, statuses: list[int]) -> None:
    """Send each request on a connection of its own, in one or two pieces, and read until the server closes."""
    for _ in range(count):
        request = a_request(chance)
        cut = chance.randrange(len(request) + 1) if chance.random() < 0.2 else 0
        async with await face.connect() as client:
            try:
                if cut:
                    await client.send_all(request[:cut])
                    await trio.lowlevel.checkpoint()
                await client.send_all(request[cut:] + LAST)
            except trio.BrokenResourceError:
                pass  # refused after its first piece; the answer may still arrive
            answer = await read_all(client)
        statuses += [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)]


@both_faces
async def test_thousands_of_fuzzed_requests_cause_no_server_error(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    statuses: list[int] = []
    with structlog.testing.capture_logs() as logs:
        async with running(limits_with(connections_max=200), kind) as face:
            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    chance = random.Random(SEED + number)
                    nursery.start_soon(send_them, face, chance, REQUESTS[kind] // CLIENTS, statuses)
            await face.assert_still_answers()
            await face.until_connections(0)
    assert [status for status in statuses if status >= 500 and status != 501] == []
    assert CODES[kind] <= set(statuses)
    assert len(statuses) > REQUESTS[kind] * 0.9
    assert [entry for entry in logs if entry["log_level"] != "debug"] == []
    assert [record.getMessage() for record in caplog.records] == []
