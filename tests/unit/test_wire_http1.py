"""The HTTP/1.1 client of the wire accepts the answers that browsers accept, and reads them alike."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.page.body import FirstBytes
from daemon.trace.walk.verdicts import Failure
from daemon.trace.wire.http1 import Garbled, Http1Client
from daemon.trace.wire.stream import CountedStream, HopError, Meter, WireStream
from daemon.web.headers import value_of, values_of

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


def exchange_with(*pieces: bytes, may_cut: bool = False) -> tuple[Http1Client, Played, WireStream]:
    peer = Played(*pieces)
    stream = WireStream(peer, Unused())
    stream.allow(65_536)
    return Http1Client(stream, may_cut=may_cut), peer, stream


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
        OK + b"Content-Length: 4\r\n" + HELLO,
        OK + b"Content-Length: 4, 5\r\n\r\nhello",
        OK + b"X: a\0b\r\n" + HELLO,
        OK + b"X: y\r\nContent-Len",
    ],
)
@pytest.mark.parametrize("may_cut", [True, False])
async def test_an_answer_that_browsers_refuse_is_garbled(answer: bytes, may_cut: bool) -> None:
    exchange, _, _ = exchange_with(answer, may_cut=may_cut)
    with pytest.raises(Garbled):
        await read(exchange)
    assert not exchange.idle


def redirect(line: bytes = b"", *, status_line: bytes = b"HTTP/1.1 302 Found", end: bytes = b"\r\n") -> bytes:
    """A redirect with a further line in its head."""
    return end.join([status_line, *([line] if line else []), b"Location: /next", b"Content-Length: 0", end])


@pytest.mark.parametrize(
    "answer",
    [
        *(
            redirect(line)
            for line in (
                b"no colon", b": no name", b"HTTP/1.1 302 Found", b"two words: a", b"X@: a", b"X-F\xc3\xbc: a",
                b"X : a",
                b" folded under nothing", b"X: a\r\n b", b"X: a\rb", b"X: a\rY: b", b"X: \x01\x7f", b"\tLocation: /no",
            )
        ),
        *(
            redirect(status_line=line)
            for line in (
                b"http/1.1 302 Found", b"HTTP/1.1  302 Found", b"HTTP/1.1 302", b"HTTP/1.1 302Found", b"HTTP/2 302",
                b"HTTP/2.0 302 Found", b"HTTP/1.0 302 Found", b"HTTP 302 Found", b"ICY 302 Found",
                b"\r\nHTTP/1.1 302 Found",
                b"\r\n\r\n\r\nHTTP/1.1 302 Found", b"\xef\xbb\xbfHTTP/1.1 302 Found", b"HTTP/1.1 302 F\xfcr",
                b"HTTP/1.1 103 Early Hints\r\n: x\r\n\r\nHTTP/1.1 302 Found",
            )
        ),
        redirect(b"no colon", end=b"\n"),
        redirect().replace(b"Location:", b"Location \t:"),
        redirect().replace(b"Location: /", b"Location:\r\n\t/"),
    ],
)  # fmt: skip
async def test_a_redirect_is_followed_whatever_else_its_head_has(answer: bytes) -> None:
    for pieces in ([answer], [answer[:-3], answer[-3:]], [bytes([byte]) for byte in answer]):
        exchange, _, _ = exchange_with(*pieces)
        status, headers = await exchange.ask("GET", "/", [])
        assert (status, values_of(headers, b"location")) == (302, [b"/next"])


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b"Content-Length: 5, 5", b"hello"),
        (b"Content-Length: 5\r\nContent-Length: 5, 5", b"hello"),
        (b"Content-Length: ,5", b"hello"),
        (b"Content-Length : 5", b"hello"),
        (b"Content-Length:", b"hello, all"),
        (b"Content-Length: none", b"hello, all"),
        (b"Content-Length: x\r\nContent-Length: x", b"hello, all"),
        (b"Content-Length: +5", b"hello, all"),
        (b"Content-Length: -1", b"hello, all"),
        (b"Content-Length: 5.0", b"hello, all"),
        (b"Content-Length: 0x5", b"hello, all"),
        (b"Content-Length: 99999999999999999999", b"hello, all"),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5", b"hello"),
        (b"Transfer-Encoding: xchunked", b"hello, all"),
    ],
)
async def test_a_content_length_that_is_no_number_is_none(line: bytes, body: bytes) -> None:
    exchange, _, _ = exchange_with(OK + line + b"\r\n\r\nhello, all")
    assert await read(exchange) == (200, body)


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 4, 9",
        b"Transfer-Encoding: gzip, Chunked",
        b"Transfer-Encoding: chunked, gzip\r\nContent-Length: 3",
        b"Transfer-Encoding : chunked",
        b"no colon\r\nTransfer-Encoding: chunked",
    ],
)
async def test_a_body_is_chunked_if_one_coding_is(line: bytes) -> None:
    exchange, _, _ = exchange_with(OK + line + b"\r\n\r\n5\r\nhel", b"lo\r\n0\r\n\r\n")
    assert await read(exchange) == (200, b"hello")
    assert exchange.idle


@pytest.mark.parametrize(
    ("status_line", "status"),
    [
        (b"HTTP/1.1", 200),
        (b"HTTP/1.1 abc", 200),
        (b"HTTP/1.1302 Found", 200),
        (b"HTTP/1.1 1000 x", 999),
        (b"HTTP/1.1 20 x", 20),
    ],
)
async def test_a_status_that_is_no_number_is_200(status_line: bytes, status: int) -> None:
    exchange, _, _ = exchange_with(status_line + b"\r\n" + HELLO)
    assert await read(exchange) == (status, b"hello")


async def test_a_head_may_end_with_the_connection_over_plain_http() -> None:
    cut = b"HTTP/1.1 301 Moved\r\nContent-Length: 7\r\nLocation: /next\r\n"
    exchange, _, _ = exchange_with(cut, may_cut=True)
    status, headers = await exchange.ask("GET", "/", [])
    assert (status, value_of(headers, b"location"), exchange.idle) == (301, b"/next", False)
    exchange, _, _ = exchange_with(cut, may_cut=False)
    with pytest.raises(Garbled):
        await exchange.ask("GET", "/", [])
    exchange, _, _ = exchange_with(cut[:-5], may_cut=True)  # half a Location
    with pytest.raises(Garbled):
        await exchange.ask("GET", "/", [])


@pytest.mark.parametrize(
    "pieces", [[b"SSH-2.0-server\r\n"], [b"+OK"], [b"\x15\x03\x03\0\x02\x02\x28"], [b"<html>", b"HTTP"]]
)
async def test_what_is_not_http_is_no_answer(pieces: list[bytes]) -> None:
    exchange, _, _ = exchange_with(*pieces)
    with pytest.raises(HopError) as raised:
        await exchange.ask("GET", "/", [])
    assert raised.value.failure is Failure.NOT_HTTP


@pytest.mark.parametrize(
    "line",
    [b"Proxy agent x", b"Content-Length:", b"Content-Length: 0, 1", b"X: \0", b"Agent : x", b"Transfer-Encoding: x"],
)
async def test_a_tunnel_is_open_whatever_else_the_head_says(line: bytes) -> None:
    exchange, _, _ = exchange_with(b"\r\nHTTP/1.1  200 OK\r\n" + line + b"\r\n\r\n")
    assert (await exchange.ask("CONNECT", "a.example:443", []))[0] == 200


@given(st.lists(st.binary(max_size=40), max_size=8))
async def test_no_bytes_raise_anything_else(pieces: list[bytes]) -> None:
    exchange, _, _ = exchange_with(b"HTTP/1.1 ", *pieces, may_cut=True)
    with suppress(Garbled, HopError):
        await exchange.ask("GET", "/", [])


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
