"""Which clients leave while they wait for an answer: one task for all connections, by an epoll instance of its own.

A task for each connection that reads meanwhile would see the same, at several kilobytes for each click that waits.
"""

import select
from contextlib import suppress
from typing import Protocol

import trio


class Answering(Protocol):
    def leave(self) -> None:
        """The client is gone."""


class Hangups:
    """`run` it while connections are watched."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Answering] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, _ in self._epoll.poll(0):
                    if (answering := self._watched.get(fd)) is not None:
                        answering.leave()
        finally:
            self._epoll.close()

    def watch(self, fd: int, answering: Answering) -> None:
        """From now on it is told, once, that the peer of the socket `fd` has closed its side or broken."""
        self._watched[fd] = answering
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def unwatch(self, fd: int, answering: Answering) -> None:
        if self._watched.get(fd) is answering:  # the socket may be closed by now, and its number another one's
            del self._watched[fd]
            with suppress(OSError, ValueError):  # closed with its socket, or by the end of `run`
                self._epoll.unregister(fd)
