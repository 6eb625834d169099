"""An HTTP/1.1 client on one connection: llhttp (in httptools) on a WireStream.

A head that llhttp refuses is read by heads.py, as browsers read it, and given to llhttp in the usual form. Requests are
built here. h11 also checks the order of messages, and takes several times as long. Little is left to check, because a
connection is not used again after an answer that did not end properly.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

import httptools
import trio

from daemon.trace.page.body import Body, Headers
from daemon.trace.walk.verdicts import Failure
from daemon.trace.wire.heads import Refused, understood, understood_at_end
from daemon.trace.wire.stream import Broken, HopError, TooManyBytes, WireStream
from daemon.web.headers import value_of, values_of

TRANSFER_ENCODING = b"transfer-encoding"
INTERIM_STATUSES = range(100, 200)
SWITCHING_PROTOCOLS = 101
SIGN_BYTES = 64  # of an answer, within which it shows whether it is HTTP
FRAMING_BYTES_MAX = 16_384  # beside a body: the lines of its chunks, and the bytes that came with its head
BODY_LINE_BYTES = 8  # counted for each line of a body: pages have many lines, but chunks of one byte are slow to parse
LOOK_AFTER_S = 0.05  # a body that has not ended by then is examined, and again after each doubling of this time
SLOW_S = 0.4  # from then on the first words of a page count as its text
PAUSE_S = 0.25  # without a byte, after which the scripts of a page that has not ended may run
DRIPS_S = 2 * SLOW_S  # from then on they may run without a pause

RunEarly = Callable[[float], Awaitable[None]]


class Garbled(Exception):
    """The answer is malformed or incomplete."""


class _Answer:
    """The answer that is being received. `whole`: it has ended; `kept`: the connection can be used again."""

    __slots__ = ("_begun", "_refused", "broken", "complete", "headers", "kept", "parser", "pieces", "status",
                 "whole")  # fmt: skip

    def __init__(self) -> None:
        self.parser: httptools.HttpResponseParser | None = self._new_parser()
        self.begin()

    def _new_parser(self, *, lenient_headers: bool = False) -> httptools.HttpResponseParser:
        """`lenient_headers`: for values with control characters."""
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_headers=lenient_headers,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    def begin(self) -> None:
        self._begun = bytearray()  # its bytes until its head is complete
        self._refused = False  # llhttp refuses the head, or misreads it
        self._begin_head()

    def _begin_head(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: deque[bytes] = deque()  # of the body, not read yet
        self.complete = self.whole = self.kept = self.broken = False  # `complete`: the head is

    def on_message_begin(self) -> None:
        if self.whole:
            self.kept = False  # an answer without a request

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:  # trailer fields are ignored (RFC 9110, 6.5.1)
            self.headers.append((name, value.rstrip(b" \t")))
            if len(name) == len(TRANSFER_ENCODING) and name.lower() == TRANSFER_ENCODING:
                # For other codings llhttp waits for the connection's end, even with a Content-Length.
                self._refused = self._refused or value.lower() != b"chunked"

    def on_headers_complete(self) -> None:
        if not self.whole and self.parser is not None:
            self.status = self.parser.get_status_code()
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if not self.whole:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        if self.whole or self.parser is None:
            return
        if self.status in INTERIM_STATUSES and self.status != SWITCHING_PROTOCOLS:
            self._begin_head()  # an interim answer (RFC 9110, 15.2)
            return
        self.whole = True
        self.kept = self.status != SWITCHING_PROTOCOLS and self.parser.should_keep_alive()

    def feed(self, data: bytes) -> None:
        """Raises HopError for what is no answer of HTTP, Refused for a head; a malformed body sets `broken`."""
        if not self.complete:
            self._begun += data
        if not self._refused:
            self._parse(data)
        # A head ends with a line; that it is no HTTP shows in its first bytes.
        if self._refused and (b"\n" in data or len(self._begun) - len(data) <= SIGN_BYTES):
            self._parse_understood(understood)

    def _parse(self, data: bytes) -> None:
        if self.parser is None:
            raise ValueError("closed")
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError:
            self._refused = self._refused or not self.complete
            self.broken, self.kept = self.complete, False

    def feed_end(self, *, may_cut: bool) -> None:
        """The peer closed the connection. Raises Garbled unless the end of the connection ends the answer.

        `may_cut`: a head may end so.
        """
        if not self.complete and self._begun:
            self._parse_understood(partial(understood_at_end, may_cut=may_cut))
        if not self.whole and not (self.complete and self.ends_with_connection):
            raise Garbled("the peer closed before the answer's end")
        self.whole = True

    def _parse_understood(self, read: Callable[[bytes], bytes | None]) -> None:
        """Gives the answer to a new parser as `read` understands it, once its head is complete."""
        try:
            answer = read(bytes(self._begun))
        except ValueError:
            raise HopError(Failure.NOT_HTTP) from None
        if answer is not None:
            self.parser = self._new_parser(lenient_headers=True)
            self._begin_head()
            self._refused = False
            self._parse(answer)
            if self._refused:
                raise Garbled("a malformed head")

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body ends with the connection: neither chunked nor of a known length (RFC 9112, 6.3)."""
        chunked = any(b"chunked" in value.lower() for value in values_of(self.headers, b"transfer-encoding"))
        return not chunked and value_of(self.headers, b"content-length") is None


class Http1Client:
    """Sends requests and reads answers, one after the other.

    `idle`: the last answer was read to its end, and both sides keep the connection. `may_cut`: the connection's end may
    end a head (see heads.py).
    """

    __slots__ = ("_answer", "_may_cut", "_stream")

    def __init__(self, stream: WireStream, *, may_cut: bool = False) -> None:
        self._stream = stream
        self._may_cut = may_cut
        self._answer = _Answer()

    @property
    def idle(self) -> bool:
        return self._answer.kept

    def close(self) -> None:
        """Breaks the reference cycle of parser and callbacks. The owner closes the stream."""
        self._answer.parser = None

    async def ask(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> tuple[int, Headers]:
        """Sends a request; returns the status and headers of the final answer.

        The texts are latin-1. Raises ValueError for a line break in one of them, Broken, TooManyBytes, HopError for an
        answer that is not HTTP, and Garbled for one that is malformed or incomplete.
        """
        answer = self._answer
        answer.begin()
        with suppress(Broken):  # the peer may have answered before it closed the connection
            await self._stream.write(_request(method, target, headers) + body)
        while not answer.complete:
            try:
                await self._receive()
            except Refused as error:
                if method == "CONNECT":  # its status says whether the tunnel is open, whatever else the head says
                    return error.status, ()
                raise Garbled(str(error)) from None
        return answer.status, tuple(answer.headers)

    async def drain(self, body_bytes_max: int, wait_s: float) -> None:
        """Reads a small body to its end, so that the connection is idle again. Raises nothing."""
        answer = self._answer
        if answer.whole:
            return
        self._stream.allow(body_bytes_max)
        with suppress(Broken, TooManyBytes, Garbled), trio.move_on_after(wait_s):
            while not answer.whole:  # if the body does not end, the owner closes the connection
                await self._receive()

    async def read(self, body: Body, wait_s: float, run_early: RunEarly | None = None) -> None:
        """Feeds the answer's body to `body` until `body` has enough, the answer ends or breaks, or `wait_s` are over.

        `run_early` is called with the time so far when the body pauses or drips. Raises nothing. After the body's end
        the connection is idle again.
        """
        answer = self._answer
        self._stream.allow(2 * body.bytes_max + FRAMING_BYTES_MAX, BODY_LINE_BYTES)
        began_s = trio.current_time()
        look_s = LOOK_AFTER_S
        waited_s, drips = 0.0, False
        pause_ends_s = math.inf if run_early is None else PAUSE_S  # after `began_s`, as all times here
        with suppress(Broken, TooManyBytes, Garbled):
            while True:
                while answer.pieces and not body.enough:
                    body.feed(answer.pieces.popleft())
                if body.enough or answer.whole:
                    break
                if run_early is not None and (drips or waited_s >= pause_ends_s):
                    drips, pause_ends_s = False, math.inf  # until the next byte
                    with trio.move_on_at(began_s + wait_s):
                        await run_early(waited_s)
                    if body.enough:
                        break
                with trio.move_on_at(began_s + min(look_s, wait_s, pause_ends_s)) as receiving:
                    await self._receive()
                waited_s = trio.current_time() - began_s
                if waited_s >= wait_s:
                    break
                if waited_s >= look_s:
                    body.look(slow=look_s >= SLOW_S)
                    drips = look_s >= DRIPS_S
                    look_s *= 2
                if run_early is not None and not receiving.cancelled_caught:
                    pause_ends_s = waited_s + PAUSE_S
        late_after_s = (wait_s or waited_s) if waited_s >= wait_s else 0
        body.end(whole=answer.whole and not answer.pieces, late_after_s=late_after_s)

    async def _receive(self) -> None:
        """Reads and parses the next bytes. Raises as `ask` does."""
        if self._answer.broken:
            raise Garbled("malformed body")
        if data := await self._stream.read():
            self._answer.feed(data)
        else:
            self._answer.feed_end(may_cut=self._may_cut)


def _request(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers], "", ""]
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError(f"a line break in a {method} request's target or headers")
    return head.encode("latin-1")
