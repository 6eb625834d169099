"""What comes next, in O(log n): which IP, which timer, which waiter. Pure.

These heaps may hold what is outdated: it is passed over when it comes up, and a heap is rebuilt once the outdated part
outgrows the rest.

pool.selection = "fastest": of the half of the available IPs that rested longest, one is drawn by its speed, the inverse
of avg_response_time_ms. One that was never measured counts as the fastest, so that it gets tried, the less the more
often in a row it has failed. Where there are many, the half is that of a sample of SAMPLE_MAX.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from uuid import UUID

from daemon.pool.messages import Acquire
from daemon.pool.states import Ip, Status

OUTDATED_FACTOR = 4
HEAP_MIN = 64
SAMPLE_MAX = 32
MS_MIN = 1.0


class IpHeap:
    """The IPs of one status by a time, the lowest first; of equal ones the first to be put. `key` reads the time."""

    def __init__(self, ips: Mapping[UUID, Ip], status: Status, key: Callable[[Ip], float]) -> None:
        self._ips = ips
        self._status = status
        self._key = key
        self._heap: list[tuple[float, int, UUID]] = []
        self._order = 0

    def __len__(self) -> int:
        """With what is outdated."""
        return len(self._heap)

    def put(self, ip: Ip) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self._key(ip), self._order, ip.id))
        if len(self._heap) > OUTDATED_FACTOR * len(self._ips) + HEAP_MIN:
            self._rebuild()

    def first(self) -> Ip | None:
        """It stays the first until its status or its time changes."""
        while self._heap:
            if ip := self._current(self._heap[0]):
                return ip
            heapq.heappop(self._heap)
        return None

    def first_s(self) -> float | None:
        ip = self.first()
        return self._key(ip) if ip else None

    def first_but(self, ids: frozenset[UUID]) -> Ip | None:
        """The first that is not among `ids`, of which there are few."""
        aside = []
        while (ip := self.first()) is not None and ip.id in ids:
            aside.append(heapq.heappop(self._heap))
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return ip

    def some(self, count: int, most: int, chance: Callable[[], float]) -> list[Ip]:
        """About `most` of them at random, each once; all where there are hardly more. `count`: how many there are.

        Takes so many steps however many there are: a heap that is mostly outdated is rebuilt before.
        """
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
        """Those whose time is not above `limit_s`, in no order; each takes a step or two, however many there are."""
        places = [0]
        while places:
            place = places.pop()
            if place < len(self._heap) and self._heap[place][0] <= limit_s:
                if ip := self._current(self._heap[place]):
                    yield ip
                places += (2 * place + 1, 2 * place + 2)

    def in_order(self, below_s: float) -> Iterator[Ip]:
        """Those whose time is below `below_s`, the lowest first, each once; the k-th takes O(log k)."""
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
    """One of `rested` (`available` in number) that is not among `tried`. `chance`: random, from 0 to below 1.

    None where all are tried; among very many, also where chance has it that only those were looked at.
    """
    some = rested.some(available, SAMPLE_MAX, chance)
    return drawn((ip for ip in some if ip.id not in tried), chance())


def drawn(ips: Iterable[Ip], chance: float) -> Ip | None:
    """One of the half that rested longest, the middle one included."""
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


class Waiting:
    """Requests that wait for an IP, by priority, then arrival, until each one's deadline.

    Of the requests since the queue was last empty, `latest_s` is the latest deadline, `last_priority` the highest
    number, and `any_tried` says whether one has tried an IP.
    """

    def __init__(self) -> None:
        self._here: dict[int, Acquire] = {}  # by order of arrival
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
        return iter(self._here.values())

    def queue(self) -> list[tuple[int, Acquire]]:
        """In the order in which they are served, each with the number that `take` wants."""
        return sorted(self._here.items(), key=lambda entry: entry[1].priority)

    def add(self, request: Acquire) -> None:
        if not self._here:
            self.latest_s, self.last_priority, self.any_tried = -math.inf, 0, False
        self.latest_s = max(self.latest_s, request.deadline_s)
        self.last_priority = max(self.last_priority, request.priority)
        self.any_tried = self.any_tried or bool(request.tried)
        self._order += 1
        self._here[self._order] = request
        heapq.heappush(self._by_priority, (request.priority, self._order))
        heapq.heappush(self._by_deadline, (request.deadline_s, self._order))
        most = OUTDATED_FACTOR * len(self._here) + HEAP_MIN
        if len(self._by_priority) > most:
            self._by_priority = sorted(w for w in self._by_priority if w[1] in self._here)
        if len(self._by_deadline) > most:
            self._by_deadline = sorted(w for w in self._by_deadline if w[1] in self._here)

    def first(self) -> Acquire | None:
        while self._by_priority:
            if request := self._here.get(self._by_priority[0][1]):
                return request
            heapq.heappop(self._by_priority)
        return None

    def take_first(self) -> None:
        """The one that `first` gave just now has its answer."""
        del self._here[heapq.heappop(self._by_priority)[1]]

    def pass_over_first(self) -> None:
        """The one that `first` gave just now can use nothing that there is: the next one's turn, until `look_again`."""
        self._passed_over.append(heapq.heappop(self._by_priority))

    def look_again(self) -> None:
        for entry in self._passed_over:
            heapq.heappush(self._by_priority, entry)
        self._passed_over.clear()

    def take(self, number: int) -> Acquire:
        """One of `queue`: it waits no longer."""
        return self._here.pop(number)

    def take_due(self, now_s: float) -> list[Acquire]:
        """Those whose deadline has come: they wait no longer."""
        due = []
        while (deadline_s := self.next_deadline_s()) is not None and deadline_s <= now_s:
            due.append(self._here.pop(heapq.heappop(self._by_deadline)[1]))
        return due

    def take_all(self) -> list[Acquire]:
        everyone = list(self._here.values())
        self._here.clear()
        return everyone

    def next_deadline_s(self) -> float | None:
        while self._by_deadline:
            if self._by_deadline[0][1] in self._here:
                return self._by_deadline[0][0]
            heapq.heappop(self._by_deadline)
        return None
