"""What the proxies saw of each IP: its uses, the rests between them, and when it was idle. Pure.

A use is one trace at one IP: the requests with one click id, or those of one connection if no request has a click id.
The daemon cannot have released the IP before the answer to the use's last request (`until_s`), so a lease that begins
less than a cooldown after `until_s` breaks the promise "one IP, one trace", however slow the machine is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from daemon.demo.history import Event
from tests.fakes.events import ProxyEvent
from tests.faults.records import Breach


@dataclass(slots=True)
class Use:
    """`until_s`: the answer to the last request, or that request's begin if no answer came. `cid`: None if unknown."""

    address: str
    cid: int | None
    began_s: float
    until_s: float
    ended_s: float

    def __str__(self) -> str:
        return f"trace {self.cid}" if self.cid is not None else f"a trace without an answer at {self.began_s:.3f}"


def uses_of(events: Iterable[Event]) -> list[Use]:
    """The uses of all IPs, ordered by address and begin."""
    by_connection: dict[int, list[ProxyEvent]] = defaultdict(list)
    for event in events:
        if isinstance(event, ProxyEvent):
            by_connection[event.connection].append(event)
    found: dict[tuple[str, str, int], Use] = {}
    for connection, requests in by_connection.items():
        requests.sort(key=lambda request: request.began_s)
        for request, cid in zip(requests, _cids(requests), strict=True):
            until_s = request.began_s if request.answered_s is None else request.answered_s
            key = (request.address, "connection", connection) if cid is None else (request.address, "cid", cid)
            use = found.setdefault(key, Use(request.address, cid, request.began_s, until_s, request.ended_s))
            use.began_s = min(use.began_s, request.began_s)
            use.until_s = max(use.until_s, until_s)
            use.ended_s = max(use.ended_s, request.ended_s)
    return sorted(found.values(), key=lambda use: (use.address, use.began_s, use.ended_s))


def _cids(requests: Sequence[ProxyEvent]) -> list[int | None]:
    """The click id of each request of a connection; an unanswered first request has the next one's."""
    cids = [request.cid for request in requests]
    for at in reversed(range(len(cids) - 1)):
        cids[at] = cids[at] if cids[at] is not None else cids[at + 1]
    for at in range(1, len(cids)):
        cids[at] = cids[at] if cids[at] is not None else cids[at - 1]
    return cids


def broken_rests(uses: Sequence[Use], cooldown_s: float) -> Iterator[Breach]:
    """`overlap`: two traces at one IP at once. `cooldown`: a trace in the cooldown after another. `moved`: two IPs."""
    for address, here in _by_address(uses).items():
        # Compared with the longest of all earlier uses, which may outlast several later ones.
        last = latest = here[0]
        for use in here[1:]:
            if use.began_s < last.ended_s:
                gap_s = last.ended_s - use.began_s
                yield Breach("overlap", f"{address}: {use} began {gap_s:.3f} s before the end of {last}")
            elif use.began_s < latest.until_s + cooldown_s:
                gap_s = use.began_s - latest.until_s
                yield Breach("cooldown", f"{address}: {use} began {gap_s:.3f} s after {latest}, in its cooldown")
            last = max(last, use, key=lambda one: one.ended_s)
            latest = max(latest, use, key=lambda one: one.until_s)
    places: dict[int, str] = {}
    for use in uses:
        if use.cid is not None and places.setdefault(use.cid, use.address) != use.address:
            yield Breach("moved", f"trace {use.cid} went through {places[use.cid]} and {use.address}")


def rests_of(uses: Sequence[Use]) -> list[float]:
    """Seconds between two uses of an IP, for all IPs."""
    return [after.began_s - before.until_s for here in _by_address(uses).values() for before, after in pairwise(here)]


def idle_times(uses: Sequence[Use], addresses: Iterable[str], rest_s: float) -> list[tuple[float, float]]:
    """Intervals in which an IP had no use for `rest_s` already."""
    found = []
    by_address = _by_address(uses)
    for address in addresses:
        from_s = float("-inf")
        for use in by_address.get(address, ()):
            if from_s < use.began_s:
                found.append((from_s, use.began_s))
            from_s = max(from_s, use.ended_s + rest_s)
        found.append((from_s, float("inf")))
    return found


def _by_address(uses: Sequence[Use]) -> dict[str, list[Use]]:
    found: dict[str, list[Use]] = defaultdict(list)
    for use in uses:
        found[use.address].append(use)
    return found
