"""Listeners on loopback and just enough HTTP/1.1 to misbehave on purpose; nothing here checks what it is sent."""

import contextlib
import itertools
import os
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import trio

from daemon.demo.wire import PortBusy, listen

HEAD_BYTES_MAX = 262_144


def _ports_of_this_worker() -> range:
    """Below those that the kernel hands out, so that nothing takes one between a look and its use."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000, 32_000)
    share = len(ports) // workers
    return ports[number * share : (number + 1) * share]


_PORTS = _ports_of_this_worker()
_next_port = itertools.islice(itertools.cycle(_PORTS), random.randrange(len(_PORTS)), None)


@dataclass(frozen=True, slots=True)
class Head:
    """A request as it came. Header names in lower case; the body is that of a Content-Length."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def value(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[trio.abc.Stream], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serves each connection until the block ends; gives the port. A peer that leaves is no error."""

    async def one(stream: trio.SocketStream) -> None:
        served: trio.abc.Stream = stream
        if tls is not None:
            served = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            await serve(served)
        stream.socket.close()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        port = int(listeners[0].socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, one, listeners)
        yield port
        nursery.cancel_scope.cancel()


class Reader:
    """Heads off a stream, one after the other; counts what came."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.rest = b""

    async def head(self) -> Head | None:
        """The next request, or None at the end."""
        block = await self.block()
        if block is None:
            return None
        first, *lines = block.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
        length = int(next((value for name, value in headers if name == "content-length"), "0"))
        while len(self.rest) < length:
            more = await self.stream.receive_some(65_536)
            if not more:
                return None
            self.rest += more
        body, self.rest = self.rest[:length], self.rest[length:]
        return Head(method, target, headers, body)

    async def block(self) -> bytes | None:
        """Bytes up to an empty line, without it."""
        while b"\r\n\r\n" not in self.rest:
            if len(self.rest) > HEAD_BYTES_MAX:
                return None
            more = await self.stream.receive_some(65_536)
            if not more:
                return None
            self.rest += more
        block, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return block


def reset(stream: trio.abc.Stream) -> None:
    """Closes with RST instead of FIN."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def free_port(*addresses: str) -> int:
    """A port that nobody listens on, at 127.0.0.1 or these addresses; no other worker of this run is given it."""
    for _ in range(len(_PORTS)):
        port = next(_next_port)
        try:
            for address in addresses or ("127.0.0.1",):
                listen(address, port).close()
        except PortBusy:
            continue
        return port
    raise AssertionError("no port is free")
