"""Which requests can still get an IP before their deadline. Pure.

- A resting IP becomes available when its rest ends, at a known time.
- A leased IP may be released at any moment and rests for the cooldown after that.
- An IP under a check may be released at any moment and does not rest.
- Failed IPs, IPs of deleted rows, and IPs that operators may add are not expected.
- An IP that becomes available goes to the first waiting request, by priority and arrival, that has not tried it.

A request is refused only if no release, at any time, could give it an IP before its deadline. If the cooldown is longer
than the requests wait, leased IPs do not matter, and the answer is exact. Otherwise requests wait in case of doubt.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from daemon.pool.messages import Acquire
from daemon.pool.queues import IpHeap, IpRequest, Waiting
from daemon.pool.states import Event, Ip, Rules, Status

ELSEWHERE_S = 3.0  # the balancer sends what other nodes can give each second


def too_late(request: Acquire | IpRequest) -> str:
    """The reason for messages.NoIPAvailable."""
    return "tried" if request.tried else "too_late"


@dataclass(frozen=True, slots=True)
class Supply:
    """The IPs that may become available: `rests` by the end of their rest; `leased`; `checked`, under a check."""

    rests: Iterable[Ip]
    leased: AbstractSet[UUID]
    checked: AbstractSet[UUID]


@dataclass(slots=True)
class Forecast:
    """What happens if no leased IP is released.

    `unserved`: indices in the queue. `rests`: (end, IP) in order, at least up to the deadlines of the unserved
    requests. `random_from_s`: from then on a draw decides which request gets which IP.
    """

    unserved: list[int]
    rests: list[tuple[float, Ip]]
    random_from_s: float = math.inf


def forecast(queue: Sequence[IpRequest], rests: Iterable[Ip], now_s: float, *, fastest: bool) -> Forecast:
    """Simulates the ends of rests in order, until each request of `queue` has an IP or has passed its deadline."""
    left = deque(range(len(queue)))
    found = Forecast([], [])
    is_random = fastest and any(request.tried for request in queue)
    for at_s, together in groupby(rests, lambda ip: max(now_s, ip.locked_until_s or 0.0)):
        if not left:
            break
        free = sorted(together, key=attrgetter("last_used_s"))
        found.rests += [(at_s, ip) for ip in free]
        passed_over = []
        while free and left:
            place = left.popleft()
            request = queue[place]
            if request.deadline_s <= at_s:
                found.unserved.append(place)
                continue
            if is_random and len(free) > 1:
                found.random_from_s = min(found.random_from_s, at_s)
            choice = next((ip for ip in free if ip.id not in request.tried), None)
            if choice is None:
                passed_over.append(place)
            else:
                free.remove(choice)
        left.extendleft(reversed(passed_over))
    found.unserved += left
    return found


def in_vain(
    queue: Sequence[IpRequest], supply: Supply, now_s: float, cooldown_s: float, *, fastest: bool = False
) -> tuple[list[int], float]:
    """Indices of the requests of `queue` that cannot be served in time, and when the next one will be added by time."""
    found = forecast(queue, supply.rests, now_s, fastest=fastest)
    if not found.unserved:
        return [], math.inf
    ahead = _ahead(queue)
    hopeless, changes_s = [], math.inf
    for place in sorted(found.unserved):
        until_s = _served_until_s(queue[place], ahead[place], found, supply, now_s, cooldown_s)
        if now_s < until_s:
            changes_s = min(changes_s, until_s)
        else:
            hopeless.append(place)
    return hopeless, changes_s


def _ahead(queue: Sequence[IpRequest]) -> list[int]:
    """For each request, how many requests ahead of it have no earlier deadline, and so are served before.

    Requests that have tried IPs are not counted: an IP that they have tried goes to the next request.
    """
    counts, deadlines = list[int](), list[float]()
    for request in queue:
        counts.append(len(deadlines) - bisect_left(deadlines, request.deadline_s))
        if not request.tried:
            insort(deadlines, request.deadline_s)
    return counts


def _served_until_s(
    request: IpRequest, ahead: int, found: Forecast, supply: Supply, now_s: float, cooldown_s: float
) -> float:
    """Until when a release may still give `request` an IP before its deadline; -inf if no release can.

    Each IP counts as often as it can be leased before the deadline. The request needs one lease more than `ahead`.
    """
    deadline_s, checked = request.deadline_s, len(supply.checked)
    is_untried_resting = _is_untried_resting(request, found)
    rests_twice = bool(found.rests) and found.rests[0][0] + cooldown_s < deadline_s
    if not (rests_twice or checked or (supply.leased and now_s < deadline_s - cooldown_s)):
        return deadline_s if found.random_from_s < deadline_s and is_untried_resting else -math.inf
    is_near = is_untried_resting or not supply.checked <= request.tried  # without the release of a leased IP
    if not is_near and supply.leased <= request.tried:
        return -math.inf
    cooldowns = 0 if is_near and (rests_twice or checked) else 1  # that must pass between now and the deadline
    if not cooldown_s:
        return deadline_s
    leases = checked - ahead
    for at_s, _ in found.rests:
        if leases > 0 or at_s >= deadline_s:
            break
        leases += math.ceil((deadline_s - at_s) / cooldown_s)
    if leases <= 0:
        returning = checked + len(supply.leased)
        if not returning:
            return -math.inf
        cooldowns = max(cooldowns, 1 + -leases // returning)
    return deadline_s - cooldowns * cooldown_s


def _is_untried_resting(request: IpRequest, found: Forecast) -> bool:
    """Whether the rest of an IP that `request` has not tried ends before its deadline."""
    for at_s, ip in found.rests:
        if at_s >= request.deadline_s:
            return False
        if ip.id not in request.tried:
            return True
    return False


class Prospects:
    """The prospects of a pool's waiting requests. The pool reports each change of an IP by `changed` and `note`.

    The requests are examined again, in O(waiting), only after an event that may have made one hopeless.
    """

    def __init__(self, rests: IpHeap, locks: IpHeap, waiting: Waiting) -> None:
        self._rests = rests
        self._locks = locks
        self._waiting = waiting
        self._leased: set[UUID] = set()
        self._checked: set[UUID] = set()
        self._under_check: set[UUID] = set()  # including failed and leaving IPs
        self._is_stale = False
        self._cooldown_s = math.nan  # of the last examination
        self._changes_s = math.inf
        self._coming = self._hoping = 0  # IPs, requests
        self._coming_until_s = -math.inf

    def hope(self, coming: int, now_s: float) -> None:
        """Other nodes can give `coming` IPs within ELSEWHERE_S. As many requests may wait without other prospects."""
        self._coming, self._coming_until_s = coming, now_s + ELSEWHERE_S
        self._is_stale = self._is_stale or self._hoping > 0

    def hoped_for(self, now_s: float) -> int:
        return self._coming if now_s < self._coming_until_s else 0

    def may_hope(self, now_s: float) -> bool:
        """Whether one more request may wait for an IP of another node."""
        return (self._hoping if self._waiting else 0) < self.hoped_for(now_s)

    def note(self, ip: Ip) -> None:
        """Call it after each change of `ip`."""
        self._leased.discard(ip.id)
        self._checked.discard(ip.id)
        if ip.status is not Status.LOCKED:
            self._under_check.discard(ip.id)
        elif ip.is_healthy and not ip.leaving:
            (self._checked if ip.id in self._under_check else self._leased).add(ip.id)

    def note_check(self, ip: Ip) -> None:
        """Call it after a lease for a check."""
        self._under_check.add(ip.id)
        self.note(ip)

    def changed(self, event: Event, now_s: float, cooldown_s: float) -> None:
        """Call it before `event` changes an IP.

        Leases and releases matter if leased IPs can be free in time, or if requests have tried IPs: a late timer can
        change which request gets which IP.
        """
        if not self._waiting or event is Event.COOLDOWN_OVER:
            return
        if (
            event is Event.GIVEN
            or self._waiting.any_tried
            or self._checked
            or now_s + cooldown_s < self._waiting.latest_s
        ):
            self._is_stale = True

    def joined(self, request: IpRequest, now_s: float, rules: Rules) -> None:
        """A request waits from now on. If rests alone can serve it, the requests before it are not affected."""
        jumps_queue = request.priority < self._waiting.last_priority
        is_near = now_s + rules.cooldown_s < request.deadline_s
        if is_near or jumps_queue or self._checked or self.hoped_for(now_s):
            self._is_stale = True

    def review(self) -> None:
        """Rows changed: examine the requests again."""
        self._is_stale = True

    def next_free_s(self, rules: Rules) -> float | None:
        """When the next IP becomes available if every trace keeps its IP until the lock ends."""
        rests_s, locks_s = self._rests.first_s(), self._locks.first_s()
        if locks_s is None:
            return rests_s
        return min(locks_s + rules.cooldown_s, math.inf if rests_s is None else rests_s)

    def due_s(self) -> float | None:
        """When the next request is refused if no event happens until then."""
        return self._changes_s if self._waiting and self._changes_s < math.inf else None

    def has_any(self, request: IpRequest, now_s: float, rules: Rules) -> bool:
        """Whether a new request for which no IP is available can be served in time."""
        ahead = len(self._waiting)
        resting = set[UUID]()
        for ip in self._rests.up_to(request.deadline_s):
            if ip.id not in request.tried and (ip.locked_until_s or 0.0) < request.deadline_s:
                resting.add(ip.id)
                if len(resting) > ahead:
                    return True
        is_lease_near = bool(self._leased) and now_s < request.deadline_s - rules.cooldown_s
        if not (resting or self._checked or is_lease_near):
            return False
        queue = [waiting for _, waiting in self._waiting.queue()]
        place = bisect_right(queue, request.priority, key=attrgetter("priority"))
        queue.insert(place, request)
        return place not in self._in_vain(queue, now_s, rules)[0]

    def take_hopeless(self, now_s: float, rules: Rules) -> list[Acquire]:
        """Removes the waiting requests that cannot be served in time."""
        if not self._waiting:
            return []
        if not self._is_stale and now_s < self._changes_s and rules.cooldown_s == self._cooldown_s:
            return []
        queue = self._waiting.queue()
        hopeless, self._changes_s = self._in_vain([request for _, request in queue], now_s, rules)
        self._is_stale, self._cooldown_s = False, rules.cooldown_s
        self._hoping = min(len(hopeless), self.hoped_for(now_s))
        if self._hoping:
            self._changes_s = min(self._changes_s, self._coming_until_s)
        return [self._waiting.take(queue[place][0]) for place in hopeless[self._hoping :]]

    def _in_vain(self, queue: Sequence[IpRequest], now_s: float, rules: Rules) -> tuple[list[int], float]:
        latest_s = max(request.deadline_s for request in queue)
        supply = Supply(self._rests.in_order(latest_s), self._leased, self._checked)
        return in_vain(queue, supply, now_s, rules.cooldown_s, fastest=rules.fastest)
