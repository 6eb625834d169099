"""Requests and answers on one connection, one after the other: llhttp (in httptools) behind a WireStream.

llhttp parses what comes, as leniently as browsers do; requests are lines of text, put together here. h11 would check
what follows what as well, at a multiple of the time; a connection whose answer did not end as it should is never used
again, so that there is little to check.
"""

import re
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

import httptools
import trio

from daemon.trace.page.body import Body
from daemon.trace.wire.stream import Broken, TooMuch, WireStream
from daemon.web.headers import value_of, values_of

VERSION = b"HTTP/1."
_LENGTH = re.compile(rb"\r?\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r?\n|\Z)", re.IGNORECASE)
SWITCHING_PROTOCOLS, FIRST_FINAL_STATUS = 101, 200
HEAD_ROOM_BYTES = 16_384  # for what a body is wrapped in: the lines of chunks, the bytes that came beside it
BODY_LINE_BYTES = 8  # beside its own bytes: pages have many lines, and chunks of a byte each are slow to parse
MENDS_MAX = 32  # of one connection: heads that are parsed anew, since they say their length more than once
LOOK_AFTER_S = 0.05  # a body that has not ended by then is looked at; again after twice the time, and so on
SLOW_S = 0.4  # from then on a look takes the first words for the page's own

Headers = tuple[tuple[bytes, bytes], ...]


class NotHttp(Exception):
    """What came in place of an answer does not even begin as one."""


class Garbled(Exception):
    """What came is no whole answer: it breaks the rules of HTTP, or ends before its time."""


class _Answer:
    """What the parser says of the answer that is coming. `whole`: to its last byte; `kept`: the connection goes on."""

    __slots__ = ("_mends_left", "broken", "complete", "head", "headers", "kept", "parser", "pieces", "status", "whole")

    def __init__(self) -> None:
        self.parser: httptools.HttpResponseParser | None = self._new_parser()
        self._mends_left = MENDS_MAX
        self.begin()

    def _new_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_version=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    def begin(self) -> None:
        self.status = 0
        self.head = bytearray()  # what has come until it is complete
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: deque[bytes] = deque()  # of the body, to be read
        self.complete = self.whole = self.kept = self.broken = False  # `complete` is the head

    def on_message_begin(self) -> None:
        if self.whole:
            self.kept = False  # bytes that nobody asked for; those behind them do not matter

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:  # those behind a chunked body are nobody's
            self.headers.append((name, value.rstrip(b" \t")))

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
        if self.status < FIRST_FINAL_STATUS and self.status != SWITCHING_PROTOCOLS:
            self.begin()  # an interim answer
            return
        self.whole = True
        self.kept = self.status != SWITCHING_PROTOCOLS and self.parser.should_keep_alive()

    def feed(self, data: bytes) -> None:
        """Raises Garbled where the head is; what is wrong behind it breaks the body."""
        if self.parser is None:
            raise ValueError("closed")
        if not self.complete:
            self.head += data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError as error:
            if not self.complete and self._mends_left and (once := _with_one_length(bytes(self.head))) is not None:
                self._mends_left -= 1
                self.parser = self._new_parser()
                self.begin()
                self.feed(once)
                return
            self.broken, self.kept = True, False
            if not self.complete:
                raise Garbled(str(error)) from error

    def feed_end(self) -> None:
        """The peer closed. Raises Garbled unless that is how the answer says that it ends."""
        if not (self.complete and self.ends_with_connection):
            raise Garbled("the peer closed before the answer's end")
        self.whole = True

    @property
    def ends_with_connection(self) -> bool:
        """Of a head: nothing else says where its body ends (RFC 9112, 6.3)."""
        chunked = any(b"chunked" in value.lower() for value in values_of(self.headers, b"transfer-encoding"))
        return not chunked and value_of(self.headers, b"content-length") is None


class Exchange:
    """`idle`: the last answer was read to its end, and both sides keep the connection."""

    __slots__ = ("_answer", "_begun", "_stream")

    def __init__(self, stream: WireStream) -> None:
        self._stream = stream
        self._begun = False  # bytes of the answer have come
        self._answer = _Answer()

    @property
    def idle(self) -> bool:
        return self._answer.kept

    def close(self) -> None:
        """Parser and callbacks hold each other: neither is left to the collector. The stream is the owner's."""
        self._answer.parser = None

    async def ask(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
    ) -> tuple[int, Headers]:
        """Sends a request; gives the answer's status and headers, interim answers passed over.

        The texts are latin-1. Raises ValueError for a line break in one of them, Broken, TooMuch, NotHttp, and Garbled,
        for an end that comes too early as well.
        """
        self._begun = False
        answer = self._answer
        answer.begin()
        with suppress(Broken):  # the peer may have answered before it closed: its answer counts
            await self._stream.write(_request(method, target, headers) + body)
        while not answer.complete:
            await self._receive()
        return answer.status, tuple(answer.headers)

    async def drain(self, body_bytes_max: int, wait_s: float) -> None:
        """Reads a small body to its end, so that the connection is idle again. Never a failure of the answer."""
        answer = self._answer
        if answer.whole:
            return
        self._stream.allow(body_bytes_max)
        with suppress(Broken, TooMuch, Garbled), trio.move_on_after(wait_s):
            while not answer.whole:  # a connection that is not idle then is closed by its owner
                await self._receive()

    async def read(self, body: Body, wait_s: float) -> None:
        """Gives the answer's body to `body` until that has enough, or it ends, breaks, or takes longer than `wait_s`.

        Never a failure of the answer. After the body's end the connection is idle again.
        """
        answer = self._answer
        self._stream.allow(2 * body.bytes_max + HEAD_ROOM_BYTES, BODY_LINE_BYTES)
        began_s = trio.current_time()
        look_s = LOOK_AFTER_S
        with suppress(Broken, TooMuch, Garbled):
            while True:
                while answer.pieces and not body.enough:
                    body.feed(answer.pieces.popleft())
                if body.enough or answer.whole:
                    break
                with trio.move_on_at(began_s + min(look_s, wait_s)):
                    await self._receive()
                spent_s = trio.current_time() - began_s
                if spent_s >= wait_s:
                    break
                if spent_s >= look_s:
                    body.look(slow=look_s >= SLOW_S)
                    look_s *= 2
        body.end(whole=answer.whole and not answer.pieces)

    async def _receive(self) -> None:
        """Takes what comes next. Raises as `ask` does."""
        if self._answer.broken:
            raise Garbled("the body breaks the rules of HTTP")
        data = await self._stream.read()
        if not data:
            self._answer.feed_end()
            return
        if not self._begun:
            self._begun = True
            if not (data.startswith(VERSION) or VERSION.startswith(data)):
                raise NotHttp  # a server of another protocol may wait for us now
        self._answer.feed(data)


def _with_one_length(data: bytes) -> bytes | None:
    """An answer whose head says its length more than once, and the same, as if it said so once; None for others.

    As browsers take it, and RFC 9110, 8.6 allows; llhttp refuses it.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    lengths = _LENGTH.findall(head)
    if len(lengths) < 2 or len(set(lengths)) > 1:
        return None
    return _LENGTH.sub(b"", head, count=len(lengths) - 1) + end + body


def _request(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers], "", ""]
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError(f"a line break within a {method} request's target or headers")
    return head.encode("latin-1")
