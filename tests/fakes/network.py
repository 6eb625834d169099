"""The demo's ad network and proxies for tests: every request is recorded, and proxies fail on demand.

As a process it prints one line of JSON with its addresses once it serves, and stops at SIGTERM or SIGINT:

    python -m tests.fakes.network --proxies 127.1.0.1-127.1.0.15 --proxy-port 7000 --log requests.jsonl
"""

import argparse
import array
import fcntl
import ipaddress
import itertools
import json
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import trio

from daemon.demo.network import DemoNetwork
from daemon.demo.origin import TARGET_CHARS_MAX, Origin
from daemon.demo.wire import PortBusy, Request, accept_from, answer, listen
from daemon.errors import BadInput
from tests.fakes.events import KEPT_MAX, EventLog, ProxyEvent
from tests.fakes.proxies import ReadingProxy

ADDRESSES_MAX = 4_096
SIOCOUTQNSD = 0x894B  # linux/sockios.h; no module names it

Names = Mapping[str, tuple[str, int]]
"""From `name:port` or `name` to an IPv4 loopback address and a port."""
Failure = Literal["refuse", "silent", 407, 502]
"""refuse: new connections are refused, open ones go on. silent: a request is read and never answered. Or a status."""

_CID = re.compile(rb"[?&]cid=(\d{1,18})")


class FakeNetwork(DemoNetwork):
    """A running network. `log` has an event for every request that ended. `names` are host names for the proxies."""

    def __init__(
        self,
        origin: socket.socket,
        listeners: Mapping[str, socket.socket],
        names: Names,
        log: EventLog,
        nursery: trio.Nursery,
    ) -> None:
        port = next((int(listener.getsockname()[1]) for listener in listeners.values()), 0)
        super().__init__(origin.getsockname(), tuple(listeners), port)
        self.log = log
        self.names = names
        self.connection_numbers = itertools.count(1)
        self.failures: dict[str, Failure] = {}
        self._nursery = nursery
        self._listeners: dict[str, socket.socket] = {}
        nursery.start_soon(accept_from, origin, Origin(log.record).serve, nursery)
        for address, listener in listeners.items():
            self._open(address, listener)

    def fail(self, address: str, failure: Failure | None) -> None:
        """Make one address fail requests that begin from now on; None: it works again.

        Raises KeyError for an unknown address; PortBusy if its port was taken while it refused connections.
        """
        self.failures.pop(address, None)
        if failure is not None:
            self.failures[address] = failure
        if failure == "refuse":
            listener = self._listeners.pop(address)
            trio.lowlevel.notify_closing(listener)
            listener.close()
        elif address not in self._listeners:
            self._open(address, listen(address, self.proxy_port))

    def _open(self, address: str, listener: socket.socket) -> None:
        self._listeners[address] = listener
        self._nursery.start_soon(self._accept, address, listener)

    async def _accept(self, address: str, listener: socket.socket) -> None:
        async def serve(client: trio.SocketStream) -> None:
            connection = _RecordingProxy(self, address, client)
            try:
                await connection.serve()
            finally:
                connection.record(_unsent(client))

        try:
            await accept_from(listener, serve, self._nursery)
        except* trio.ClosedResourceError:
            pass  # `fail` closed the listener


class _RecordingProxy(ReadingProxy):
    """One client's connection to the proxy at one address of the network."""

    def __init__(self, network: FakeNetwork, address: str, client: trio.SocketStream) -> None:
        super().__init__(client, address, network.origin)
        self._network = network
        self._address = address
        self._number = next(network.connection_numbers)
        self._request: Request | None = None
        self._wall_s = self._began_s = 0.0
        self._answered_s: float | None = None
        self._counted = (0, 0)
        """Bytes in and out of the connection that belong to earlier requests."""

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        names = self._network.names
        return names.get(f"{host}:{port}") or names.get(host) or super().resolve(host, port)

    async def forward(self, request: Request) -> bool:
        self.record()
        self._request, self._wall_s, self._began_s, self._answered_s = request, time.time(), time.monotonic(), None
        self.expect_answer(request)
        failure = self._network.failures.get(self._address)
        if failure == "silent":
            await self.client.stays(float("inf"))
        elif failure is None or failure == "refuse":
            return await super().forward(request)
        else:
            extra = [("Proxy-Authenticate", 'Basic realm="demo"')] if failure == 407 else []
            await self.send_back(answer(failure, b"set to fail\n", *extra, ("Connection", "close")))
        return False

    async def send_back(self, data: bytes) -> None:
        if self._answered_s is None:
            self._answered_s = time.monotonic()
        await super().send_back(data)

    def answered(self) -> None:
        self.record()

    def record(self, untaken_bytes: int = 0) -> None:
        """Record the request that is open, if any: it ends now. Bytes that the client did not take are not counted."""
        if (request := self._request) is None:
            return
        self._request = None
        cid = _CID.search(self.location) or _CID.search(request.target.encode())
        bytes_in, bytes_out = self.client.bytes_in, self.client.bytes_out
        event = ProxyEvent(
            self._wall_s,
            self._began_s,
            time.monotonic(),
            self._address,
            int(cid[1]) if cid else None,
            self._number,
            request.target[:TARGET_CHARS_MAX],
            self.status,
            bytes_in - self._counted[0],
            bytes_out - self._counted[1] - untaken_bytes,
            self._answered_s,
        )
        self._counted = (bytes_in, bytes_out)
        self._network.log.record(event)


def _unsent(stream: trio.SocketStream) -> int:
    """Bytes sent that the kernel still holds because the peer has not made room for them."""
    waiting = array.array("i", [0])
    if stream.socket.fileno() >= 0:
        fcntl.ioctl(stream.socket.fileno(), SIOCOUTQNSD, waiting)
    return waiting[0]


@asynccontextmanager
async def fake_network(
    addresses: Sequence[str],
    *,
    proxy_port: int = 7000,
    log: Path | None = None,
    kept_max: int = KEPT_MAX,
    names: Names | None = None,
) -> AsyncIterator[FakeNetwork]:
    """An origin on 127.0.0.1 and a proxy on each of the 127/8 addresses, until the block ends.

    `log` is a file that the events are appended to; the newest `kept_max` stay in memory. Raises PortBusy or OSError;
    what the block raises is not wrapped in an exception group.
    """
    raised: Exception | None = None
    with ExitStack() as stack:
        events = stack.enter_context(EventLog(log, kept_max=kept_max))
        origin = stack.enter_context(listen("127.0.0.1", 0))
        proxies = {address: stack.enter_context(listen(address, proxy_port)) for address in dict.fromkeys(addresses)}
        async with trio.open_nursery() as nursery:
            try:
                yield FakeNetwork(origin, proxies, names or {}, events, nursery)
            except Exception as failed:  # raised again outside the nursery, which would wrap it
                raised = failed
            nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


def parse_addresses(text: str) -> tuple[str, ...]:
    """`127.1.0.1-127.1.0.15,127.2.0.1` as single addresses, in order, each once. Raises BadInput."""
    found: dict[str, None] = {}
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        try:
            low, high = ipaddress.IPv4Address(first.strip()), ipaddress.IPv4Address((last or first).strip())
        except ValueError as bad:
            raise BadInput(f"{part!r} is neither an IPv4 address nor a range FIRST-LAST") from bad
        if not (low.is_loopback and high.is_loopback) or low > high:
            raise BadInput(f"{part!r} is no rising range inside 127.0.0.0/8")
        if int(high) - int(low) + len(found) >= ADDRESSES_MAX:
            raise BadInput(f"more than {ADDRESSES_MAX} addresses")
        found.update((str(ipaddress.IPv4Address(number)), None) for number in range(int(low), int(high) + 1))
    return tuple(found)


async def _run(addresses: Sequence[str], proxy_port: int, log: Path | None) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with fake_network(addresses, proxy_port=proxy_port, log=log, kept_max=0) as network:
            ready = {
                "origin": f"{network.origin[0]}:{network.origin[1]}",
                "proxy_port": network.proxy_port,
                "addresses": network.addresses,
                "log": None if log is None else str(log),
            }
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            async for _ in signals:
                return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal. Returns 0, or 1 with a line on stderr when an address or port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.network", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--proxies", default="", metavar="A-B,C", help="loopback addresses; none: only the origin")
    parser.add_argument("--proxy-port", type=int, default=7000)
    parser.add_argument("--log", type=Path, help="append one JSON line for each request")
    options = parser.parse_args(arguments)
    try:
        addresses = parse_addresses(options.proxies)
    except BadInput as bad:
        parser.error(str(bad))
    try:
        trio.run(_run, addresses, options.proxy_port, options.log)
    except (PortBusy, OSError) as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
