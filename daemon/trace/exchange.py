"""Requests and answers on one connection, one after the other: h11 between a WireStream and lines.py.

h11 does the parsing and knows when the connection may be used again. httpcore's connection class would do the same at
a multiple of the time (locks, trace hooks, generators), for what a trace does not need.
"""

from contextlib import suppress

import h11
import trio

from daemon.trace.backend import LINE_BYTES, Broken, TooMuch, WireStream
from daemon.trace.body import Body

# h11's own bound on a head (16 KB by default) must not come before ours: WireStream.allowance.
HEAD_BYTES_MAX = 4 * 1024 * 1024
VERSION = b"HTTP/1."
HEAD_ROOM_BYTES = 16_384  # for what a body is wrapped in: the lines of chunks, the bytes that came beside it
BODY_LINE_BYTES = 8  # beside its own bytes: pages have many lines, and chunks of a byte each are slow to parse
LOOK_AFTER_S = 0.05  # a body that has not ended by then is looked at; again after twice the time, and so on
SLOW_S = 0.4  # from then on a look takes the first words for the page's own

Headers = tuple[tuple[bytes, bytes], ...]


class NotHttp(Exception):
    """What came in place of an answer does not even begin as one."""


class Exchange:
    """`idle`: the last answer was read to its end, and both sides keep the connection."""

    __slots__ = ("_begun", "_h11", "_stream")

    def __init__(self, stream: WireStream) -> None:
        self._stream = stream
        self._begun = False  # bytes of the answer have come
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)

    @property
    def idle(self) -> bool:
        return self._h11.our_state is h11.IDLE

    async def ask(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes = b""
    ) -> tuple[int, Headers]:
        """Sends a request; gives the answer's status and headers, interim answers passed over.

        Raises h11.LocalProtocolError for what cannot be sent, else as `_next` does.
        """
        self._begun = False
        request = self._h11.send(h11.Request(method=method, target=target, headers=headers)) or b""
        if body:
            request += self._h11.send(h11.Data(data=body)) or b""
        end = self._h11.send(h11.EndOfMessage()) or b""
        with suppress(Broken):  # the peer may have answered before it closed: its answer counts
            await self._stream.write(request + end)
        while True:
            event = await self._next()
            if isinstance(event, h11.Response) or (
                isinstance(event, h11.InformationalResponse) and event.status_code == 101
            ):
                return event.status_code, tuple(event.headers.raw_items())

    async def drain(self, body_bytes_max: int, wait_s: float) -> None:
        """Reads a small body to its end, so that the connection is idle again. Never a failure of the answer."""
        self._stream.allowance = body_bytes_max
        with suppress(Broken, TooMuch, h11.ProtocolError):  # a connection that is not idle now is closed by its owner
            while isinstance(event := self._h11.next_event(), h11.Data):
                continue
            if not isinstance(event, h11.EndOfMessage):  # it seldom comes later than the head: no timer for the others
                with trio.move_on_after(wait_s) as waiting:
                    while not isinstance(await self._next(), h11.EndOfMessage):
                        continue
                if waiting.cancelled_caught:
                    return
            self._h11.start_next_cycle()

    async def read(self, body: Body, wait_s: float) -> None:
        """Gives the answer's body to `body` until that has enough, or it ends, breaks, or takes longer than `wait_s`.

        Never a failure of the answer. After the body's end the connection is idle again.
        """
        self._stream.allowance = 2 * body.bytes_max + HEAD_ROOM_BYTES
        self._stream.line_bytes = BODY_LINE_BYTES
        began_s = trio.current_time()
        look_s, whole = LOOK_AFTER_S, False
        with suppress(Broken, TooMuch, h11.ProtocolError):
            while not (body.enough or whole):
                event = self._h11.next_event()
                if isinstance(event, h11.Data):
                    body.feed(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    whole = True
                elif event is h11.NEED_DATA:
                    with trio.move_on_at(began_s + min(look_s, wait_s)):
                        self._h11.receive_data(await self._stream.read())
                    spent_s = trio.current_time() - began_s
                    if spent_s >= wait_s:
                        break
                    if spent_s >= look_s:
                        body.look(slow=look_s >= SLOW_S)
                        look_s *= 2
                else:
                    break
        self._stream.line_bytes = LINE_BYTES
        body.end(whole=whole)
        if whole:
            with suppress(h11.ProtocolError):  # one that is not kept is closed by its owner
                self._h11.start_next_cycle()

    async def _next(self) -> h11.Event:
        """Raises Broken, TooMuch, NotHttp, and h11.RemoteProtocolError, for an end that comes too early as well."""
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.RemoteProtocolError("the peer speaks out of turn")
            data = await self._stream.read()
            if not data and self._h11.their_state is h11.SEND_RESPONSE:
                raise h11.RemoteProtocolError("the peer closed without an answer")
            if data and not self._begun:
                self._begun = True
                if not (data.startswith(VERSION) or VERSION.startswith(data)):
                    raise NotHttp  # a server of another protocol may wait for us now: h11 would as well
            self._h11.receive_data(data)
