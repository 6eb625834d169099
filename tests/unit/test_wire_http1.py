"""The HTTP/1.1 client of the wire accepts the answers that browsers accept."""

import pytest

from daemon.trace.page.body import FirstBytes
from daemon.trace.wire.http1 import Garbled, Http1Client
from daemon.trace.wire.stream import CountedStream, Meter, WireStream

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = b"Content-Length: 5\r\n\r\nhello"


class Played:
    """A peer that sends `pieces` and closes its side."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.sent = b""

    async def send_all(self, data: bytes) -> None:
        self.sent += data

    async def receive_some(self, bytes_max: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


class Unused(CountedStream):
    def __init__(self) -> None:
        self._meter = Meter()


def exchange_with(*pieces: bytes) -> tuple[Http1Client, Played, WireStream]:
    peer = Played(*pieces)
    stream = WireStream(peer, Unused())
    stream.allow(65_536)
    return Http1Client(stream), peer, stream


async def read(exchange: Http1Client) -> tuple[int, bytes]:
    status, _ = await exchange.ask("GET", "/", [("Host", "a.example")])
    body = FirstBytes(100)
    await exchange.read(body, 1)
    return status, body.data


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + HELLO],
        [OK, HELLO],
        [bytes([byte]) for byte in OK + HELLO],
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + HELLO],
        [b"HTTP/1.1 200\r\n" + HELLO],
        [b"HTTP/1.2 200 OK\r\n" + HELLO],
        [(OK + HELLO).replace(b"\r\n", b"\n")],
        [OK + b"X: a\r\n  b\r\nY: \x01\xff\r\n" + HELLO],
        [OK + b"Content-Length: 5\r\n" + HELLO],
        [OK + b"content-length:5 \r\nX: y\r\nCONTENT-LENGTH: 5\r\n", HELLO],
        [OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"],
    ],
)
async def test_an_answer_is_accepted_as_in_browsers(pieces: list[bytes]) -> None:
    exchange, _, _ = exchange_with(*pieces)
    assert await read(exchange) == (200, b"hello")
    assert exchange.idle


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\n" + HELLO,
        OK + b"\r\nhello",
        b"HTTP/1.0 200 OK\r\n" + HELLO,
        OK + HELLO + b"HTTP/1.1 200 OK\r\n\r\n",
        OK + HELLO + b"x",
    ],
)
async def test_a_connection_is_not_used_again_if_that_is_unsafe(answer: bytes) -> None:
    exchange, _, _ = exchange_with(answer)
    assert await read(exchange) == (200, b"hello")
    assert not exchange.idle


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 20",
        OK,
        OK + b"no colon\r\n\r\n",
        OK + b"Content-Length: 4\r\n" + HELLO,
        OK + b"Content-Length: x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ],
)
async def test_a_malformed_answer_is_garbled(answer: bytes) -> None:
    exchange, _, _ = exchange_with(answer)
    with pytest.raises(Garbled):
        await read(exchange)
    assert not exchange.idle


@pytest.mark.parametrize("broken", [b"5\r\nhello\r\nZZ\r\n", b"5\r\nhello"])
async def test_a_broken_body_is_read_up_to_the_break(broken: bytes) -> None:
    exchange, _, _ = exchange_with(OK + b"Transfer-Encoding: chunked\r\n\r\n" + broken)
    assert await read(exchange) == (200, b"hello")
    assert not exchange.idle


async def test_requests_are_sent_unchanged_one_after_the_other_on_one_connection() -> None:
    exchange, peer, stream = exchange_with(OK + HELLO, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")
    await read(exchange)
    stream.allow(65_536)
    assert (await exchange.ask("POST", "/two", [("Host", "b.example"), ("X", "\xe9")], b"a=1"))[0] == 302
    await exchange.drain(100, 1)
    assert exchange.idle
    assert peer.sent == (
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nPOST /two HTTP/1.1\r\nHost: b.example\r\nX: \xe9\r\n\r\na=1"
    )


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\rb"])
async def test_a_header_with_a_line_break_is_refused(value: str) -> None:
    exchange, peer, _ = exchange_with(OK + HELLO)
    with pytest.raises(ValueError, match="line break"):
        await exchange.ask("GET", "/", [("Host", "a.example"), ("X", value)])
    assert peer.sent == b""
