"""Which requests can still get an IP before their deadline, by what the pool knows. Pure.

What the pool knows:

- A resting IP becomes available when its rest ends, at a known time.
- A leased IP may be released at any moment. It rests for the cooldown after that.
- An IP under a check may be released at any moment and does not rest.
- Failed IPs, and IPs whose rows are deleted, do not come back. Nobody waits for the IPs that operators may bring.
- An IP that becomes available goes to the first waiting request, by priority and arrival, that has not tried it.

A request is refused only if no release, whenever it comes, could give it an IP in time. Where the cooldown is longer
than the requests wait, leased IPs do not matter, and the answer is exact. Otherwise it errs on the side of waiting.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Protocol
from uuid import UUID

from daemon.pool.messages import Acquire
from daemon.pool.queues import IpHeap, Waiting
from daemon.pool.states import Event, Ip, Rules, Status


class Asks(Protocol):
    """A request, as far as its prospects go; see messages.Acquire."""

    @property
    def deadline_s(self) -> float: ...
    @property
    def priority(self) -> int: ...
    @property
    def tried(self) -> frozenset[UUID]: ...


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A request that has not been sent yet."""

    deadline_s: float
    priority: int = 0
    tried: frozenset[UUID] = frozenset()


def too_late(asks: Asks) -> str:
    """Why it is refused; see messages.NoIPAvailable."""
    return "tried" if asks.tried else "too_late"


@dataclass(frozen=True, slots=True)
class Supply:
    """The IPs that may become available. `rests`: by the end of their rest. `leased`: those that rest once they are
    released; `checked`: those that do not.
    """

    rests: Iterable[Ip]
    leased: AbstractSet[UUID]
    checked: AbstractSet[UUID]


@dataclass(slots=True)
class Forecast:
    """What happens if no leased IP is released. `unserved`: places in the queue. `rests`: when which rest ends, in that
    order, up to the deadlines of the unserved requests at least.

    `random_from_s`: from then on a draw decides which request gets which IP.
    """

    unserved: list[int]
    rests: list[tuple[float, Ip]]
    random_from_s: float = math.inf


def forecast(queue: Sequence[Asks], rests: Iterable[Ip], now_s: float, *, fastest: bool) -> Forecast:
    """Plays the ends of rests, in their order, until each request of `queue` has an IP or is past its deadline."""
    left = deque(range(len(queue)))
    found = Forecast([], [])
    for at_s, together in groupby(rests, lambda ip: max(now_s, ip.locked_until_s or 0.0)):
        if not left:
            break
        free = sorted(together, key=attrgetter("last_used_s"))
        found.rests += [(at_s, ip) for ip in free]
        passed_over = []
        while free and left:
            place = left.popleft()
            asks = queue[place]
            if asks.deadline_s <= at_s:
                found.unserved.append(place)
                continue
            if asks.tried and fastest and len(free) > 1:
                found.random_from_s = min(found.random_from_s, at_s)
            choice = next((ip for ip in free if ip.id not in asks.tried), None)
            if choice is None:
                passed_over.append(place)
            else:
                free.remove(choice)
        left.extendleft(reversed(passed_over))
    found.unserved += left
    return found


def in_vain(
    queue: Sequence[Asks], supply: Supply, now_s: float, cooldown_s: float, *, fastest: bool = False
) -> tuple[list[int], float]:
    """Places of the requests of `queue` that cannot be served in time, and when time alone adds one to them."""
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


def _ahead(queue: Sequence[Asks]) -> list[int]:
    """For each request, how many must be served before it: those ahead whose deadline is not earlier.

    A request that has tried some IPs is not counted: an IP that it has tried goes to the next one.
    """
    counts, deadlines = list[int](), list[float]()
    for asks in queue:
        counts.append(len(deadlines) - bisect_left(deadlines, asks.deadline_s))
        if not asks.tried:
            insort(deadlines, asks.deadline_s)
    return counts


def _served_until_s(asks: Asks, ahead: int, found: Forecast, supply: Supply, now_s: float, cooldown_s: float) -> float:
    """Until when a release may still lead to an IP for `asks` in time; -inf if none can.

    Each IP counts as often as it can be leased before the deadline. The request needs one lease more than `ahead`.
    """
    deadline_s, checked = asks.deadline_s, len(supply.checked)
    is_untried_resting = _is_untried_resting(asks, found)
    rests_twice = bool(found.rests) and found.rests[0][0] + cooldown_s < deadline_s
    if not (rests_twice or checked or (supply.leased and now_s < deadline_s - cooldown_s)):
        return deadline_s if found.random_from_s < deadline_s and is_untried_resting else -math.inf
    is_near = is_untried_resting or not supply.checked <= asks.tried  # without the release of a leased IP
    if not is_near and supply.leased <= asks.tried:
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


def _is_untried_resting(asks: Asks, found: Forecast) -> bool:
    """Whether the rest of an IP that `asks` has not tried ends before its deadline."""
    for at_s, ip in found.rests:
        if at_s >= asks.deadline_s:
            return False
        if ip.id not in asks.tried:
            return True
    return False


class Prospects:
    """The prospects of the requests that wait in a pool. `note` and `changed` keep up with its IPs.

    The requests are looked at again only when something has taken a chance from one of them: O(waiting).
    """

    def __init__(self, rests: IpHeap, locks: IpHeap, waiting: Waiting) -> None:
        self._rests = rests
        self._locks = locks
        self._waiting = waiting
        self._leased: set[UUID] = set()
        self._checked: set[UUID] = set()
        self._under_check: set[UUID] = set()  # those that failed or leave included
        self._is_stale = False
        self._cooldown_s = math.nan  # for which the requests were looked at
        self._changes_s = math.inf

    def note(self, ip: Ip) -> None:
        """The IP as it stands now."""
        self._leased.discard(ip.id)
        self._checked.discard(ip.id)
        if ip.status is not Status.LOCKED:
            self._under_check.discard(ip.id)
        elif ip.is_healthy and not ip.leaving:
            (self._checked if ip.id in self._under_check else self._leased).add(ip.id)

    def note_check(self, ip: Ip) -> None:
        """The IP was leased for a check just now."""
        self._under_check.add(ip.id)
        self.note(ip)

    def changed(self, event: Event, now_s: float, cooldown_s: float) -> None:
        """`event` happens to an IP. Leases and releases matter where leased IPs can be free in time, or where requests
        have tried IPs: which of several IPs each request gets is not foreseen if a timer comes late.
        """
        if not self._waiting or event is Event.COOLDOWN_OVER:
            return
        if self._waiting.any_tried or self._checked or now_s + cooldown_s < self._waiting.latest_s:
            self._is_stale = True

    def joined(self, asks: Asks, now_s: float, rules: Rules) -> None:
        """A request waits from now on. One that rests alone can serve takes nothing from those before it."""
        jumps_queue = asks.priority < self._waiting.last_priority
        if jumps_queue or self._checked or now_s + rules.cooldown_s < asks.deadline_s:
            self._is_stale = True

    def review(self) -> None:
        """Rows changed: the requests are to be looked at again."""
        self._is_stale = True

    def next_free_s(self, rules: Rules) -> float | None:
        """When the next IP that rests or is in use can be had, if every trace keeps its IP to the lock's end."""
        rests_s, locks_s = self._rests.first_s(), self._locks.first_s()
        if locks_s is None:
            return rests_s
        return min(locks_s + rules.cooldown_s, math.inf if rests_s is None else rests_s)

    def due_s(self) -> float | None:
        """When a request is refused if nothing happens until then."""
        return self._changes_s if self._waiting and self._changes_s < math.inf else None

    def has_any(self, asks: Asks, now_s: float, rules: Rules) -> bool:
        """Whether a request that comes now, while no IP is free for it, can be served in time."""
        ahead = len(self._waiting)
        resting = set[UUID]()
        for ip in self._rests.up_to(asks.deadline_s):
            if ip.id not in asks.tried and (ip.locked_until_s or 0.0) < asks.deadline_s:
                resting.add(ip.id)
                if len(resting) > ahead:
                    return True
        is_lease_near = bool(self._leased) and now_s < asks.deadline_s - rules.cooldown_s
        if not (resting or self._checked or is_lease_near):
            return False
        queue: list[Asks] = [request for _, request in self._waiting.queue()]
        place = bisect_right(queue, asks.priority, key=attrgetter("priority"))
        queue.insert(place, asks)
        return place not in self._in_vain(queue, now_s, rules)[0]

    def take_hopeless(self, now_s: float, rules: Rules) -> list[Acquire]:
        """The waiting requests that cannot be served in time: they wait no longer."""
        if not self._waiting:
            return []
        if not self._is_stale and now_s < self._changes_s and rules.cooldown_s == self._cooldown_s:
            return []
        queue = self._waiting.queue()
        hopeless, self._changes_s = self._in_vain([request for _, request in queue], now_s, rules)
        self._is_stale, self._cooldown_s = False, rules.cooldown_s
        return [self._waiting.take(queue[place][0]) for place in hopeless]

    def _in_vain(self, queue: Sequence[Asks], now_s: float, rules: Rules) -> tuple[list[int], float]:
        latest_s = max(asks.deadline_s for asks in queue)
        supply = Supply(self._rests.in_order(latest_s), self._leased, self._checked)
        return in_vain(queue, supply, now_s, rules.cooldown_s, fastest=rules.fastest)
