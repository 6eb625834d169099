"""The demo's forward proxies: one listener for each pool address, each leaving from the address it was reached at."""

import itertools
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from socket import socket

import trio

from daemon.demo.events import EventLog
from daemon.demo.modes import Mode
from daemon.demo.visit import Proxy, Resolve
from daemon.demo.wire import accept_from, listen


def listen_on(addresses: Iterable[str], port: int) -> dict[str, socket]:
    """A listener on each address, all on one port, or on none of them. Raises PortBusy, OSError."""
    with ExitStack() as undo:
        listeners = {address: undo.enter_context(listen(address, port)) for address in addresses}
        undo.pop_all()
    return listeners


class Proxies:
    """The proxies of a pool; they serve from the moment this is made until `close_all` or the nursery's end."""

    def __init__(
        self, listeners: Mapping[str, socket], port: int, *, resolve: Resolve, log: EventLog, nursery: trio.Nursery
    ) -> None:
        numbers = itertools.count(1)
        self.port = port
        self._proxies = {address: Proxy(address, resolve, log, numbers) for address in listeners}
        self._nursery = nursery
        self._listeners: dict[str, socket] = {}
        for address, listener in listeners.items():
            self._open(address, listener)

    def misbehave(self, address: str, mode: Mode) -> None:
        """From now on this address fails so. Raises KeyError for one that is not served, PortBusy."""
        self._proxies[address].mode = mode
        if mode.kind == "refuse":
            self._close(address)
        elif address not in self._listeners:
            self._open(address, listen(address, self.port))

    def behave(self, address: str) -> None:
        """From now on this address works. Raises KeyError, and PortBusy if its port was taken meanwhile."""
        self._proxies[address].mode = None
        if address not in self._listeners:
            self._open(address, listen(address, self.port))

    def close_all(self) -> None:
        for address in tuple(self._listeners):
            self._close(address)

    def _open(self, address: str, listener: socket) -> None:
        self._listeners[address] = listener
        self._nursery.start_soon(accept_from, listener, self._proxies[address].serve)

    def _close(self, address: str) -> None:
        if listener := self._listeners.pop(address, None):
            trio.lowlevel.notify_closing(listener)
            listener.close()
