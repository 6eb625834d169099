"""Listeners on loopback for fakes, and free ports."""

import contextlib
import itertools
import os
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from daemon.demo.wire import Connection, PortBusy, accept_from, listen


def _ports_of_this_worker() -> range:
    """Ports below those that the kernel assigns, so that no other socket takes one before its use."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000, 32_000)
    share = len(ports) // workers
    return ports[number * share : (number + 1) * share]


_PORTS = _ports_of_this_worker()
_next_port = itertools.islice(itertools.cycle(_PORTS), random.randrange(len(_PORTS)), None)


class CountingConnection(Connection):
    """Counts the bytes of a connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._received = 0

    @property
    def bytes_in(self) -> int:
        """Bytes received, without bytes that were read ahead of the next request."""
        return self._received - len(self._ahead)

    async def _arrive(self) -> bytes:
        data = await super()._arrive()
        self._received += len(data)
        return data


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[trio.abc.Stream], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve each connection until the block ends; yield the port. A peer that disconnects is no error."""

    async def one(stream: trio.SocketStream) -> None:
        await serve(stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True))

    with listen("127.0.0.1", 0) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_from, listener, one, nursery)
            yield int(listener.getsockname()[1])
            nursery.cancel_scope.cancel()


def free_port(*addresses: str) -> int:
    """A free port on 127.0.0.1 or these addresses; other test workers do not get the same port."""
    for _ in range(len(_PORTS)):
        port = next(_next_port)
        try:
            for address in addresses or ("127.0.0.1",):
                listen(address, port).close()
        except PortBusy:
            continue
        return port
    raise AssertionError("no port is free")


def reset(stream: trio.abc.Stream) -> None:
    """Close with RST rather than FIN."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
