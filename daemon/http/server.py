"""Accepts and contains the connections of one face: a client's fault ends its own connection only.

Each face has its class of connections: http/connection.py for clicks, control/connection.py for the control face.

The order of a stop: connections that wait in the kernel are accepted, the listeners close, idle connections close,
running answers get up to `answer_s`, then every socket is closed. If another process also holds the listeners
(systemd), the waiting connections are left in the kernel for the next server.
"""

import errno
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog
import trio

from daemon.errors import OurFault
from daemon.http.connection import Connection, FaceConnection, Handler, OnIdle, ServerLimits, is_readable
from daemon.http.disconnects import DisconnectWatcher
from daemon.web.forwarded import address_in

ACCEPT_PAUSE_S = 0.1
LOG_PAUSE_S = 1.0
CLIENTS_ERRORS = frozenset(
    {errno.ECONNABORTED, errno.ECONNRESET, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT,
     errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT}
)  # fmt: skip
"""Errors of a single connection (see accept(2)): retry at once."""
TCP_USER_TIMEOUT = 18
"""The socket option of tcp(7): a connection ends after so many ms with unacknowledged data."""

log = structlog.get_logger("daemon.click")


Connect = Callable[[trio.socket.SocketType, tuple[str, int] | None, OnIdle], FaceConnection]
"""Creates the connection of an accepted socket and its peer (None at a unix socket)."""


def click_server(handler: Handler, limits: ServerLimits) -> "Server":
    disconnects = DisconnectWatcher()
    return Server(partial(Connection, handler, limits, disconnects), limits, disconnects.run)


class Server:
    """The server of one face. `serve` may run once."""

    def __init__(self, connect: Connect, limits: ServerLimits, *beside: Callable[[], Awaitable[None]]) -> None:
        """`beside`: functions to run while the server runs."""
        self._connect = connect
        self._limits = limits
        self._beside = beside
        self._open: set[FaceConnection] = set()
        self._idle: dict[FaceConnection, None] = {}  # in the order in which they became idle
        self._per_address: Counter[str | None] = Counter()  # None: unix sockets
        self._last_closed = trio.Event()
        self.turned_away = 0  # refused, or closed to make room for others
        self._refusals = _OncePerSecond()
        self._accept_errors = _OncePerSecond()

    def __repr__(self) -> str:
        return f"<Server {len(self._open)} connections, {len(self._idle)} idle, at most {self._limits.connections_max}>"

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        stop: trio.Event,
        handed_back: bool = False,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer requests until `stop` is set, and return when the stop is complete. Always closes the listeners.

        `handed_back`: another process holds the listeners too and keeps them open for the next server.
        Raises OurFault, in an ExceptionGroup, if other code closes a listener.
        """
        try:
            for listener in listeners:
                self._prepare(listener)
            async with trio.open_nursery() as nursery:
                for beside in self._beside:
                    nursery.start_soon(beside)
                task_status.started()
                await self._serve_until(stop, listeners, handed_back)
                nursery.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.socket.close()

    async def _serve_until(self, stop: trio.Event, listeners: Sequence[trio.SocketListener], handed_back: bool) -> None:
        async with trio.open_nursery() as clients:
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, clients)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                for listener in listeners:
                    if not handed_back:
                        await self._accept_waiting(listener, clients)
                    listener.socket.close()
                await self._finish()
            finally:
                # A send is shielded from cancellation: only closing its socket ends it.
                for connection in tuple(self._open):
                    connection.abort()
            clients.cancel_scope.cancel()

    async def _finish(self) -> None:
        for connection in tuple(self._open):
            connection.stop()
        with trio.move_on_after(self._limits.answer_s) as waiting:
            while self._open:
                self._last_closed = trio.Event()
                await self._last_closed.wait()
        if waiting.cancelled_caught:
            log.warning("connections_cut", connections=len(self._open), after_s=self._limits.answer_s)

    async def _accept(self, listener: trio.SocketListener, clients: trio.Nursery) -> None:
        while True:
            try:
                sock, address = await listener.socket.accept()
            except (OSError, trio.ClosedResourceError) as error:
                if isinstance(error, trio.ClosedResourceError) or error.errno == errno.EBADF:
                    raise OurFault("a listener was closed while it was being served") from None
                if error.errno in CLIENTS_ERRORS:
                    continue
                # EMFILE and similar errors: free the descriptor of an idle connection, and wait.
                self._close_longest_idle()
                self._accept_errors.log("accept_failed", reason=str(error), retry_s=ACCEPT_PAUSE_S)
                await trio.sleep(ACCEPT_PAUSE_S)
            else:
                self._admit(sock, address, clients)

    async def _accept_waiting(self, listener: trio.SocketListener, clients: trio.Nursery) -> None:
        """Accept the connections that came before the stop: closing the listener would reset them."""
        for _ in range(self._limits.backlog):
            if not is_readable(listener.socket.fileno()):
                return
            with trio.move_on_after(ACCEPT_PAUSE_S):  # the client may have disconnected since
                try:
                    sock, address = await listener.socket.accept()
                    self._admit(sock, address, clients)
                except OSError as error:
                    log.warning("accept_failed", reason=str(error))
                    return

    def _admit(self, sock: trio.socket.SocketType, peer_name: Any, clients: trio.Nursery) -> None:
        limits = self._limits
        is_inet = sock.family in {trio.socket.AF_INET, trio.socket.AF_INET6}
        # Over a dual-stack socket an IPv4 client has an IPv4-mapped address. A unix socket's clients have none.
        peer = (address_in(str(peer_name[0])) or str(peer_name[0]), int(peer_name[1])) if is_inet else None
        address = None if peer is None else peer[0]
        if address is not None and 0 < limits.connections_per_address_max <= self._per_address[address]:
            reason = "connections_per_address_max"
        elif len(self._open) >= limits.connections_max and not self._close_longest_idle():
            reason = "connections_max"
        else:
            connection = self._connect(sock, peer, self._note_idle)
            self._open.add(connection)
            self._idle[connection] = None
            self._per_address[address] += 1
            clients.start_soon(self._contain, connection)
            return
        self.turned_away += 1
        sock.close()
        self._refusals.log("connection_refused", reason=reason, address=address)

    async def _contain(self, connection: FaceConnection) -> None:
        """Run one connection. Its exceptions must not reach the nursery: they would end the server."""
        try:
            await connection.run()
        except* OSError as errors:
            log.debug(
                "connection_closed", address=self._limits.shown(connection.address), reason=str(errors.exceptions[0])
            )
        except* Exception:
            log.exception("connection_crashed", address=self._limits.shown(connection.address))
        finally:
            self._forget(connection)

    def _note_idle(self, connection: FaceConnection, idle: bool) -> None:
        if idle and connection in self._open:
            self._idle[connection] = None
        else:
            self._idle.pop(connection, None)

    def _close_longest_idle(self) -> bool:
        connection = next(iter(self._idle), None)
        if connection is None:
            return False
        self.turned_away += 1
        connection.abort()
        self._forget(connection)
        return True

    def _forget(self, connection: FaceConnection) -> None:
        self._idle.pop(connection, None)
        if connection in self._open:
            self._open.remove(connection)
            self._per_address[connection.address] -= 1
            if not self._per_address[connection.address]:
                del self._per_address[connection.address]
        if not self._open:
            self._last_closed.set()

    def _prepare(self, listener: trio.SocketListener) -> None:
        if listener.socket.family in {trio.socket.AF_INET, trio.socket.AF_INET6}:
            # Accepted sockets inherit these options.
            timeout_ms = math.ceil(self._limits.head_s * 1000)
            listener.socket.setsockopt(trio.socket.IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms)
            listener.socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)


class _OncePerSecond:
    """Logs a warning at most once a second, with the number of warnings suppressed since the last one."""

    def __init__(self) -> None:
        self._next_at = -math.inf
        self._kept_back = 0

    def log(self, event: str, **values: object) -> None:
        now = trio.current_time()
        if now < self._next_at:
            self._kept_back += 1
            return
        log.warning(event, **values, kept_back=self._kept_back)
        self._next_at = now + LOG_PAUSE_S
        self._kept_back = 0
