"""Heaps that give the next IP, timer and waiting request in O(log n). Pure.

The heaps may hold outdated entries. They are skipped, and a heap is rebuilt when outdated entries prevail.

By default the next IP is the one that rested longest. With pool.selection = "fastest" it is drawn from the half of the
available IPs that rested longest, weighted by speed, the inverse of avg_response_time_ms. An IP without a measurement
counts as the fastest, divided by its failures in a row plus one. Of many IPs a random sample of SAMPLE_MAX is used.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from daemon.pool.messages import Acquire
from daemon.pool.states import Ip, Status

OUTDATED_FACTOR = 4
HEAP_MIN = 64
SAMPLE_MAX = 32
MS_MIN = 1.0


class IpHeap:
    """The IPs of one status, ordered by the time that `key` gives, then by insertion."""

    def __init__(self, ips: Mapping[UUID, Ip], status: Status, key: Callable[[Ip], float]) -> None:
        self._ips = ips
        self._status = status
        self._key = key
        self._heap: list[tuple[float, int, UUID]] = []
        self._order = 0

    def __len__(self) -> int:
        """Includes outdated entries."""
        return len(self._heap)

    def put(self, ip: Ip) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self._key(ip), self._order, ip.id))
        if len(self._heap) > OUTDATED_FACTOR * len(self._ips) + HEAP_MIN:
            self._rebuild()

    def first(self) -> Ip | None:
        """The first IP; it stays the first until its status or its time changes."""
        while self._heap:
            if ip := self._current(self._heap[0]):
                return ip
            heapq.heappop(self._heap)
        return None

    def first_s(self) -> float | None:
        ip = self.first()
        return self._key(ip) if ip else None

    def first_but(self, ids: frozenset[UUID]) -> Ip | None:
        """The first IP that is not among `ids`, which should be few."""
        aside = []
        while (ip := self.first()) is not None and ip.id in ids:
            aside.append(heapq.heappop(self._heap))
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return ip

    def some(self, count: int, most: int, chance: Callable[[], float]) -> list[Ip]:
        """At most about `most` of the `count` IPs at random, each once, in O(most); all if there are hardly more."""
        if len(self._heap) > 2 * count + HEAP_MIN:
            self._rebuild()
        heap = self._heap
        if len(heap) <= 2 * most + HEAP_MIN:
            found = {ip.id: ip for entry in heap if (ip := self._current(entry))}
        else:
            found = {}
            for _ in range(OUTDATED_FACTOR * most):
                if ip := self._current(heap[int(chance() * len(heap))]):
                    found[ip.id] = ip
                    if len(found) == most:
                        break
        return list(found.values())

    def up_to(self, limit_s: float) -> Iterator[Ip]:
        """The IPs whose time is at most `limit_s`, in no order, in O(1) each."""
        places = [0]
        while places:
            place = places.pop()
            if place < len(self._heap) and self._heap[place][0] <= limit_s:
                if ip := self._current(self._heap[place]):
                    yield ip
                places += (2 * place + 1, 2 * place + 2)

    def in_order(self, below_s: float) -> Iterator[Ip]:
        """The IPs whose time is below `below_s`, the lowest first, each once; the k-th in O(log k)."""
        front = [(self._heap[0], 0)] if self._heap else []
        seen = set[UUID]()
        while front and front[0][0][0] < below_s:
            entry, place = heapq.heappop(front)
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(self._heap):
                    heapq.heappush(front, (self._heap[child], child))
            if (ip := self._current(entry)) and ip.id not in seen:
                seen.add(ip.id)
                yield ip

    def _rebuild(self) -> None:
        once = {e[2]: e for e in sorted(self._heap, reverse=True) if self._current(e)}
        self._heap = sorted(once.values())

    def _current(self, entry: tuple[float, int, UUID]) -> Ip | None:
        ip = self._ips.get(entry[2])
        return ip if ip is not None and ip.status is self._status and self._key(ip) == entry[0] else None


def fast_one(rested: IpHeap, available: int, tried: frozenset[UUID], chance: Callable[[], float]) -> Ip | None:
    """One of the `available` IPs of `rested` that is not among `tried`. `chance()` is random, in [0, 1).

    None if all IPs of the sample are tried.
    """
    some = rested.some(available, SAMPLE_MAX, chance)
    return drawn((ip for ip in some if ip.id not in tried), chance())


def drawn(ips: Iterable[Ip], chance: float) -> Ip | None:
    """One of the half (rounded up) of `ips` that rested longest."""
    longest_first = sorted(ips, key=lambda ip: ip.last_used_s)
    half = longest_first[: (len(longest_first) + 1) // 2]
    if not half:
        return None
    best_ms = min((ip.avg_response_time_ms for ip in half if ip.avg_response_time_ms is not None), default=MS_MIN)
    weights = [1 / max(MS_MIN, _ms(ip, best_ms)) for ip in half]
    left = chance * sum(weights)
    for ip, weight in zip(half, weights, strict=True):
        left -= weight
        if left < 0:
            return ip
    return half[-1]


def _ms(ip: Ip, best_ms: float) -> float:
    ms = ip.avg_response_time_ms
    return best_ms * (1 + ip.consecutive_failures) if ms is None else ms


@dataclass(frozen=True, slots=True)
class IpRequest:
    """The fields of messages.Acquire that decide who gets which IP. Its wait ends at `deadline_s`, see admission.py."""

    deadline_s: float
    priority: int = 0
    tried: frozenset[UUID] = frozenset()


class Waiting:
    """Requests that wait for an IP, ordered by priority, then arrival.

    Over the requests since the queue was last empty: `latest_s` is the latest deadline, `last_priority` the highest
    number, `any_tried` whether one has tried an IP.
    """

    def __init__(self) -> None:
        self._here: dict[int, tuple[Acquire, IpRequest]] = {}  # by order of arrival
        self._by_priority: list[tuple[int, int]] = []
        self._by_deadline: list[tuple[float, int]] = []
        self._passed_over: list[tuple[int, int]] = []
        self._order = 0
        self.latest_s = -math.inf
        self.last_priority = 0
        self.any_tried = False

    def __len__(self) -> int:
        return len(self._here)

    def __iter__(self) -> Iterator[Acquire]:
        return (request for request, _ in self._here.values())

    def queue(self) -> list[tuple[int, IpRequest]]:
        """(number for `take`, request) in the order in which they are served."""
        entries = ((number, asks) for number, (_, asks) in self._here.items())
        return sorted(entries, key=lambda entry: entry[1].priority)

    def add(self, request: Acquire, asks: IpRequest) -> None:
        if not self._here:
            self.latest_s, self.last_priority, self.any_tried = -math.inf, 0, False
        self.latest_s = max(self.latest_s, asks.deadline_s)
        self.last_priority = max(self.last_priority, request.priority)
        self.any_tried = self.any_tried or bool(request.tried)
        self._order += 1
        self._here[self._order] = request, asks
        heapq.heappush(self._by_priority, (request.priority, self._order))
        heapq.heappush(self._by_deadline, (asks.deadline_s, self._order))
        most = OUTDATED_FACTOR * len(self._here) + HEAP_MIN
        if len(self._by_priority) > most:
            self._by_priority = sorted(w for w in self._by_priority if w[1] in self._here)
        if len(self._by_deadline) > most:
            self._by_deadline = sorted(w for w in self._by_deadline if w[1] in self._here)

    def first(self) -> Acquire | None:
        while self._by_priority:
            if entry := self._here.get(self._by_priority[0][1]):
                return entry[0]
            heapq.heappop(self._by_priority)
        return None

    def take_first(self) -> None:
        """Removes the request that `first` gave just now."""
        del self._here[heapq.heappop(self._by_priority)[1]]

    def pass_over_first(self) -> None:
        """The request that `first` gave just now has tried all available IPs: skip it until `restore_passed_over`."""
        self._passed_over.append(heapq.heappop(self._by_priority))

    def restore_passed_over(self) -> None:
        for entry in self._passed_over:
            heapq.heappush(self._by_priority, entry)
        self._passed_over.clear()

    def take(self, number: int) -> Acquire:
        """Removes a request of `queue`."""
        return self._here.pop(number)[0]

    def take_due(self, now_s: float) -> list[Acquire]:
        """Removes the requests whose deadline has come."""
        due = []
        while (deadline_s := self.next_deadline_s()) is not None and deadline_s <= now_s:
            due.append(self.take(heapq.heappop(self._by_deadline)[1]))
        return due

    def take_all(self) -> list[Acquire]:
        everyone = list(self)
        self._here.clear()
        return everyone

    def next_deadline_s(self) -> float | None:
        while self._by_deadline:
            if self._by_deadline[0][1] in self._here:
                return self._by_deadline[0][0]
            heapq.heappop(self._by_deadline)
        return None
