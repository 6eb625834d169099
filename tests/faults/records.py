"""The recorded history of a fault test, and the rules that it is checked by. Pure.

A history has the events of the origin and the proxies, the answers that visitors got, and the rows in PostgreSQL at the
end. Times are readings of CLOCK_MONOTONIC, except `wall_s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from daemon.demo.history import Event

Intervals = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Visit:
    """One click at the daemon with this port. `failure`: refused, closed without an answer, or without one in time."""

    number: int
    offer: str
    sent_s: float
    ended_s: float
    status: int | None = None
    request_id: str | None = None
    location: str | None = None
    failure: Literal["refused", "cut", "unanswered"] | None = None
    port: int = 0

    @property
    def answered(self) -> bool:
        return self.status == 302


@dataclass(frozen=True, slots=True)
class Down:
    """A daemon's time from a signal (`began_s`) over its end (`gone_s`) until it served again (`ended_s`).

    `killed`: clicks in flight may have lost their connection. `paused`: the process was stopped and continued, so that
    clicks in flight had to wait.
    """

    began_s: float
    gone_s: float
    ended_s: float
    wall_s: float
    killed: bool
    port: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class HitRow:
    request_id: str
    outcome: str
    reason: str | None
    location: str


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A row of active_trace_requests. `urls`: those of its hops. `started_s` and `leased_s` are wall clock times."""

    request_id: str
    status: str
    address: str | None
    started_s: float
    leased_s: float | None
    final_url: str | None
    urls: tuple[str, ...]

    @property
    def cids(self) -> set[int]:
        return {cid for url in (*self.urls, self.final_url) if (cid := cid_of(url)) is not None}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a history may have.

    - `addresses`: the pool's IPs. `chain_s`: the duration of the longest chain.
    - `all_resolved`: a click may fall back only if all IPs were busy.
    - `unleasable`: requests whose lease the disk refused.
    - `late_hits`: requests that were answered before their hit was durable, because the disk took more than 50 ms, or
      refused it, or was not open yet.
    - `may_fall_back`: offers exempt from `all_resolved`.
    - `forgotten`: intervals whose rows PostgreSQL lost.
    - `clock_shifts_s`: seconds by which the daemon's wall clock was wrong.
    """

    cooldown_s: float
    deadline_s: float
    late_s: float = 1.0
    addresses: Sequence[str] = ()
    chain_s: float = 0.0
    all_resolved: bool = False
    unleasable: frozenset[str] = frozenset()
    late_hits: frozenset[str] = frozenset()
    may_fall_back: frozenset[str] = frozenset()
    forgotten: Intervals = ()
    clock_shifts_s: Sequence[float] = (0.0,)

    def were_forgotten(self, at_s: float) -> bool:
        """Whether PostgreSQL may have lost the rows of clicks and traces that ended at this time."""
        return within(at_s, self.forgotten)


@dataclass(frozen=True, slots=True)
class History:
    events: Sequence[Event]
    visits: Sequence[Visit]
    downs: Sequence[Down]
    hits: Sequence[HitRow]
    traces: Sequence[TraceRow]


@dataclass(frozen=True, slots=True)
class Breach:
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def within(at_s: float, intervals: Intervals) -> bool:
    return any(from_s <= at_s <= to_s for from_s, to_s in intervals)


def cid_of(url: str | None) -> int | None:
    """The origin's click id in a URL, or None if the URL has none."""
    values = parse_qs(urlsplit(url or "").query).get("cid", [])
    return int(values[0]) if values and values[0].isdigit() else None
