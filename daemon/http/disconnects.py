"""Detects clients that disconnect while their request is handled: one task and one epoll for all connections.

A reading task for each connection would cost several kilobytes for each waiting click.
"""

import select
from contextlib import suppress
from typing import Protocol

import trio


class Watched(Protocol):
    def disconnected(self) -> None:
        """Called when the client has closed its side or the connection is broken."""


class DisconnectWatcher:
    """`run` must run while connections are watched."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0):
                    if (watched := self._watched.get(fd)) is not None:
                        watched.disconnected()
        finally:
            self._epoll.close()

    def watch(self, fd: int, watched: Watched) -> None:
        """Call `watched.disconnected()` once when the peer of the socket `fd` disconnects."""
        self._watched[fd] = watched
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def unwatch(self, fd: int, watched: Watched) -> None:
        if self._watched.get(fd) is watched:  # a closed socket's number may belong to another one by now
            del self._watched[fd]
            with suppress(OSError, ValueError):  # the socket is closed, or `run` has ended
                self._epoll.unregister(fd)
