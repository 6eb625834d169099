"""The DevTools protocol over a pipe: JSON messages, each ended by a NUL byte (--remote-debugging-pipe).

Commands have an id, and their answers repeat it. Events and commands of one tab have its session id (flat mode). One
task runs `Connection.run`; any number of tasks send commands.
"""

import math
import re
from typing import Any

import msgspec
import trio

from daemon.oneshot import OneShot

READ_BYTES = 65_536
MESSAGE_BYTES_MAX = 8 * 1024 * 1024  # of one message; a longer one ends its tab
TAIL_BYTES = 256  # of such a message, with the tab's session
SEND_S = 5.0  # for one command; a browser that takes none for so long is given up
EVENTS_MAX = 20_000  # of one tab that nobody has read yet; a tab with more is closed

REFUSED = "Refused"

Params = dict[str, Any]


class BrowserGone(Exception):
    """The browser ended, or the tab did: it was closed, it crashed, or it flooded the connection."""


class CommandRefused(Exception):
    """The browser refused a command; the message is its own."""


class Event(msgspec.Struct, frozen=True):
    """An event of a tab, such as Page.loadEventFired."""

    method: str
    params: Params


class _Message(msgspec.Struct, frozen=True):
    id: int | None = None
    method: str | None = None
    params: Params = {}
    result: Params = {}
    error: Params | None = None
    sessionId: str | None = None  # noqa: N815 - the protocol's name


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_SESSION_AT_END = re.compile(rb'"sessionId":"([0-9A-F]+)"\}$')
_DECODE = msgspec.json.Decoder(_Message).decode
_ENCODE = msgspec.json.Encoder().encode


class Connection:
    """A connection to a browser, by the descriptors of two pipes, which it closes.

    `run` returns when the browser has ended. From then on every command raises BrowserGone.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reads = trio.lowlevel.FdStream(read_fd)
        self._writes = trio.lowlevel.FdStream(write_fd)
        self._sending = trio.Lock()
        self._last_id = 0
        self._answers: dict[int, OneShot[_Message | None]] = {}
        self._events: dict[str, trio.MemorySendChannel[Event]] = {}
        self.is_open = True

    async def run(self) -> None:
        """Reads the messages until the browser ends. Raises nothing but trio.Cancelled."""
        buffer, is_cut = bytearray(), False
        try:
            while data := await self._reads.receive_some(READ_BYTES):
                buffer += data
                if b"\0" in data:
                    *messages, rest = buffer.split(b"\0")
                    buffer = rest
                    for message in messages:
                        self._skip(bytes(message)) if is_cut else self._handle(bytes(message))
                        is_cut = False
                if len(buffer) > MESSAGE_BYTES_MAX:
                    del buffer[:-TAIL_BYTES]
                    is_cut = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self.close()

    def close(self) -> None:
        self.is_open = False
        for waiting in self._answers.values():
            waiting.send_nowait(None)
        self._answers.clear()
        for channel in self._events.values():
            channel.close()
        self._events.clear()
        self._reads.close()
        self._writes.close()

    async def call(self, method: str, session: str | None = None, /, **params: Any) -> Params:
        """Sends a command and returns its result. Raises BrowserGone and CommandRefused."""
        answer: OneShot[_Message | None] = OneShot()
        number = self._next_id()
        self._answers[number] = answer
        try:
            await self._send(number, method, session, params)
            message = await answer.receive()
        finally:
            self._answers.pop(number, None)
        if message is None:
            raise BrowserGone("the browser has ended")
        if message.error is not None:
            raise CommandRefused(f"{method}: {message.error.get('message')}")
        return message.result

    async def send(self, method: str, session: str, /, **params: Any) -> int:
        """Sends a command of a tab without waiting for the answer. Returns its number. Raises BrowserGone.

        A refusal becomes the tab's event REFUSED, with the number as `id`.
        """
        number = self._next_id()
        await self._send(number, method, session, params)
        return number

    def events_of(self, session: str) -> "trio.MemoryReceiveChannel[Event]":
        """The events of a tab. The channel ends when the tab or the browser does."""
        send, receive = trio.open_memory_channel[Event](math.inf)
        self._events[session] = send
        if not self.is_open:
            self.forget(session)
        return receive

    def forget(self, session: str) -> None:
        """Ends the channel of a tab's events."""
        if (channel := self._events.pop(session, None)) is not None:
            channel.close()

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _send(self, number: int, method: str, session: str | None, params: Params) -> None:
        message: Params = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = _ENCODE(message) + b"\0"
        # A message that is cut off by a cancellation would spoil all later ones.
        with trio.move_on_after(SEND_S, shield=True) as sending:
            async with self._sending:
                try:
                    await self._writes.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise BrowserGone("the browser has ended") from None
        if sending.cancelled_caught:
            self.close()
            raise BrowserGone("the browser reads no commands")

    def _skip(self, tail: bytes) -> None:
        """Ends the tab of a message that was too long, or cannot be decoded."""
        if (found := _SESSION_AT_END.search(tail)) is None:
            self.close()
        else:
            self.forget(found[1].decode("ascii"))

    def _handle(self, data: bytes) -> None:
        try:
            message = _decoded(data)
        except msgspec.DecodeError:
            self._skip(data[-TAIL_BYTES:])
            return
        if message.id is not None:
            if (waiting := self._answers.pop(message.id, None)) is not None:
                waiting.send_nowait(message)
            elif message.error is not None and (channel := self._events.get(message.sessionId or "")) is not None:
                channel.send_nowait(Event(REFUSED, {"id": message.id}))
        elif message.method == "Target.detachedFromTarget":
            self.forget(str(message.params.get("sessionId")))
        elif message.method is not None and (channel := self._events.get(message.sessionId or "")) is not None:
            if channel.statistics().current_buffer_used >= EVENTS_MAX:
                self.forget(message.sessionId or "")
            else:
                channel.send_nowait(Event(message.method, message.params))


def _decoded(data: bytes) -> _Message:
    """Raises msgspec.DecodeError."""
    try:
        return _DECODE(data)
    except msgspec.DecodeError:  # the text of a page may have surrogates without their partners
        return _DECODE(_SURROGATE.sub(rb"\\ufffd", data).decode("utf-8", "replace").encode())
