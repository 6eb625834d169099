"""Detects clients that disconnect while their request is handled: one task and one epoll for all connections.

A reading task for each connection would cost several kilobytes for each waiting click.
"""

import select
from collections.abc import Callable
from contextlib import suppress

import trio

OnDisconnect = Callable[[], None]


class DisconnectWatcher:
    """`run` must run while connections are watched."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, OnDisconnect] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0):
                    if (on_disconnect := self._watched.get(fd)) is not None:
                        on_disconnect()
        finally:
            self._epoll.close()

    def watch(self, fd: int, on_disconnect: OnDisconnect) -> None:
        """Call `on_disconnect` once when the peer of the socket `fd` closes its side or the connection breaks."""
        self._watched[fd] = on_disconnect
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def unwatch(self, fd: int, on_disconnect: OnDisconnect) -> None:
        if self._watched.get(fd) == on_disconnect:  # a closed socket's number may belong to another one by now
            del self._watched[fd]
            with suppress(OSError, ValueError):  # the socket is closed, or `run` has ended
                self._epoll.unregister(fd)
