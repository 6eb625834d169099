"""One client's connection, from accept to close: what both faces share, and HTTP/1.1 of the click face.

The click face has a server of its own because hypercorn 0.18 fails under hostile clients (a broken upgrade header ends
the server, idle connections lose their time limit after the first answer, a send may wait for ever), and because its
layers cost more CPU than a whole click. Rules of a click connection:

- HTTP/1.0 and 1.1 only. Upgrades are ignored; HTTP/2 is refused, and so are request bodies, except of a POST.
- One task serves a connection, one request after the other.
- disconnects.py detects, for all connections, that a client disconnects while its request is handled.
- The client must take each 64 KiB of an answer within `head_s`, or the connection ends.
"""

import math
import os
import select
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

import structlog
import trio

from daemon.http.disconnects import DisconnectWatcher
from daemon.http.http1 import PlainHTTP, Request, Response, response_bytes
from daemon.http.request_rules import Refusal

RECEIVE_BYTES, SEND_BYTES = 16 * 1024, 64 * 1024
LINGER_S = 1.0
"""A client may take this long to close after its last answer. Closing before it may reset and lose the answer."""
BODY_BYTES_MAX, BODY_S = 16 * 1024**2, 10.0  # a client may go on sending a body so long after its answer
LAST_DATA_RECEIVED = struct.Struct("=52xI")  # tcpi_last_data_recv of linux/tcp.h's tcp_info, in milliseconds
STOP_GRACE_S = 1.0  # a stop waits this long for a request that may be on its way

log = structlog.get_logger("daemon.click")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits of a face, for one client and for all.

    answer_s: limit for a handler's answer, and for a graceful stop.
    head_s: limit for a complete request head, from the connect or the answer before; also for the client to take 64 KiB
        of an answer.
    head_bytes_max: of a request line and its headers. One read more (16 KiB) may pass.
    connections_max: open at once; a further connection replaces the one that is idle longest.
    connections_per_address_max: open at once from one address; 0: no limit, as behind a reverse proxy.
    backlog: the listen backlog of a socket. shown: what log lines have of a client's address.
    """

    answer_s: float
    head_s: float
    head_bytes_max: int
    connections_max: int
    connections_per_address_max: int
    backlog: int
    shown: Callable[[str | None], str | None] = lambda address: address


Handler = Callable[[Request], Awaitable[Response]]
"""Cancelled when the client disconnects, and after `answer_s`. An exception is logged and answered with 500."""

OnIdle = Callable[["FaceConnection", bool], None]
"""Called with a connection that becomes idle (True) or busy (False)."""


class FaceConnection(ABC):
    """One client's connection to either face. `stop` and `abort` may be called from any task.

    `idle`: no request is being answered. The deadline of `_timer` is the connection's only time limit: `head_s` while
    a request head is awaited, none while a handler works, LINGER_S after the last answer.
    """

    __slots__ = ("_closing", "_limits", "_on_idle", "_peer", "_socket", "_stopping", "_timer", "idle")

    def __init__(
        self, limits: ServerLimits, sock: trio.socket.SocketType, peer: tuple[str, int] | None, on_idle: OnIdle
    ) -> None:
        """`peer` is None at a unix socket."""
        self._limits = limits
        self._socket = sock
        self._peer = peer
        self._on_idle = on_idle
        self._timer = trio.CancelScope(deadline=trio.current_time() + limits.head_s)
        self._stopping = False
        self._closing = False
        self.idle = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address or 'unix'} {'idle' if self.idle else 'busy'}>"

    @property
    def address(self) -> str | None:
        return None if self._peer is None else self._peer[0]

    @abstractmethod
    async def run(self) -> None:
        """Serve the connection until it is closed."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once and cancel a running handler."""

    @property
    @abstractmethod
    def _awaits_request(self) -> bool:
        """While idle: a first request has not come yet, or only a part of a head has come."""

    def stop(self) -> None:
        """Close now if no request has come, else after the answer."""
        self._stopping = True
        if self.idle:
            awaited = self._awaits_request or is_readable(self._socket.fileno())
            deadline = trio.current_time() + (STOP_GRACE_S if awaited else 0.0)
            self._timer.deadline = min(self._timer.deadline, deadline)

    def _note_idle(self, idle: bool) -> None:
        self.idle = idle
        self._timer.deadline = trio.current_time() + self._limits.head_s if idle else math.inf
        self._on_idle(self, idle)

    def _end_answers(self) -> None:
        """Send the end of the stream, then let the reader wait up to LINGER_S for the client to close."""
        if self._closing:
            return
        self._closing = True
        self._timer.deadline = trio.current_time() + LINGER_S
        try:
            self._socket.shutdown(trio.socket.SHUT_WR)
        except OSError:
            self._timer.cancel()  # the client has disconnected


class Connection(FaceConnection):
    """Serves one accepted socket of the click face."""

    __slots__ = ("_broken", "_client_left", "_disconnects", "_handler", "_handling", "_http", "_waited_s")

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits,
        disconnects: DisconnectWatcher,
        sock: trio.socket.SocketType,
        peer: tuple[str, int] | None,
        on_idle: OnIdle,
    ) -> None:
        super().__init__(limits, sock, peer, on_idle)
        self._handler = handler
        self._disconnects = disconnects
        self._http = PlainHTTP(head_bytes_max=limits.head_bytes_max)
        self._handling: trio.CancelScope | None = None  # around the handler, while it works
        self._client_left = False
        self._broken = False
        self._waited_s = 0.0  # in the kernel, before the accept

    async def run(self) -> None:
        """Read requests and send the handler's answers until either side closes."""
        try:
            self._waited_s = waited_s(self._socket)
            with self._timer:
                await self._read()
        finally:
            self._socket.close()
            self._http.close()

    @property
    def _awaits_request(self) -> bool:
        return not self._http.requests or self._http.has_partial_head

    def abort(self) -> None:
        self._broken = self._closing = True
        if self._handling is None:
            self._timer.cancel()
        else:
            self._cancel_handler()
        self._socket.close()

    def _cancel_handler(self) -> None:
        """Cancel the handler, because its client has disconnected."""
        self._client_left = True
        if self._handling is not None:
            self._handling.cancel()

    async def _read(self) -> None:
        lingered_bytes, until_s = 0, 0.0
        waits = False  # the first request mostly arrives with its connection
        while lingered_bytes <= BODY_BYTES_MAX:
            data = await self._receive(waits=waits)
            waits = True
            if self._closing:
                lingered_bytes, until_s = lingered_bytes + len(data), until_s or trio.current_time() + BODY_S
                self._timer.deadline = min(until_s, trio.current_time() + LINGER_S)
            else:
                await self._take(data)
            if not data:
                return

    async def _receive(self, *, waits: bool = True) -> bytes:
        """Read once; b"" at the end. `waits`: wait before the read, so that other tasks run."""
        while not self._broken:
            try:
                if waits:
                    await trio.lowlevel.wait_readable(self._socket)
                return os.read(self._socket.fileno(), RECEIVE_BYTES)
            except BlockingIOError:
                waits = True
            except (OSError, trio.ClosedResourceError):
                break
        return b""

    async def _take(self, data: bytes) -> None:
        self._http.receive(data)
        while not self._closing and (found := self._http.next_request(self.address, self._waited_s)) is not None:
            if isinstance(found, Refusal):
                log.debug("request_refused", address=self._limits.shown(self.address), reason=found.reason)
                await self._send_last(found.status)
                return
            self._waited_s = 0.0  # only the first request may have waited in the kernel
            await self._serve(found)

    async def _serve(self, request: Request) -> None:
        self._note_idle(False)
        fd = self._socket.fileno()
        answer, keeps = b"", False
        self._handling = handling = trio.CancelScope(deadline=trio.current_time() + self._limits.answer_s)
        self._disconnects.watch(fd, self._cancel_handler)
        try:
            with handling:
                response = await self._handler(request)
                keeps = request.keeps and not self._stopping
                answer = response_bytes(response, date(), keeps=keeps, bodiless=request.method == "HEAD")
        except Exception:
            log.exception("handler_crashed")
        finally:
            self._handling = None
            self._disconnects.unwatch(fd, self._cancel_handler)
        if self._client_left:
            self._end_answers()
        elif not answer:
            if handling.cancelled_caught:
                log.error("handler_too_slow", path=request.path[:200], answer_s=self._limits.answer_s)
            await self._send_last(503 if handling.cancelled_caught else 500)
        else:
            await self._send_all(answer)
            if not keeps or self._stopping:
                self._end_answers()
            else:
                self._note_idle(True)
        if self._http.has_more:
            await trio.lowlevel.checkpoint()  # answers to pipelined requests may contain no other checkpoint

    async def _send_last(self, status: int) -> None:
        """Answer with only a status, and close."""
        await self._send_all(response_bytes(Response(status), date(), keeps=False))
        self._end_answers()

    async def _send_all(self, data: bytes) -> None:
        """Returns when the kernel has all of the data, nearly always at once, or when the connection is broken."""
        if self._broken or not data:
            return
        try:
            sent = os.write(self._socket.fileno(), data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return
        if sent < len(data):
            await self._send_slowly(memoryview(data)[sent:])

    async def _send_slowly(self, data: memoryview) -> None:
        while data and not self._broken:
            piece, data = data[:SEND_BYTES], data[SEND_BYTES:]
            try:
                # Shielded: a cancellation must not leave half an answer on the wire.
                with trio.fail_after(self._limits.head_s, shield=True):
                    while piece:
                        await trio.lowlevel.wait_writable(self._socket)
                        with suppress(BlockingIOError):
                            piece = piece[os.write(self._socket.fileno(), piece) :]
            except (OSError, trio.ClosedResourceError, trio.BusyResourceError):
                self.abort()
            except trio.TooSlowError:
                log.debug(
                    "connection_closed", address=self._limits.shown(self.address), reason="its answer is not read"
                )
                self.abort()


def waited_s(sock: trio.socket.SocketType) -> float:
    """How long a just accepted connection has waited in the kernel, since its last byte or else its connect."""
    if sock.family not in {trio.socket.AF_INET, trio.socket.AF_INET6}:
        return 0.0
    info = sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_INFO, LAST_DATA_RECEIVED.size)
    milliseconds: int = LAST_DATA_RECEIVED.unpack(info)[0]
    return milliseconds / 1000


def is_readable(fd: int) -> bool:
    """Whether a read or an accept on this descriptor would return at once."""
    if fd < 0:
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def date() -> bytes:
    """The value of a Date header for now."""
    return _date_at(int(time.time()))


@lru_cache(maxsize=1)
def _date_at(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")
