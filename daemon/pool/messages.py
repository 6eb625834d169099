"""The messages to a pool actor, its answers and decisions. Times are seconds on the monotonic clock. Pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from daemon.journal.entries import Entry
from daemon.pool.states import Endpoint, Event, Ip, Rules, Status
from daemon.providers.proxies import LeasedProxy, Login
from daemon.web.endpoints import endpoint_name

T_contra = TypeVar("T_contra", contravariant=True)


class Reply(Protocol[T_contra]):
    """Takes an answer: a OneShot or a memory channel's send end. BrokenResourceError if no task waits for it."""

    def send_nowait(self, value: T_contra, /) -> None: ...


class Lease(msgspec.Struct, frozen=True):
    """The exclusive right of one trace to one IP until `locked_until_s`. `lease_no` grows with each lease of an IP.

    `unused_s`: time since the previous lease began, None for the first. `choices`: available IPs, with this one.
    `ends_boot_s`: the lease's end on the boot clock (Moment.boot_s).
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
    login: Login | None = None

    @property
    def endpoint(self) -> Endpoint:
        return self.address, self.port, self.login.username if self.login else ""

    @property
    def name(self) -> str:
        return endpoint_name(self.address, self.port)

    def proxy(self, ends_boot_s: float = math.inf) -> LeasedProxy:
        lease = f"{self.request_id}/{self.lease_no}"
        return LeasedProxy(self.address, self.port, self.country, self.provider, lease, ends_boot_s, self.login)

    def __repr__(self) -> str:
        return f"<Lease {self.lease_no} of {self.address}:{self.port} {self.country} for {self.request_id}>"


class NoIPAvailable(msgspec.Struct, frozen=True):
    """No lease. `until_s`: when the next IP becomes available, if known.

    `why`:

    - `too_late`: no IP can be free before the deadline, or for a click so early that a trace of the usual duration ends
      before it (admission.py); `tried`: the same, for a request that has tried some IPs
    - `full`: `waiting_max` requests wait; `hopeless`: the expected wait behind them is too long (admission.py)
    - `deadline`: the deadline has passed; `journal`: the lease could not be recorded
    - `untrusted`: this node may not lease now (nodes/member.py)

    For a request with `ip_id`, `until_s` is that IP's, and `why` is gone, locked, cooldown or busy.
    """

    until_s: float | None
    why: str


class Acquire(msgspec.Struct, frozen=True):
    """Requests an IP and waits until `deadline_s` at most. A lower `priority` is served first; a click has 0.

    `tried`: IPs that the request does not get again. `ip_id`: only this IP, for a check; it may have failed. Such a
    request never waits.
    """

    request_id: UUID
    deadline_s: float
    reply: Reply[Lease | NoIPAvailable]
    priority: int = 0
    ip_id: UUID | None = None
    tried: frozenset[UUID] = frozenset()


class Release(msgspec.Struct, frozen=True):
    """Ends a lease; `event` is a RELEASED_ event or one of CHECKS.

    `endpoint`: the checked one. The result does not apply to another endpoint that an edit has set since.
    """

    ip_id: UUID
    lease_no: int
    event: Event
    response_ms: float | None = None
    endpoint: Endpoint | None = None


class Adopt(msgspec.Struct, frozen=True):
    """Current rows as IPs: the pool adds new IPs, and takes over an operator's changes of known ones.

    `term`: the node's claim under which the rows were read (nodes/owned.py); a pool that was reloaded under a later one
    ignores them. `rests_s`: new IPs rest at least so long.
    """

    ips: tuple[Ip, ...]
    term: int = 0
    rests_s: float = 0.0


class Remove(msgspec.Struct, frozen=True):
    """IPs without a row in this country. `done` is called when they are removed, or marked to go after their leases."""

    ip_ids: tuple[UUID, ...]
    done: Callable[[], None] = lambda: None


class Ping(msgspec.Struct, frozen=True):
    """Tests that the actor runs: it calls `done`."""

    done: Callable[[], None]


class StartOver(msgspec.Struct, frozen=True):
    """Reloads the pool from the rows, since another node may have leased the IPs. `done` is called afterwards."""

    done: Callable[[], None]


class Give(msgspec.Struct, frozen=True):
    """Gives up to `count` IPs that are available to the node `to`, and up to `failed` failed ones that have rested.

    If fewer are available, up to `later` of the others are given as they become available. A request that waits here
    gets every second one of those. The next Give for `to` replaces this one; without one it ends after ORDER_S.
    """

    to: UUID
    count: int
    later: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """One country's IPs by status; `waiting` counts requests."""

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

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.total + other.total,
            self.available + other.available,
            self.locked + other.locked,
            self.cooldown + other.cooldown,
            self.failed + other.failed,
            self.waiting + other.waiting,
        )

    @property
    def utilisation_percent(self) -> float:
        """(locked + cooldown) / healthy, as in ip_pool_statistics; 0 without healthy IPs."""
        healthy = self.total - self.failed
        return 100 * (self.locked + self.cooldown) / healthy if healthy else 0.0


NO_COUNTS = Counts(0, 0, 0, 0, 0, 0)


class SetElsewhere(msgspec.Struct, frozen=True):
    """What the other nodes have of this country. `broken`: failed IPs that count towards the limit of Quarantine.

    `coming`: how many IPs they can give at once, so that as many requests may wait here without other prospects. It
    holds until the next message, at most for ELSEWHERE_S.
    """

    coming: int = 0
    counts: Counts = NO_COUNTS
    broken: int = 0


NOTHING_ELSEWHERE = SetElsewhere()


class SetRules(msgspec.Struct, frozen=True):
    """New rules after a change of the settings. A lock or a rest that has begun keeps its end."""

    rules: Rules


class IpView(msgspec.Struct, frozen=True):
    """A copy of some fields of states.Ip for other tasks."""

    id: UUID
    address: str
    port: str
    status: Status
    probe_failures: int
    last_health_check_s: float | None
    username: str = ""

    @property
    def name(self) -> str:
        return endpoint_name(self.address, self.port)

    @property
    def endpoint(self) -> Endpoint:
        return self.address, self.port, self.username


class Describe(msgspec.Struct, frozen=True):
    """Requests copies of `count` IPs in the order in which they joined, from index `start` on.

    `unhealthy`: only unhealthy IPs. `endpoint`: only the IP with this one. `ids`: only these.
    """

    reply: Reply[tuple[IpView, ...]]
    start: int = 0
    count: int | None = None
    unhealthy: bool = False
    endpoint: Endpoint | None = None
    ids: frozenset[UUID] | None = None


class CountOverdue(msgspec.Struct, frozen=True):
    """Ends the locks and rests that a failed timer has missed by over OVERDUE_S, and requests their number."""

    reply: Reply[int]


Message = (
    Acquire | Release | Adopt | Remove | Give | SetElsewhere | Ping | StartOver | SetRules | Describe | CountOverdue
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The IPs of a country that the other nodes have, and the requests there.

    `before`: how many of these nodes have an available IP and come before this node in the order of all nodes.
    """

    counts: Counts = NO_COUNTS
    before: int = 0


class PoolView(msgspec.Struct, frozen=True):
    """A pool's state after its actor's last batch. `starts_over`: the pool is being reloaded, and takes no message.

    Since the daemon started: `leases` granted, leases `asked` for (without checks), and `missed` for lack of an IP, IPs
    `adopted` and `given` (by receiver), Give messages (`gives`). `broken`: see Quarantine. `elsewhere`: of other nodes.
    `rested_s`: when the next rest ends; None: no IP rests. `failing`: see failing.py.
    """

    counts: Counts
    leases: int
    rules: Rules
    starts_over: bool = False
    asked: int = 0
    missed: int = 0
    adopted: int = 0
    gives: int = 0
    given: Mapping[UUID, int] = {}
    broken: int = 0
    elsewhere: SetElsewhere = NOTHING_ELSEWHERE
    rested_s: float | None = None
    failing: Mapping[str, tuple[int, int]] = {}

    @property
    def country_counts(self) -> Counts:
        """The IPs and waiting requests of all nodes."""
        return self.counts + self.elsewhere.counts


@dataclass(slots=True)
class Decision:
    """The effects of one or more events. `answers` are sent when `entries` are durable; `remarks` go to the log.

    `spared`: the provider of each IP that cools down instead of failing (Quarantine). `may_lease`: False refuses all
    requests. `overdue`: locks and rests that ended too late, because a timer failed.
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
