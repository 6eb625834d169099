"""A pool's possible futures, simulated step by step without heaps or limits, to compare prospects.py with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from daemon.pool.queues import IpRequest


@dataclass
class Returning:
    """An IP that becomes available at `free_s`."""

    id: UUID
    free_s: float
    last_used_s: float = 0.0


def served(
    queue: Sequence[IpRequest],
    ips: list[Returning],
    again: Callable[[Returning, float], float],
    pick: Callable[[list[Returning]], Returning] = lambda free: min(free, key=lambda ip: ip.last_used_s),
) -> set[int]:
    """The places in the queue whose requests get an IP before their deadline.

    `again`: the time when an IP leased at a given time becomes available again. `pick` chooses among free IPs.
    """
    left, done = list(range(len(queue))), set[int]()
    while left:
        times = sorted({ip.free_s for ip in ips})
        for at_s in times:
            left = [place for place in left if queue[place].deadline_s > at_s]
            lease = _first_lease(queue, left, [ip for ip in ips if ip.free_s <= at_s], pick)
            if lease is not None:
                place, ip = lease
                left.remove(place)
                done.add(place)
                ip.last_used_s, ip.free_s = at_s, again(ip, at_s)
                break
        else:
            break
    return done


def _first_lease(
    queue: Sequence[IpRequest], left: list[int], free: list[Returning], pick: Callable[[list[Returning]], Returning]
) -> tuple[int, Returning] | None:
    for place in left:
        if untried := [ip for ip in free if ip.id not in queue[place].tried]:
            return place, pick(untried)
    return None
