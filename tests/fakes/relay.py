"""A relay from a TCP port to PostgreSQL's Unix socket, whose connections can go silent, be refused, or be reset.

The embedded PostgreSQL has neither TCP nor TLS. The relay therefore answers the client's SSLRequest itself: `N`, or `S`
and TLS up to the relay (PostgreSQL, 55.2.10). Data that arrives while connections are silent waits and is not lost.
"""

import contextlib
import random
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from daemon.database import cluster
from tests.fakes.wire import free_port, reset

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
GREETING_BYTES = 8
PIECE_BYTES = 65_536
BACKLOG = 128
DELAY_S, STALL_S, STALLED_ONE_IN = 0.2, 2.0, 20


def socket_url(port: int, **parameters: str) -> str:
    """The URL of PostgreSQL behind a relay on this port of 127.0.0.1."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"postgresql://{cluster.SUPERUSER}@127.0.0.1:{port}/{cluster.DATABASE}" + (f"?{query}" if query else "")


@dataclass(slots=True)
class Relay:
    """A relay. `accepted` counts its connections. A connection that PostgreSQL refuses is reset."""

    port: int
    _socket: Path
    _tls: ssl.SSLContext | None
    _nursery: trio.Nursery
    accepted: int = 0
    _flows: trio.Event = field(default_factory=trio.Event)
    _cut_after_bytes: int | None = None
    _delays: random.Random | None = None
    _clients: set[trio.SocketStream] = field(default_factory=set)
    _door: trio.CancelScope | None = None

    async def open(self) -> None:
        """Listen, and relay data in both directions."""
        self._flows.set()
        self._cut_after_bytes = self._delays = None
        if self._door is None:
            self._door = trio.CancelScope()
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1", backlog=BACKLOG)
            self._nursery.start_soon(self._listen, self._door, listeners)

    def silence(self) -> None:
        """Until `open`: open connections carry no data, new ones are accepted and never answered."""
        self._flows = trio.Event()

    def lead_to(self, socket: Path) -> None:
        """New connections go to another server; open ones are reset."""
        self._socket = socket
        self.reset_all()

    def refuse(self) -> None:
        """Until `open`: open connections are reset and new ones refused."""
        if self._door is not None:
            self._door.cancel()
            self._door = None
        self.reset_all()

    def reset_all(self) -> None:
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                reset(client)

    def cut_after(self, answer_bytes: int) -> None:
        """Until `open`: reset each connection after so many more bytes from PostgreSQL."""
        self._cut_after_bytes = answer_bytes

    def delay(self, rng: random.Random) -> None:
        """Until `open`: PostgreSQL's answers come DELAY_S later, one in STALLED_ONE_IN of them STALL_S later."""
        self._delays = rng

    async def _delayed(self) -> None:
        if self._delays is not None:
            await trio.sleep(DELAY_S if self._delays.randrange(STALLED_ONE_IN) else STALL_S)

    async def _listen(self, door: trio.CancelScope, listeners: list[trio.SocketListener]) -> None:
        with door:
            await trio.serve_listeners(self._serve, listeners, handler_nursery=self._nursery)

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        self._clients.add(client)
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                await self._flows.wait()
                stream, ahead = await self._greeted(client)
                async with await trio.open_unix_socket(self._socket) as server:
                    await server.send_all(ahead)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, stream, server, nursery.cancel_scope, None)
                        nursery.start_soon(self._pump, server, stream, nursery.cancel_scope, client)
        finally:
            self._clients.discard(client)
            with contextlib.suppress(OSError):  # it is closed already
                reset(client)

    async def _greeted(self, client: trio.SocketStream) -> tuple[trio.abc.Stream, bytes]:
        """Answer the client's requests for encryption. Returns its stream and its first bytes for PostgreSQL."""
        while True:
            greeting = b""
            while len(greeting) < GREETING_BYTES:
                piece = await client.receive_some(GREETING_BYTES - len(greeting))
                if not piece:
                    raise trio.BrokenResourceError
                greeting += piece
                await self._flows.wait()
            (code,) = struct.unpack(">4xi", greeting)
            if code == SSL_REQUEST and self._tls is not None:
                await client.send_all(b"S")
                return trio.SSLStream(client, self._tls, server_side=True, https_compatible=True), b""
            if code not in (SSL_REQUEST, GSS_REQUEST):
                return client, greeting
            await client.send_all(b"N")

    async def _pump(
        self,
        source: trio.abc.ReceiveStream,
        sink: trio.abc.SendStream,
        scope: trio.CancelScope,
        cut: trio.SocketStream | None,
    ) -> None:
        """Copy until either end closes. `cut`: the client, in the direction that `cut_after` counts."""
        cut_after_bytes = None
        try:
            while True:
                await self._flows.wait()
                data = await source.receive_some(PIECE_BYTES)
                await self._flows.wait()
                if not data:
                    return
                if cut is not None:
                    await self._delayed()
                if cut is not None and self._cut_after_bytes is not None:
                    left = self._cut_after_bytes if cut_after_bytes is None else cut_after_bytes
                    cut_after_bytes = left - len(data)
                    if cut_after_bytes <= 0:
                        await sink.send_all(data[:left])
                        reset(cut)
                        return
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            return
        finally:
            scope.cancel()


@contextlib.asynccontextmanager
async def open_relay(socket: Path, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """Run a relay to the server at this Unix socket until the block ends."""
    async with trio.open_nursery() as nursery:
        relay = Relay(free_port(), socket, tls, nursery)
        await relay.open()
        try:
            yield relay
        finally:
            nursery.cancel_scope.cancel()
