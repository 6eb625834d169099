"""HTTP/1.0 and 1.1 of the click face: bytes in, requests out; responses in, bytes out. No sockets, no clock.

llhttp (in httptools) does the parsing; request_rules.py decides which requests are refused. The body of a POST is not
used, whatever its length: the connection ends with its answer, so that no byte of a body is taken for a request. Any
other body is refused.
An Upgrade to HTTP/2 or WebSocket is ignored (RFC 9110, 7.8).
"""

import math
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

import httptools
import msgspec

from daemon.http.request_rules import Refusal, has_body, origin_form, path_of, refusal_of, with_ascii_request_line

NO_CONTENT = 204
REQUESTS_MAX = 1_000  # of one connection; the last response carries `Connection: close`

Header = tuple[bytes, bytes]


class Request(msgspec.Struct, frozen=True):
    """`path` is percent-decoded; the names of `headers` are in lower case.

    keeps: the connection stays open after the response.
    peer: the client's address; None at a unix socket.
    waited_s: how long the request had waited in the kernel when its connection was accepted.
    """

    method: str
    path: str
    query: bytes
    headers: list[Header]
    keeps: bool = False
    peer: str | None = None
    waited_s: float = 0.0


class Response(msgspec.Struct, frozen=True):
    """`status` is not 1xx or 304; with 204 there is no body. Content-Length, Date and Connection are added."""

    status: int
    headers: Sequence[Header] = ()
    body: bytes = b""


class PlainHTTP:
    """The parser of one connection. `requests` counts those that `next_request` returned."""

    __slots__ = (
        "_head_bytes",
        "_head_bytes_max",
        "_headers",
        "_heads",
        "_heads_begun",
        "_in_head",
        "_in_message",
        "_parser",
        "_refusal",
        "_target",
        "requests",
    )

    def __init__(self, *, head_bytes_max: int) -> None:
        self._head_bytes = 0  # of the incomplete head, without the read in which it began
        self._head_bytes_max = head_bytes_max
        self._heads: deque[tuple[str, bytes, str, list[Header], bool]] = deque()  # parsed, not yet checked
        self._heads_begun = 0
        self._in_head = self._in_message = False
        self._refusal: Refusal | None = None  # of the request after `_heads`
        self._parser: httptools.HttpRequestParser | None = self._new_parser()
        self.requests = 0

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)  # RFC 9112, 2.2: a bare LF
        return parser

    @property
    def has_more(self) -> bool:
        """A further request has been received already."""
        return bool(self._heads)

    @property
    def has_partial_head(self) -> bool:
        return self._in_head or self.has_more

    def close(self) -> None:
        """Break the reference cycle of parser and callbacks: both are freed without the garbage collector."""
        self._parser = None

    def receive(self, data: bytes) -> None:
        """Parse data from the client; b"" when the client sends no more."""
        if self._refusal is not None:
            return
        if not data:
            if self._in_message:
                self._refusal = Refusal(400, "the client disconnected in the middle of a request")
            return
        heads_begun = self._heads_begun
        if not self._in_message:
            data = with_ascii_request_line(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refusal = Refusal(400, str(error))
            return
        if not self._in_head:
            return
        self._head_bytes = self._head_bytes + len(data) if self._heads_begun == heads_begun else 0
        if self._head_bytes > self._head_bytes_max:
            self._refusal = Refusal(431, "the head is too long")

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._parser is not None:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:  # ignored: HTTP/1.1 goes on after it
                rest = rest[upgrade.args[0] :]
                self._parser = self._new_parser()

    def next_request(self, peer: str | None = None, waited_s: float = 0.0) -> Request | Refusal | None:
        """Return the next request, or None until more is received. A Refusal is the last result."""
        if not self._heads:
            return self._refusal
        method, target, version, headers, keeps = self._heads.popleft()
        body_bytes_max = math.inf if method == "POST" else 0
        refusal = refusal_of(method, target, version, headers, body_bytes_max=body_bytes_max)
        if refusal is not None:
            return refusal
        self.requests += 1
        raw_path, _, query = (origin_form(target) or target).partition(b"?")
        keeps = keeps and self.requests < REQUESTS_MAX and not has_body(headers)
        return Request(method, path_of(raw_path), query, headers, keeps, peer, waited_s)

    # Callbacks of the parser, in the order of a message's parts.

    def on_message_begin(self) -> None:
        self._heads_begun += 1
        self._in_message = self._in_head = True
        self._target = b""
        self._headers: list[Header] = []

    def on_url(self, data: bytes) -> None:
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailer fields are ignored (RFC 9110, 6.5.1)
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        assert parser is not None, "the parser calls this method"
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        keeps = version == "1.1" and parser.should_keep_alive()
        self._heads.append((method, self._target, version, self._headers, keeps))

    def on_message_complete(self) -> None:
        self._in_message = False


def response_bytes(response: Response, date: bytes, *, keeps: bool, bodiless: bool = False) -> bytes:
    """The response for the wire. `bodiless`: without the body, as for HEAD.

    Raises ValueError for a header with a line break or a NUL.
    """
    lines = [b"HTTP/1.1 %d %b" % (response.status, _phrase(response.status))]
    lines += [b"%b: %b" % header for header in response.headers]
    if response.status != NO_CONTENT:  # RFC 9110, 8.6
        lines.append(b"content-length: %d" % len(response.body))
    lines.append(b"date: " + date)
    if not keeps:
        lines.append(b"connection: close")
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a header of the answer has a line break or a NUL")
    return head + b"\r\n\r\n" + (b"" if bodiless else response.body)


@lru_cache
def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode("ascii")
