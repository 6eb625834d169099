"""The messages to a pool actor, its answers and its decisions. Times are seconds on the monotonic clock. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from daemon.journal.entries import Entry
from daemon.pool.states import Event, Ip, Rules, Status

T_contra = TypeVar("T_contra", contravariant=True)


class Reply(Protocol[T_contra]):
    """Where an answer goes: a OneShot or a memory channel's send end; BrokenResourceError where nobody waits."""

    def send_nowait(self, value: T_contra, /) -> None: ...


class Lease(msgspec.Struct, frozen=True):
    """The exclusive right of one trace to one IP until `locked_until_s`. `lease_no` grows with each lease of an IP.

    `unused_s`: since its last lease began, None for its first. `choices`: IPs that were available, this one included.
    `ends_boot_s`: its end by the clock that counts while the machine is suspended (Moment.boot_s).
    """

    ip_id: UUID
    address: str
    port: str
    provider: str
    country: str
    lease_no: int
    locked_until_s: float
    request_id: UUID
    unused_s: float | None = None
    choices: int = 1
    ends_boot_s: float = math.inf

    def __repr__(self) -> str:
        return f"<Lease {self.lease_no} of {self.address}:{self.port} {self.country} for {self.request_id}>"


class NoIPAvailable(msgspec.Struct, frozen=True):
    """No lease. `until_s`: when the next IP frees up, if that is known. `why`:

    - `too_late`: no IP can be free for it by its deadline; `tried`: the same, where it has tried some IPs
    - `full`: as many requests wait as may; `hopeless`: it would have to expect a long wait behind them
    - `deadline`: its deadline came; `journal`: the lease could not be recorded
    - `untrusted`: this node may not lease now (nodes/member.py)

    Where one IP was asked for, `until_s` is its own, and `why` gone, locked, cooldown or busy.
    """

    until_s: float | None
    why: str


class Acquire(msgspec.Struct, frozen=True):
    """Asks for an IP, and waits for one until `deadline_s`. A lower `priority` goes first; 0 is a click's.

    `ip_id` asks for that one alone, for a check: it is had at once or not at all, and may be one that failed.
    It gets none of the IPs that it has `tried`, and waits only while another one can be free in time.
    """

    request_id: UUID
    deadline_s: float
    reply: Reply[Lease | NoIPAvailable]
    priority: int = 0
    ip_id: UUID | None = None
    tried: frozenset[UUID] = frozenset()


class Release(msgspec.Struct, frozen=True):
    """Gives a lease back; `event` is one of the RELEASED_ ones, or of a check's.

    `endpoint`: the address and port that a check was of; it says nothing of another one that an edit gave the IP since.
    """

    ip_id: UUID
    lease_no: int
    event: Event
    response_ms: float | None = None
    endpoint: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Adopt:
    """IPs as their rows stand now: new ones join, known ones take over what an operator changed."""

    ips: tuple[Ip, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """IPs whose rows are gone from this country. `done` is called once they left, or will when their leases end."""

    ip_ids: tuple[UUID, ...]
    done: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the actor still runs. `done` is called when it comes by."""

    done: Callable[[], None]


@dataclass(frozen=True, slots=True)
class StartOver:
    """Another node may have had the IPs: the pool is loaded from the rows again. `done` is called once it is."""

    done: Callable[[], None]


@dataclass(frozen=True, slots=True)
class SetRules:
    """The settings changed. The rules hold from now on; a lock or a rest that has begun keeps its end."""

    rules: Rules
    done: Callable[[], None] = lambda: None


class IpView(msgspec.Struct, frozen=True):
    """A copy of what others may know of an IP; the fields are those of states.Ip."""

    id: UUID
    address: str
    port: str
    status: Status
    probe_failures: int
    last_health_check_s: float | None


class Describe(msgspec.Struct, frozen=True):
    """Asks for copies of IPs in the order in which they joined: of `count` of them from the place `start` on.

    `unhealthy`: only of those in quarantine. `endpoint`: only of those with this address (in lower case, without
    brackets) and port.
    """

    reply: Reply[tuple[IpView, ...]]
    start: int = 0
    count: int | None = None
    unhealthy: bool = False
    endpoint: tuple[str, str] | None = None


class CountOverdue(msgspec.Struct, frozen=True):
    """Asks how many locks and rests should have ended over OVERDUE_S ago, had a timer not failed. They end now."""

    reply: Reply[int]


Message = Acquire | Release | Adopt | Remove | Ping | StartOver | SetRules | Describe | CountOverdue


@dataclass(frozen=True, slots=True)
class Counts:
    """One country's pool at a glance; `waiting` are requests, the rest IPs."""

    total: int
    available: int
    locked: int
    cooldown: int
    failed: int
    waiting: int

    def __str__(self) -> str:
        return (
            f"{self.available} available, {self.locked} locked, {self.cooldown} cooldown, {self.failed} failed, "
            f"{self.waiting} waiting"
        )

    @property
    def utilisation_percent(self) -> float:
        """(locked + cooldown) / healthy, as ip_pool_statistics has it; 0 with no healthy IP."""
        healthy = self.total - self.failed
        return 100 * (self.locked + self.cooldown) / healthy if healthy else 0.0


class PoolView(msgspec.Struct, frozen=True):
    """What others see of a pool, as it was after its actor's last batch. `leases`: given since the daemon started.

    `starts_over`: the pool is being loaded from the rows, and its actor takes no message.
    """

    counts: Counts
    leases: int
    rules: Rules
    starts_over: bool = False


@dataclass(slots=True)
class Decision:
    """What one or more events led to. `answers` go out once `entries` are durable; `remarks` are for the log.

    `spared`: the provider of each IP that should have failed, and rests instead. `may_lease`: False refuses requests.
    `overdue`: locks and rests that a timer ended too late.
    """

    may_lease: bool = True
    entries: list[Entry] = field(default_factory=list)
    answers: list[tuple[Acquire, Lease | NoIPAvailable]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    overdue: int = 0

    @property
    def grants(self) -> bool:
        return any(isinstance(answer, Lease) for _, answer in self.answers)
