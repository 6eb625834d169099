"""One client's connection to the click face, from accept to close: HTTP/1.1, with every wait and size bounded.

No ready-made server is used, because of what a client can do to one (hypercorn 0.18): an upgrade with a broken header
ends it, an idle connection keeps its time limit only until its first answer, a send waits for ever; and its layers cost
a click more than the click itself. Here

- HTTP/1.0 and 1.1 are spoken, nothing else: upgrades are ignored, HTTP/2 and request bodies are refused;
- one task serves a connection, one request after the other; its cancel scope's deadline is the connection's only
  timer: `head_s` while a head is awaited, none while a handler works (the handler has its own limit), LINGER_S after
  the last answer;
- hangups.py detects, for all connections at once, that a client disconnects while its request is handled;
- 64 KiB of an answer are taken by the client within `head_s`, or the connection ends.
"""

import math
import os
import select
import struct
import time
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

RECEIVE_BYTES = 16 * 1024
SEND_BYTES = 64 * 1024
LINGER_S = 1.0
"""How long a client may take to close after its last answer: closing before it did may reset, and lose the answer."""
LINGER_BYTES_MAX = 256 * 1024
LAST_DATA_RECEIVED = struct.Struct("=52xI")
"""Of the tcp_info of linux/tcp.h: tcpi_last_data_recv, milliseconds."""
STOP_GRACE_S = 1.0
"""How long a stop waits for a request that is on its way."""

log = structlog.get_logger("daemon.click")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one client, and all of them together, may take of a face.

    answer_s: a handler begins its answer within this; a graceful stop waits at most this.
    head_s: a request head is complete within this of the connect or of the answer before; 64 KiB of an answer are taken
        by the client within this.
    head_bytes_max: of a request line and its headers. One read more (16 KiB) may pass.
    connections_max: open at once; past it the connection that is idle longest gives way to a new one.
    connections_per_address_max: open at once from one address; 0 is off, as behind a reverse proxy.
    backlog: connections that the kernel holds for us.
    """

    answer_s: float
    head_s: float
    head_bytes_max: int
    connections_max: int
    connections_per_address_max: int
    backlog: int


Handler = Callable[[Request], Awaitable[Response]]
"""It is cancelled when the client disconnects, and after `answer_s`. What it raises is logged and answered with 500."""


class Connection:
    """Serves one accepted socket. `run` returns when it is closed; `stop` and `abort` may be called from any task."""

    __slots__ = (
        "_broken",
        "_client_left",
        "_closing",
        "_disconnects",
        "_handler",
        "_handling",
        "_http",
        "_limits",
        "_on_idle",
        "_peer",
        "_reading",
        "_socket",
        "_stopping",
        "_waited_s",
        "idle",
    )

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits,
        disconnects: DisconnectWatcher,
        sock: trio.socket.SocketType,
        peer: tuple[str, int] | None,
        on_idle: Callable[["Connection", bool], None],
    ) -> None:
        self._handler = handler
        self._socket = sock
        self._peer = peer
        self._limits = limits
        self._disconnects = disconnects
        self._on_idle = on_idle
        self._http = PlainHTTP(head_bytes_max=limits.head_bytes_max)
        self._reading = trio.CancelScope(deadline=trio.current_time() + limits.head_s)
        self._handling: trio.CancelScope | None = None  # around the handler, while it works
        self._client_left = False
        self._stopping = False
        self._closing = False
        self._broken = False
        self._waited_s = 0.0  # in the kernel, before it was accepted
        self.idle = True

    def __repr__(self) -> str:
        return f"<Connection {self.address or 'unix'} {'idle' if self.idle else 'busy'}>"

    @property
    def address(self) -> str | None:
        return None if self._peer is None else self._peer[0]

    async def run(self) -> None:
        """Read requests and send the handler's answers until either side closes."""
        try:
            self._waited_s = waited_s(self._socket)
            with self._reading:
                await self._read()
        finally:
            self._socket.close()
            self._http.close()

    def stop(self) -> None:
        """Close now if nothing is asked, else after the answer."""
        self._stopping = True
        if not self.idle:
            return
        awaited = not self._http.requests or self._http.has_partial_head or is_readable(self._socket.fileno())
        deadline = trio.current_time() + (STOP_GRACE_S if awaited else 0.0)
        self._reading.deadline = min(self._reading.deadline, deadline)

    def abort(self) -> None:
        """Close at once, whatever is under way. A handler is cancelled."""
        self._broken = self._closing = True
        if self._handling is None:
            self._reading.cancel()
        else:
            self.disconnected()
        self._socket.close()

    def disconnected(self) -> None:
        """The client is gone: cancel its handler."""
        self._client_left = True
        if self._handling is not None:
            self._handling.cancel()

    async def _read(self) -> None:
        lingered_bytes = 0
        waits = False  # at first: a request has mostly come along with its connection
        while lingered_bytes <= LINGER_BYTES_MAX:
            data = await self._receive(waits=waits)
            waits = True
            if self._closing:
                lingered_bytes += len(data)
            else:
                await self._take(data)
            if not data:
                return

    async def _receive(self, *, waits: bool = True) -> bytes:
        """What comes next; nothing at the end. It `waits` before it looks, so that others have their turn."""
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
                log.debug("request_refused", address=self.address, reason=found.reason)
                await self._send_last(found.status)
                return
            self._waited_s = 0.0  # only the first request waited in the kernel
            await self._serve(found)

    async def _serve(self, request: Request) -> None:
        self._note_idle(False)
        fd = self._socket.fileno()
        answer, keeps = b"", False
        self._handling = handling = trio.CancelScope(deadline=trio.current_time() + self._limits.answer_s)
        self._disconnects.watch(fd, self)
        try:
            with handling:
                response = await self._handler(request)
                keeps = request.keeps and not self._stopping
                answer = response_bytes(response, date(), keeps=keeps, bodiless=request.method == "HEAD")
        except Exception:
            log.exception("handler_crashed")
        finally:
            self._handling = None
            self._disconnects.unwatch(fd, self)
        if self._client_left:
            self._take_leave()
        elif not answer:
            if handling.cancelled_caught:
                log.error("handler_too_slow", path=request.path[:200], answer_s=self._limits.answer_s)
            await self._send_last(503 if handling.cancelled_caught else 500)
        else:
            await self._send_all(answer)
            if not keeps or self._stopping:
                self._take_leave()
            else:
                self._note_idle(True)
        if self._http.has_more:
            await trio.lowlevel.checkpoint()  # the answers to many requests at once may take no wait of their own

    async def _send_last(self, status: int) -> None:
        """Answer with a status alone, and close."""
        await self._send_all(response_bytes(Response(status), date(), keeps=False))
        self._take_leave()

    def _note_idle(self, idle: bool) -> None:
        self.idle = idle
        self._reading.deadline = trio.current_time() + self._limits.head_s if idle else math.inf
        self._on_idle(self, idle)

    async def _send_all(self, data: bytes) -> None:
        """Returns when the kernel has it all, or the connection is broken. Nearly always at once."""
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
                # Shielded, so that a handler that is cancelled leaves no half of what it was sending.
                with trio.fail_after(self._limits.head_s, shield=True):
                    while piece:
                        await trio.lowlevel.wait_writable(self._socket)
                        with suppress(BlockingIOError):
                            piece = piece[os.write(self._socket.fileno(), piece) :]
            except (OSError, trio.ClosedResourceError, trio.BusyResourceError):
                self.abort()
            except trio.TooSlowError:
                log.debug("connection_closed", address=self.address, reason="the client does not read its answer")
                self.abort()

    def _take_leave(self) -> None:
        """Say that nothing follows, and let the reader wait a moment for the client to close first."""
        if self._closing or self._broken:
            return
        self._closing = True
        self._reading.deadline = trio.current_time() + LINGER_S
        try:
            self._socket.shutdown(trio.socket.SHUT_WR)
        except OSError:
            self._reading.cancel()  # the client is gone


def waited_s(sock: trio.socket.SocketType) -> float:
    """How long a connection that was just accepted had lain in the kernel since its last byte (or its beginning)."""
    if sock.family not in {trio.socket.AF_INET, trio.socket.AF_INET6}:
        return 0.0
    info = sock.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_INFO, LAST_DATA_RECEIVED.size)
    milliseconds: int = LAST_DATA_RECEIVED.unpack(info)[0]
    return milliseconds / 1000


def is_readable(fd: int) -> bool:
    """Say whether a read (or an accept) on this descriptor would return at once."""
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
