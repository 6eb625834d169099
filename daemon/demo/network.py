"""The demo's network on loopback: an ad network's origin, and one forward proxy on each of several addresses."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import trio

from daemon.demo.history import OriginEvent
from daemon.demo.origin import Origin
from daemon.demo.proxies import ProxyConnection
from daemon.demo.wire import accept_from, listen, listen_from

EVENTS_MAX = 20_000
"""Events kept; the oldest are dropped first."""


class DemoNetwork:
    """A running network.

    `origin` is its address and port. `seen` has the requests that the origin has answered or whose client left.
    """

    def __init__(self, origin: tuple[str, int], addresses: Sequence[str], proxy_port: int) -> None:
        self.origin = origin
        self.addresses = tuple(addresses)
        self.proxy_port = proxy_port
        self.seen: deque[OriginEvent] = deque(maxlen=EVENTS_MAX)

    def chain_url(
        self,
        hops: int = 5,
        delay_ms: int = 200,
        page_bytes: int = 0,
        host: str | None = "track.example",
        landing: str | None = None,
    ) -> str:
        """Return a tracking URL: `hops` redirects, then a page of `page_bytes`; each answer comes after the delay.

        `host` is a name under .example or .test, which only the proxies resolve, or None for the origin's own address.
        With a `landing` host the page is at http://LANDING/landing?cid=N, else at `host`.
        """
        authority = f"{self.origin[0]}:{self.origin[1]}" if host is None else host
        end = "" if landing is None else f"/{landing}"
        return f"http://{authority}/c/{delay_ms}/{hops}/{page_bytes}/0{end}"


@asynccontextmanager
async def demo_network(addresses: Sequence[str], proxy_port: int) -> AsyncIterator[DemoNetwork]:
    """Run an origin on 127.0.0.1 and a proxy on each of the 127/8 addresses until the block ends.

    The proxies share a port: `proxy_port`, or the next port that is free on all addresses. Raises PortBusy, OSError.
    """
    with listen("127.0.0.1", 0) as origin_listener, ExitStack() as stack:
        port, listeners = listen_from(addresses, proxy_port)
        for listener in listeners:
            stack.enter_context(listener)
        network = DemoNetwork(origin_listener.getsockname(), addresses, port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_from, origin_listener, Origin(network.seen.append).serve, nursery)
            for address, listener in zip(addresses, listeners, strict=True):
                nursery.start_soon(accept_from, listener, partial(_serve, address, network.origin), nursery)
            yield network
            nursery.cancel_scope.cancel()


async def _serve(address: str, origin: tuple[str, int], client: trio.SocketStream) -> None:
    await ProxyConnection(client, address, origin).serve()
