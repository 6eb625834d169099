"""Listeners on loopback for fakes that serve a stream, and closed ports."""

import contextlib
import itertools
import os
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from daemon.demo.wire import PortBusy, accept_from, listen


def _ports_of_this_worker() -> range:
    """Below the kernel's ephemeral ports, so that no other program takes one between the choice and the use."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000, 32_000)
    share = len(ports) // workers
    return ports[number * share : (number + 1) * share]


_PORTS = _ports_of_this_worker()
_next_port = itertools.islice(itertools.cycle(_PORTS), random.randrange(len(_PORTS)), None)


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[trio.abc.Stream], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serves each connection until the block ends; yields the port. A peer that disconnects is no error."""

    async def one(stream: trio.SocketStream) -> None:
        await serve(stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True))

    with listen("127.0.0.1", 0) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_from, listener, one, nursery)
            yield int(listener.getsockname()[1])
            nursery.cancel_scope.cancel()


def free_port(*addresses: str) -> int:
    """A closed port at 127.0.0.1 or these addresses; no other worker of this run gets it."""
    for _ in range(len(_PORTS)):
        port = next(_next_port)
        try:
            for address in addresses or ("127.0.0.1",):
                listen(address, port).close()
        except PortBusy:
            continue
        return port
    raise AssertionError("no port is free")
