"""One client's connection, from accept to close: hypercorn's HTTP/1.1 protocol with every wait and size bounded.

hypercorn's own connection class is not used, because of what a client can do to it: an upgrade with a broken header
ends the server, an idle connection keeps its time limit only until its first answer, and a send waits for ever. Here

- HTTP/1.0 and 1.1 are spoken, nothing else: upgrades are ignored, HTTP/2 is refused;
- one task reads, and its cancel scope's deadline is the connection's only timer: `head_s` while a head is awaited,
  none while a handler works (the handler has its own limit), a moment while the client takes leave;
- 64 KiB of an answer are taken by the client within `head_s`, or the connection ends.
"""

import math
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from daemon.click.plain_http import PlainHTTP

RECEIVE_BYTES = 16 * 1024
SEND_BYTES = 64 * 1024
LINGER_S = 1.0
"""How long a client may take to close after its last answer: closing before it did may reset, and lose the answer."""
LINGER_BYTES_MAX = 256 * 1024
LAST_DATA_RECEIVED = struct.Struct("=52xI")
"""Of the tcp_info of linux/tcp.h: tcpi_last_data_recv, milliseconds."""
STOP_GRACE_S = 1.0
"""How long a stop waits for a request that is on its way."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


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
    """

    answer_s: float
    head_s: float
    head_bytes_max: int
    connections_max: int
    connections_per_address_max: int
    backlog: int
    body_bytes_max: int = 0


class Connection:
    """Serves one accepted stream. `run` returns when it is closed; `stop` and `abort` may be called from any task."""

    __slots__ = (
        "_broken",
        "_closing",
        "_limits",
        "_on_idle",
        "_reading",
        "_send_lock",
        "_stream",
        "address",
        "idle",
        "protocol",
    )

    protocol: PlainHTTP

    def __init__(
        self,
        stream: trio.SocketStream,
        address: str | None,
        limits: ServerLimits,
        on_idle: Callable[["Connection", bool], None],
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._on_idle = on_idle
        self._reading = trio.CancelScope(deadline=trio.current_time() + limits.head_s)
        self._send_lock = trio.Lock()
        self._closing = False
        self._broken = False
        self.address = address
        self.idle = True

    def __repr__(self) -> str:
        return f"<Connection {self.address or 'unix'} {'idle' if self.idle else 'busy'}>"

    async def run(self, app: AppWrapper, config: Config, context: WorkerContext, state: ConnectionState) -> None:
        """Read requests and have `app` answer them until either side closes.

        What the app raises is logged and answered with 500. Raises OSError if the client was gone before it began.
        """
        sock = self._stream.socket
        try:
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            async with TaskGroup() as tasks:
                self.protocol = PlainHTTP(
                    app, config, context, tasks, ConnectionState(state), False, client, server, self._send
                )
                self.protocol.body_bytes_max = self._limits.body_bytes_max
                self.protocol.waited_s = waited_s(sock)
                await self._read()
        finally:
            sock.close()
            if getattr(self, "protocol", None) is not None and self.protocol.refused is not None:
                log.debug("request_refused", address=self.address, reason=self.protocol.refused.reason)

    def stop(self) -> None:
        """Close now if nothing is asked, else after the answer (`context.terminated` must be set)."""
        if not self.idle:
            return
        fresh = self.protocol.keep_alive_requests == 0 if hasattr(self, "protocol") else True
        awaited = fresh or self.protocol.has_partial_head or is_readable(self._stream.socket.fileno())
        deadline = trio.current_time() + (STOP_GRACE_S if awaited else 0.0)
        self._reading.deadline = min(self._reading.deadline, deadline)

    def abort(self) -> None:
        """Close at once, whatever is under way: each task that uses the socket is woken by an error."""
        self._broken = True
        self._reading.cancel()
        self._stream.socket.close()

    async def _read(self) -> None:
        lingered_bytes = 0
        with self._reading:
            while lingered_bytes <= LINGER_BYTES_MAX:
                try:
                    data = await self._stream.receive_some(RECEIVE_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
                if self._closing:
                    lingered_bytes += len(data)
                else:
                    await self.protocol.handle(RawData(bytes(data)))
                if not data:
                    break
        await self.protocol.handle(Closed())

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send_all(event.data)
        elif isinstance(event, Closed):
            await self._take_leave()
        elif isinstance(event, Updated) and not self._closing:
            self.idle = event.idle
            self._reading.deadline = trio.current_time() + self._limits.head_s if event.idle else math.inf
            self._on_idle(self, event.idle)

    async def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        async with self._send_lock:
            for start in range(0, len(view), SEND_BYTES):
                if self._broken:
                    break
                try:
                    with trio.fail_after(self._limits.head_s):
                        await self._stream.send_all(view[start : start + SEND_BYTES])
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.abort()
                except trio.TooSlowError:
                    log.debug("connection_closed", address=self.address, reason="the client does not read its answer")
                    self.abort()
        if self._broken:
            await self.protocol.handle(Closed())

    async def _take_leave(self) -> None:
        """Say that nothing follows, and let the reader wait a moment for the client to close first."""
        if not self._closing:
            self._closing = True
            self._reading.deadline = trio.current_time() + LINGER_S
            try:
                await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                self._reading.cancel()  # the client is gone, or stuck in an answer that has its own limit
        await self.protocol.handle(Closed())


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
