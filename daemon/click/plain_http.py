"""HTTP/1.0 and 1.1 as a server speaks them: bytes in, requests out; answers in, bytes out. No sockets, no clocks.

h11 does the parsing and knows what may follow what; which requests no handler sees is said by heads.py. There is no way
into HTTP/2 or WebSockets: an offer to upgrade is ignored (RFC 9110, 7.8).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import h11

from daemon.click.heads import origin_form, refusal_of, with_ascii_request_line

REQUESTS_MAX = 1_000  # of one connection; the answer to the last says that the connection closes

Headers = Sequence[tuple[bytes, bytes]]


class Refused(Exception):
    """What came is for no handler. `status` is of the 4xx kind: whatever a client sends is not our failure."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A head. `target` begins with a slash, the names of `headers` are in lower case."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]


class Sign(Enum):
    """What `next_event` may say beside a request and a part of its body."""

    BODY_ENDED = "the request is whole"
    NEED_DATA = "nothing more before `receive` is called"
    PAUSED = "what follows is another request, for after the answer"
    CLOSED = "the client sends no more"


class PlainHTTP:
    """One connection. `requests` is how many heads have come."""

    __slots__ = ("_body_bytes_left", "_body_bytes_max", "_h11", "requests")

    def __init__(self, *, head_bytes_max: int, body_bytes_max: int) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes_max)
        self._body_bytes_max = self._body_bytes_left = body_bytes_max
        self.requests = 0

    @property
    def has_partial_head(self) -> bool:
        return bool(self._h11.trailing_data[0])

    def receive(self, data: bytes) -> None:
        """What the client sent; nothing when it sends no more."""
        if data and self._h11.their_state is h11.IDLE and not self.has_partial_head:
            data = with_ascii_request_line(data)
        self._h11.receive_data(data)

    def next_event(self) -> Request | bytes | Sign:
        """Bytes are a part of a body. Raises Refused, after which nothing more may be asked."""
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            hint = error.error_status_hint
            # h11 suggests 501 for a transfer coding that it does not know.
            raise Refused(hint if hint < 500 else 400, str(error)) from error
        if isinstance(event, h11.Request):
            return self._admitted(event)
        if isinstance(event, h11.Data):
            self._body_bytes_left -= len(event.data)
            if self._body_bytes_left < 0:  # a chunked body does not say its length before
                raise Refused(413, "the body is too long")
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return Sign.BODY_ENDED
        if event is h11.NEED_DATA:
            return Sign.NEED_DATA
        return Sign.PAUSED if event is h11.PAUSED else Sign.CLOSED

    def _admitted(self, event: h11.Request) -> Request:
        headers = list(event.headers)
        version = event.http_version
        refusal = refusal_of(event.method, event.target, version, headers, body_bytes_max=self._body_bytes_max)
        target = origin_form(event.target)
        if refusal is not None or target is None:
            raise Refused(*(refusal.status, refusal.reason) if refusal else (400, "no target"))
        self._body_bytes_left = self._body_bytes_max
        self.requests += 1
        return Request(event.method.decode("ascii").upper(), target, version.decode("ascii"), headers)

    def go_on(self) -> bytes:
        """The interim answer to a client that waits to be asked for its body; nothing to others."""
        if not self._h11.they_are_waiting_for_100_continue:
            return b""
        return self._sent(h11.InformationalResponse(status_code=100, headers=[]))

    def head(self, status: int, headers: Headers) -> bytes:
        """Begins the answer. Raises h11.LocalProtocolError, as `body` and `end` do, for what cannot be sent."""
        last = [(b"connection", b"close")] if self.requests >= REQUESTS_MAX else []
        return self._sent(h11.Response(status_code=status, headers=[*headers, *last]))

    def body(self, data: bytes) -> bytes:
        return self._sent(h11.Data(data=data))

    def end(self) -> bytes:
        return self._sent(h11.EndOfMessage())

    def bare(self, status: int, headers: Headers, body: bytes = b"") -> bytes:
        """A whole answer of our own, the connection's last; nothing where an answer has begun already."""
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return b""
        closing = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        head = self._sent(h11.Response(status_code=status, headers=[*closing, *headers]))
        return head + (self.body(body) if body else b"") + self.end()

    def begin_next(self) -> bool:
        """After an answer: whether the connection goes on. What waits of the next request can be asked for then."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def _sent(self, event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage) -> bytes:
        return self._h11.send(event) or b""
