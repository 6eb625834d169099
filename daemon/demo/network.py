"""An ad network and forward proxies on loopback: what tracepool needs around it to be tried, tested and measured.

As a process it prints one JSON line with its addresses once it serves, and stops at SIGTERM or SIGINT:

    python -m daemon.demo.network --proxies 127.1.0.1-127.1.0.15 --proxy-port 7000 --log requests.jsonl
"""

import argparse
import ipaddress
import itertools
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import trio

from daemon.demo.events import KEPT_MAX, EventLog
from daemon.demo.modes import Mode
from daemon.demo.origin import Origin
from daemon.demo.proxies import Names, Proxy
from daemon.demo.wire import PORTS_TRIED_MAX, PortBusy, accept_from, close_listener, free_port_for, listen
from daemon.errors import BadInput

__all__ = ["DemoNetwork", "PortBusy", "demo_network", "free_port_for", "parse_addresses"]

ADDRESSES_MAX = 4_096


class DemoNetwork:
    """A running network. `origin` is (address, port); `log` has every request that ended."""

    def __init__(
        self,
        origin: socket.socket,
        proxies: dict[str, socket.socket],
        names: Names,
        log: EventLog,
        nursery: trio.Nursery,
    ) -> None:
        self.origin: tuple[str, int] = origin.getsockname()
        self.proxy_port = next((int(listener.getsockname()[1]) for listener in proxies.values()), 0)
        self.addresses = tuple(proxies)
        self.log = log
        self._nursery = nursery
        names, numbers = {"*.example": self.origin, "*.test": self.origin, **names}, itertools.count(1)
        self._proxies = {address: Proxy(address, names, log, numbers) for address in proxies}
        self._listeners: dict[str, socket.socket] = {}
        nursery.start_soon(accept_from, origin, Origin(log).serve, nursery)
        for address, listener in proxies.items():
            self._open(address, listener)

    def chain_url(
        self,
        hops: int = 5,
        delay_ms: int = 200,
        page_bytes: int = 0,
        host: str | None = "track.example",
        landing: str | None = None,
    ) -> str:
        """A tracking URL: so many redirects and then a page of `page_bytes`, each of these hops + 1 answers delayed.

        `host` is any name under .example or .test, which only the proxies know, or None for the origin's own address.
        With a `landing` host the page is at http://LANDING/landing?cid=N, else where the chain began.
        """
        authority = f"{self.origin[0]}:{self.origin[1]}" if host is None else host
        end = "" if landing is None else f"/{landing}"
        return f"http://{authority}/c/{delay_ms}/{hops}/{page_bytes}/0{end}"

    def misbehave(self, address: str, mode: Mode | None) -> None:
        """Make one address fail; the modes are in `daemon.demo.modes`.

        Raises KeyError for an unknown address; PortBusy if its port was taken while it refused connections.
        """
        self._proxies[address].mode = mode
        if mode is not None and mode.kind == "refuse":
            if listener := self._listeners.pop(address, None):
                close_listener(listener)
        elif address not in self._listeners:
            self._open(address, listen(address, self.proxy_port))

    def behave(self, address: str) -> None:
        """Make it work again. Raises as `misbehave`."""
        self.misbehave(address, None)

    def close(self) -> None:
        for listener in self._listeners.values():
            close_listener(listener)

    def _open(self, address: str, listener: socket.socket) -> None:
        self._listeners[address] = listener
        self._nursery.start_soon(accept_from, listener, self._proxies[address].serve, self._nursery)


def _listen_on(addresses: Iterable[str], port: int) -> dict[str, socket.socket]:
    """A listener on each address, all on one port, or on none of them. Raises PortBusy, OSError."""
    with ExitStack() as undo:
        listeners = {address: undo.enter_context(listen(address, port)) for address in addresses}
        undo.pop_all()
    return listeners


def _listen_from(addresses: Sequence[str], port: int, ports_tried: int) -> dict[str, socket.socket]:
    for tried in range(port, port + ports_tried - 1):
        with suppress(PortBusy):
            return _listen_on(addresses, tried)
    return _listen_on(addresses, port + ports_tried - 1)


@asynccontextmanager
async def demo_network(
    addresses: Sequence[str],
    *,
    proxy_port: int = 7000,
    or_next_port: bool = False,
    log: Path | None = None,
    kept_max: int = KEPT_MAX,
    resolve: Names | None = None,
) -> AsyncIterator[DemoNetwork]:
    """An origin on 127.0.0.1 and a proxy on each of the 127/8 addresses, while the block runs.

    `or_next_port`: where the proxies' port is busy, the next one that is free on all addresses serves too.
    `resolve` adds host names for the proxies, or takes precedence: `name:port` or `name` to (loopback address, port).
    `log` is a file that the events are appended to; the newest `kept_max` stay in memory. Raises PortBusy, OSError,
    plainly: neither these nor what the block raises comes wrapped in an exception group.
    """
    raised: Exception | None = None
    with EventLog(log, kept_max=kept_max) as events, listen("127.0.0.1", 0) as listener:
        listeners = _listen_from(tuple(dict.fromkeys(addresses)), proxy_port, PORTS_TRIED_MAX if or_next_port else 1)
        async with trio.open_nursery() as nursery:
            network = DemoNetwork(listener, listeners, resolve or {}, events, nursery)
            try:
                yield network
            except Exception as failed:  # kept for outside the nursery, which would wrap it
                raised = failed
            finally:
                network.close()
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
        async with demo_network(addresses, proxy_port=proxy_port, log=log, kept_max=0) as network:
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
    parser = argparse.ArgumentParser(prog="python -m daemon.demo.network", description=(__doc__ or "").split("\n")[0])
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
