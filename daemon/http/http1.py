"""HTTP/1.0 and 1.1 as a server speaks them: bytes in, requests out; answers in, bytes out. No sockets, no clocks.

llhttp (in httptools) does the parsing; which requests no handler sees is said by heads.py. There is no way into HTTP/2
or WebSockets: an offer to upgrade is ignored (RFC 9110, 7.8).
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from http import HTTPStatus

import httptools
import msgspec
from msgspec.structs import replace

from daemon.http.request_rules import origin_form, refusal_of, with_ascii_request_line

BODILESS = frozenset({204, 304})
REQUESTS_MAX = 1_000  # of one connection; the answer to the last says that the connection closes

Headers = Sequence[tuple[bytes, bytes]]


class Refused(Exception):
    """What came is for no handler. `status` is of the 4xx kind: whatever a client sends is not our failure."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Request(msgspec.Struct, frozen=True):
    """A head. `target` begins with a slash, the names of `headers` are in lower case.

    `keeps`: the client would go on with the connection.
    """

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keeps: bool = False


class Sign(Enum):
    """What `next_event` may say beside a request and a part of its body."""

    BODY_ENDED = "the request is whole"
    NEED_DATA = "nothing more before `receive` is called"
    PAUSED = "what follows is another request, for after the answer"
    CLOSED = "the client sends no more"


class _Incoming:
    """What the parser finds, in its order: heads (not yet judged), parts of bodies, ends."""

    __slots__ = ("_headers", "_parser", "_target", "events", "heads", "in_head", "in_message")

    def __init__(self) -> None:
        self.events: deque[Request | bytes | Sign] = deque()
        self.heads = 0  # begun so far
        self.in_message = self.in_head = False
        self._parser: httptools.HttpRequestParser | None = self._new_parser()

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)  # RFC 9112, 2.2: clients by hand
        return parser

    def close(self) -> None:
        """Parser and callbacks hold each other: neither is left to the collector."""
        self._parser = None

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError."""
        rest = memoryview(data)
        while rest and self._parser is not None:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:  # which is ignored: what follows is HTTP as before
                rest = rest[upgrade.args[0] :]
                self._parser = self._new_parser()

    def on_message_begin(self) -> None:
        self.heads += 1
        self.in_message = self.in_head = True
        self._target: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []

    def on_url(self, data: bytes) -> None:
        self._target.append(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # those behind a chunked body are nobody's
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_head = False
        parser = self._parser
        assert parser is not None, "who calls this?"
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        keeps = version == "1.1" and parser.should_keep_alive()
        self.events.append(Request(method, b"".join(self._target), version, self._headers, keeps))

    def on_body(self, data: bytes) -> None:
        self.events.append(data)

    def on_message_complete(self) -> None:
        self.in_message = False
        self.events.append(Sign.BODY_ENDED)


class PlainHTTP:
    """One connection. `requests` is how many heads have come."""

    __slots__ = (
        "_awaits_go_on",
        "_bodiless",
        "_body_bytes_left",
        "_body_bytes_max",
        "_chunked",
        "_closed",
        "_head_bytes",
        "_head_bytes_max",
        "_incoming",
        "_keeps",
        "_length_left",
        "_request",
        "_request_whole",
        "_stage",
        "_wrong",
        "requests",
    )

    def __init__(self, *, head_bytes_max: int, body_bytes_max: int) -> None:
        self._incoming = _Incoming()
        self._head_bytes_max = head_bytes_max
        self._head_bytes = 0  # of the head that is coming, but for the read in which it began
        self._body_bytes_max = self._body_bytes_left = body_bytes_max
        self._closed = False
        self._wrong: Refused | None = None  # once what came before it is dealt with
        self._request: Request | None = None  # that is being answered
        self._request_whole = False
        self._awaits_go_on = False
        self._stage = _Stage.NOT_BEGUN
        self._chunked = self._bodiless = False  # of the answer
        self._length_left: int | None = None  # of the answer, where it said how long it would be
        self._keeps = False
        self.requests = 0

    @property
    def has_more(self) -> bool:
        """Of what was received, something is still to be asked for."""
        return bool(self._incoming.events)

    @property
    def has_partial_head(self) -> bool:
        return self._incoming.in_head or self.has_more

    def close(self) -> None:
        """Nothing more comes, or is asked."""
        self._incoming.close()

    def receive(self, data: bytes) -> None:
        """What the client sent; nothing when it sends no more."""
        if self._wrong is not None:
            return
        incoming = self._incoming
        if not data:
            self._closed = True
            if incoming.in_message:
                self._wrong = Refused(400, "the client left in the middle of a request")
            return
        heads = incoming.heads
        if not incoming.in_message:
            data = with_ascii_request_line(data)
        try:
            incoming.feed(data)
        except httptools.HttpParserError as error:
            self._wrong = Refused(400, str(error))
            return
        if not incoming.in_head:
            return
        self._head_bytes = self._head_bytes + len(data) if incoming.heads == heads else 0
        if self._head_bytes > self._head_bytes_max:
            self._wrong = Refused(431, "the head is too long")

    def next_event(self) -> Request | bytes | Sign:
        """Bytes are a part of a body. Raises Refused, after which nothing more may be asked."""
        events = self._incoming.events
        if self._request is not None and self._request_whole:
            return Sign.PAUSED if events or self._wrong else Sign.CLOSED if self._closed else Sign.NEED_DATA
        if events:
            event = events.popleft()
            if isinstance(event, Request):
                return self._admitted(event)
            if isinstance(event, bytes):
                self._awaits_go_on = False
                self._body_bytes_left -= len(event)
                if self._body_bytes_left < 0:  # a chunked body does not say its length before
                    raise Refused(413, "the body is too long")
            else:
                self._request_whole = True
            return event
        if self._wrong is not None:
            raise self._wrong
        return Sign.CLOSED if self._closed else Sign.NEED_DATA

    def _admitted(self, head: Request) -> Request:
        version = head.version
        refusal = refusal_of(head.method, head.target, version, head.headers, body_bytes_max=self._body_bytes_max)
        target = origin_form(head.target)
        if refusal is not None or target is None:
            raise Refused(*(refusal.status, refusal.reason) if refusal else (400, "no target"))
        self._body_bytes_left = self._body_bytes_max
        self.requests += 1
        self._request, self._request_whole, self._stage = head, False, _Stage.NOT_BEGUN
        self._awaits_go_on = version == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in head.headers
        )
        return head if target == head.target else replace(head, target=target)

    def go_on(self) -> bytes:
        """The interim answer to a client that waits to be asked for its body; nothing to others."""
        waits, self._awaits_go_on = self._awaits_go_on, False
        return b"HTTP/1.1 100 Continue\r\n\r\n" if waits else b""

    def head(self, status: int, headers: Headers) -> bytes:
        """Begins the answer. Raises ValueError, as `body` and `end` do, for what cannot be sent."""
        request = self._request
        self._length_left, self._chunked = None, False
        keeps = request is not None and request.keeps and self.requests < REQUESTS_MAX
        lines = [b"HTTP/1.1 %d %b" % (status, _phrase(status))]
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-length":
                self._length_left = int(value)
            elif lowered == b"connection" and value.lower() == b"close":
                keeps = False
                continue
            lines.append(b"%b: %b" % (name, value))
        self._bodiless = status in BODILESS or (request is not None and request.method == "HEAD")
        if self._bodiless:
            self._length_left = None
        elif self._length_left is None and request is not None and request.version == "1.1":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked")
        elif self._length_left is None:
            keeps = False  # its end is the connection's
        if not keeps:
            lines.append(b"connection: close")
        self._keeps, self._awaits_go_on, self._stage = keeps, False, _Stage.BODY
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
            raise ValueError("a header of the answer has a line break or a NUL")
        return head + b"\r\n\r\n"

    def body(self, data: bytes) -> bytes:
        """A part of the answer; nothing where it has no body, as to HEAD."""
        if self._bodiless:
            return b""
        if not data or not self._chunked:
            if self._length_left is not None:
                self._length_left -= len(data)
                if self._length_left < 0:
                    raise ValueError("the answer is longer than it said")
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)

    def end(self) -> bytes:
        if self._length_left:
            raise ValueError("the answer is shorter than it said")
        self._stage = _Stage.ENDED
        return b"0\r\n\r\n" if self._chunked else b""

    def bare(self, status: int, headers: Headers, body: bytes = b"") -> bytes:
        """A whole answer of our own, the connection's last; nothing where an answer has begun already."""
        if self._request is not None and self._stage is not _Stage.NOT_BEGUN:
            return b""
        head = self.head(status, [(b"content-length", b"%d" % len(body)), (b"connection", b"close"), *headers])
        return head + self.body(body) + self.end()

    def begin_next(self) -> bool:
        """After an answer: whether the connection goes on. What waits of the next request can be asked for then."""
        if not (self._keeps and self._request_whole and self._stage is _Stage.ENDED):
            return False
        self._request = None
        return True


class _Stage(Enum):
    """Of an answer."""

    NOT_BEGUN = 0
    BODY = 1
    ENDED = 2


@lru_cache
def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""
