"""Checks requests that an ad network saw against the promise "one IP, one trace". It reads no clock and no file.

All requests with one click id are one trace. At an address a trace lasts from the begin of its first request to the end
of its last. No trace may begin while another one lasts at the same address (`overlap`), nor within the cooldown after
the begin of another one's last request (`cooldown`); and no trace may use two addresses (`moved`). An attempt that
starts again at hop 0 gets a new click id, so it counts as a new trace, as it does for a real ad network.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """One request from an address of the pool. `cid` is its click id, None where it belongs to no chain.

    `began_s` and `ended_s` are readings of CLOCK_MONOTONIC, which all processes of one boot share.
    """

    wall_s: float
    began_s: float
    ended_s: float
    address: str
    cid: int | None


class OriginEvent(Event, frozen=True, tag="origin"):
    """One request as the origin saw it. `hop` counts from 0 up to `hops`, the landing; both None off a chain."""

    hop: int | None
    hops: int | None
    path: str
    status: int
    """0 where the client left before the answer."""
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken promise between the traces `first` and `second`, which are click ids, equal for `moved`.

    `gap_s` is the time until `second` began: since the end of `first` for `overlap`, where it is negative; since the
    last request of `first` for `cooldown`; since the first request at `other_address` for `moved`.
    """

    kind: Literal["overlap", "cooldown", "moved"]
    address: str
    first: int
    second: int
    gap_s: float
    other_address: str = ""

    def __str__(self) -> str:
        if self.kind == "moved":
            return f"trace {self.first} went through {self.other_address} and {self.gap_s:.3f} s later {self.address}"
        after = "end" if self.kind == "overlap" else "last request"
        return (
            f"{self.address}: trace {self.second} began {self.gap_s:.3f} s after the {after} of trace {self.first}"
            f" ({self.kind})"
        )


@dataclass(slots=True)
class _Stay:
    """One trace at one address."""

    cid: int
    began_s: float
    last_request_s: float
    ended_s: float


def check(events: Iterable[Event], *, cooldown_s: float, addresses: Collection[str] | None = None) -> list[Breach]:
    """Return all breaches, ordered by address, then by time. The events may be in any order.

    With `addresses`, those of the pool, events of other clients are ignored, such as a person who opens a final URL.
    Events without a click id are ignored too.
    """
    stays = _stays(events, addresses)
    breaches = [breach for address in sorted(stays) for breach in _at_one(address, stays[address], cooldown_s)]
    return breaches + _moved(stays)


def _stays(events: Iterable[Event], addresses: Collection[str] | None) -> dict[str, list[_Stay]]:
    found: dict[str, dict[int, _Stay]] = defaultdict(dict)
    for event in events:
        if (cid := event.cid) is None or (addresses is not None and event.address not in addresses):
            continue
        stay = found[event.address].get(cid)
        if stay is None:
            found[event.address][cid] = _Stay(cid, event.began_s, event.began_s, event.ended_s)
        else:
            stay.began_s = min(stay.began_s, event.began_s)
            stay.last_request_s = max(stay.last_request_s, event.began_s)
            stay.ended_s = max(stay.ended_s, event.ended_s)
    return {
        address: sorted(by.values(), key=lambda stay: (stay.began_s, stay.ended_s)) for address, by in found.items()
    }


def _at_one(address: str, stays: list[_Stay], cooldown_s: float) -> list[Breach]:
    breaches = []
    # Each trace is compared with the latest end and the latest request of all earlier traces, not only with the trace
    # before it: a long trace may outlast several short ones.
    longest = latest = stays[0]
    for stay in stays[1:]:
        since_end_s = stay.began_s - longest.ended_s
        since_request_s = stay.began_s - latest.last_request_s
        if since_end_s < 0:
            breaches.append(Breach("overlap", address, longest.cid, stay.cid, since_end_s))
        elif since_request_s < cooldown_s:
            breaches.append(Breach("cooldown", address, latest.cid, stay.cid, since_request_s))
        longest = max(longest, stay, key=lambda one: one.ended_s)
        latest = max(latest, stay, key=lambda one: one.last_request_s)
    return breaches


def _moved(stays: dict[str, list[_Stay]]) -> list[Breach]:
    seen: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for address, here in stays.items():
        for stay in here:
            seen[stay.cid].append((stay.began_s, address))
    breaches = []
    for cid, places in sorted(seen.items()):
        places.sort()
        first_s, first_address = places[0]
        breaches += [Breach("moved", address, cid, cid, at_s - first_s, first_address) for at_s, address in places[1:]]
    return breaches
