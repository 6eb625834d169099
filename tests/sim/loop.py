"""Virtual time: one heap of events. Tasks are generators that yield a pause in seconds or a Call to the database."""

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from typing import Any

Task = Generator[Any, Any, Any]


class Loop:
    """Events with the same time run in the order in which they were scheduled, so a seed has one history."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.events = 0  # that have run
        self._order = count()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []

    def at(self, when_s: float, event: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (max(when_s, self.now_s), next(self._order), event))

    def after(self, pause_s: float, event: Callable[[], object]) -> None:
        self.at(self.now_s + pause_s, event)

    def run_until(self, end_s: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= end_s:
            self.now_s, _, event = heapq.heappop(heap)
            self.events += 1
            event()
        self.now_s = max(self.now_s, end_s)


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction. `work` runs at the database, at once and whole; the task gets its result, or Unavailable."""

    work: Callable[[], Any]
    timeout_s: float = 5.0


class Signal:
    """Wakes the one task that waits for it."""

    def __init__(self) -> None:
        self.is_set = False
        self.wake: Callable[[], None] = lambda: None

    def set(self) -> None:
        self.is_set = True
        self.wake()


@dataclass(frozen=True, slots=True)
class Wait:
    """A task's pause until `signal`, at most `timeout_s`."""

    signal: Signal
    timeout_s: float


class Unavailable(Exception):
    """No answer from the database in time. The transaction may have been committed, or may be later."""


class Refused(Exception):
    """The database has rolled the transaction back, for the reason given."""
