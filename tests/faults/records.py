"""What is known after a fault was staged, and by what it is judged. Pure.

The witnesses are the network's own log (what the origin and the proxies saw), the visitors' record (what each of them
was answered), and the rows that PostgreSQL has in the end. Times are CLOCK_MONOTONIC, but for `wall_s`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from daemon.demo.history import Event

Intervals = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Visit:
    """One click at the daemon of this port. `failure`: refused, cut off without an answer, or kept waiting too long."""

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
    """From the signal by way of the process's end until the next one served. `killed`: its clicks could be cut.

    `paused`: the process was stopped and went on later, so its clicks had to wait.
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
    """`urls`: the chain and where it landed. `started_s` and `leased_s` are wall seconds."""

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
    """`dropped`: entries that the disk refused, which rows may lack. `unleasable`: requests whose lease it refused.

    `late_hits`: requests that were answered before the disk had their hit, as they are when it takes longer than 50 ms.
    `may_fall_back`: offers exempt from `all_resolved`. `forgotten`: the times between which PostgreSQL lost its rows.
    """

    cooldown_s: float
    deadline_s: float
    late_s: float = 1.0
    all_resolved: bool = False
    dropped: int = 0
    unleasable: frozenset[str] = frozenset()
    late_hits: frozenset[str] = frozenset()
    may_fall_back: frozenset[str] = frozenset()
    forgotten: Intervals = ()

    def were_forgotten(self, at_s: float) -> bool:
        """Whether PostgreSQL may lack the rows of what ended then."""
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
    """The click id that the origin minted, if the URL is one of a chain that began."""
    values = parse_qs(urlsplit(url or "").query).get("cid", [])
    return int(values[0]) if values and values[0].isdigit() else None
