"""One client's connection, from accept to close: HTTP/1.1 for an ASGI app, with every wait and size bounded.

No ready-made server is used, because of what a client can do to one (hypercorn 0.18): an upgrade with a broken header
ends it, an idle connection keeps its time limit only until its first answer, a send waits for ever; and its layers cost
a click more than the click itself. Here

- HTTP/1.0 and 1.1 are spoken, nothing else: upgrades are ignored, HTTP/2 is refused;
- one task serves a connection, one request after the other; its cancel scope's deadline is the connection's only
  timer: `head_s` while a head is awaited, none while a handler works (the handler has its own limit), a moment while
  the client takes leave;
- that a client leaves while its request is answered is seen by hangups.py, for all connections at once; a second task
  answers only where a request's body is still to come;
- 64 KiB of an answer are taken by the client within `head_s`, or the connection ends.
"""

import math
import os
import select
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
import trio
from hypercorn.typing import ASGIFramework

from daemon.http.asgi import Exchange, date_header
from daemon.http.disconnects import Hangups
from daemon.http.http1 import PlainHTTP, Refused, Request, Sign

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
    body_bytes_max: of a request; 0 refuses every body.
    refusal: how a request that no handler sees is answered: from status and reason a content type and a body. None: by
        the status alone.
    """

    answer_s: float
    head_s: float
    head_bytes_max: int
    connections_max: int
    connections_per_address_max: int
    backlog: int
    body_bytes_max: int = 0
    refusal: Callable[[int, str], tuple[str, bytes]] | None = None


class Connection:
    """Serves one accepted socket. `run` returns when it is closed; `stop` and `abort` may be called from any task."""

    __slots__ = (
        "_app",
        "_broken",
        "_closing",
        "_exchange",
        "_hangups",
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
        app: ASGIFramework,
        sock: trio.socket.SocketType,
        peer: tuple[str, int] | None,
        limits: ServerLimits,
        hangups: Hangups,
        on_idle: Callable[["Connection", bool], None],
    ) -> None:
        self._app = app
        self._socket = sock
        self._peer = peer
        self._limits = limits
        self._hangups = hangups
        self._on_idle = on_idle
        self._http = PlainHTTP(head_bytes_max=limits.head_bytes_max, body_bytes_max=limits.body_bytes_max)
        self._reading = trio.CancelScope(deadline=trio.current_time() + limits.head_s)
        self._exchange: Exchange | None = None  # the request that is being answered
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
        """Reads requests and has the app answer them until either side closes."""
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
        """Close at once, whatever is under way. A handler hears of it, as of a client that leaves."""
        self._broken = self._closing = True
        if self._exchange is None:
            self._reading.cancel()
        else:
            self._exchange.leave()
        self._socket.close()

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
        try:
            while not self._closing and isinstance(event := self._http.next_event(), Request):
                await self._serve(event)
        except Refused as refused:
            await self._refuse(refused)

    async def _serve(self, request: Request) -> None:
        """Has one request answered. Raises Refused for what is wrong behind its head."""
        self._note_idle(False)
        waited_s, self._waited_s = self._waited_s, 0.0  # the first request alone had waited
        exchange = self._exchange = Exchange(
            request, self._http, self._send_all, answer_s=self._limits.answer_s, waited_s=waited_s
        )
        if (event := self._http.next_event()) is not Sign.BODY_ENDED:
            await self._serve_with_body(exchange, event)
            return
        exchange.take_end()
        fd = self._socket.fileno()
        self._hangups.watch(fd, exchange)
        try:
            await self._answer(exchange)
        finally:
            self._hangups.unwatch(fd, exchange)
        if self._http.has_more:
            await trio.lowlevel.checkpoint()  # the answers to many requests at once may take no wait of their own

    async def _serve_with_body(self, exchange: Exchange, event: Request | bytes | Sign) -> None:
        async with trio.open_nursery() as answering:

            async def answer() -> None:
                await self._answer(exchange)
                answering.cancel_scope.cancel()

            answering.start_soon(answer)
            try:
                await self._feed(exchange, event)
            except Refused as refused:
                await self._refuse(refused)

    async def _feed(self, exchange: Exchange, event: Request | bytes | Sign) -> None:
        """Gives a request's body to the exchange as it comes, and watches for the client's leave."""
        while event is not Sign.CLOSED:
            if isinstance(event, bytes):
                exchange.take(event)
            elif event is Sign.BODY_ENDED:
                exchange.take_end()
            elif event is Sign.PAUSED:
                return  # what follows waits for the end of the answer
            else:
                self._http.receive(await self._receive())
            event = self._http.next_event()
        exchange.leave()

    async def _refuse(self, refused: Refused) -> None:
        log.debug("request_refused", address=self.address, reason=str(refused))
        headers, body = [date_header()], b""
        if self._limits.refusal is not None:
            kind, body = self._limits.refusal(refused.status, str(refused))
            headers.append((b"content-type", kind.encode()))
        answer = self._http.bare(refused.status, headers, body)
        if self._exchange is not None:
            self._exchange.leave()  # its handler speaks to nobody: its answer would be a second one
        await self._send_all(answer)
        self._take_leave()

    async def _answer(self, exchange: Exchange) -> None:
        await exchange.run(self._app, self._peer)
        self._exchange = None
        if exchange.whole and not self._stopping and self._http.begin_next():
            self._note_idle(True)
        else:
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
