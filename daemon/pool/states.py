"""The state machine of an IP: only `move` changes an IP's status. Pure.

An IP is `available` until it is leased, `locked` while a trace has it, and in `cooldown` after that. It is `failed`
after `failures_max` failures in a row, unless too many IPs of its country have failed (Quarantine): then it cools down.
`TABLE` has all transitions: a pair that is missing raises IllegalTransition and changes nothing. A lease ends in
`cooldown`, also when the lock expires, because the IP may have been in use until then. A check fetches no URL of an
offer, so the IP returns to the status that it had before.

`locked_until_s`, on the monotonic clock like all times here, ends a lock or a cooldown. A failed IP has the end of its
cooldown too, so that a reset does not shorten it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import msgspec

from daemon.errors import IllegalTransition
from daemon.providers.proxies import Login

NEVER_USED = -math.inf
Endpoint = tuple[str, str, str]  # address and port as in web/endpoints.py; the row's username, empty without one
FAILED_MAX_ONE_IN = 5  # of a country's IPs, and at least one, may have failed at once: 20%


class Status(StrEnum):
    AVAILABLE = "available"
    LOCKED = "locked"
    COOLDOWN = "cooldown"
    FAILED = "failed"
    GONE = "gone"  # the status of an IP whose row is deleted, or names another node


class Event(StrEnum):
    LEASE = "lease"
    RELEASED_OK = "released_ok"
    RELEASED_IP_AT_FAULT = "released_ip_at_fault"
    RELEASED_TARGET_AT_FAULT = "released_target_at_fault"  # or any other cause than the IP
    CHECKED = "checked"  # the lease of a check ends
    PROBE_WORKED = "probe_worked"  # a check that decides whether a failed IP becomes available
    PROBE_FAILED = "probe_failed"
    LOCK_EXPIRED = "lock_expired"
    COOLDOWN_OVER = "cooldown_over"
    ENDPOINT_USED = "endpoint_used"  # under another row, which had this endpoint before
    RESET = "reset"
    MARKED_FAILED = "marked_failed"  # by an operator's UPDATE
    REMOVED = "removed"
    GIVEN = "given"  # to another node


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in seconds. `failures_max`: failures in a row that make an IP `failed`. `fastest`: see queues.py."""

    lock_s: float = 90
    cooldown_s: float = 60
    failures_max: int = 5
    waiting_max: int = 500
    fastest: bool = False


@dataclass(slots=True)
class Ip:
    """One proxy endpoint: a row of ip_rotation_pool. Only `move` changes its status."""

    id: UUID
    address: str
    port: str
    country: str
    provider: str
    status: Status = Status.AVAILABLE
    locked_until_s: float | None = None
    locked_by: UUID | None = None
    last_used_s: float = NEVER_USED
    total_uses: int = 0
    success_count: int = 0
    failure_count: int = 0
    consecutive_failures: int = 0
    is_healthy: bool = True
    avg_response_time_ms: float | None = None
    last_health_check_s: float | None = None
    lease_no: int = 0
    edit_no: int = 0
    probe_failures: int = 0  # in a row, since it failed
    leaving: bool = False  # its row is deleted; the IP is removed when its lease ends
    login: Login | None = None

    @property
    def endpoint(self) -> Endpoint:
        """What the IP is: rows with one endpoint are one IP, and one address with several usernames is several."""
        return self.address, self.port, self.login.username if self.login else ""

    def __repr__(self) -> str:
        return f"<Ip {self.address}:{self.port} {self.country} {self.status} lease {self.lease_no}>"


class Occurrence(msgspec.Struct, frozen=True):
    """An event and its values. `response_ms`: of the trace that ended. `spared`: the IP does not become failed.

    `rests_until_s`: of an endpoint that another row has used.
    """

    event: Event
    now_s: float
    request_id: UUID | None = None
    response_ms: float | None = None
    spared: bool = False
    rests_until_s: float | None = None


def _lease(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.locked_until_s = occurrence.now_s + rules.lock_s
    ip.locked_by = occurrence.request_id
    ip.last_used_s = occurrence.now_s
    ip.total_uses += 1
    ip.lease_no += 1
    return Status.LOCKED


def _rest(ip: Ip, until_s: float | None) -> Status:
    ip.locked_by = None
    if ip.leaving:
        ip.locked_until_s = None
        return Status.GONE
    ip.locked_until_s = until_s
    return Status.COOLDOWN if ip.is_healthy else Status.FAILED


def _succeed(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.success_count += 1
    ip.consecutive_failures = 0
    ip.last_health_check_s = occurrence.now_s
    if occurrence.response_ms is not None:
        before = ip.avg_response_time_ms
        ip.avg_response_time_ms = (
            occurrence.response_ms if before is None else before + (occurrence.response_ms - before) / ip.success_count
        )
    return _rest(ip, occurrence.now_s + rules.cooldown_s)


def _fail(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.failure_count += 1
    ip.consecutive_failures += 1
    ip.last_health_check_s = occurrence.now_s
    if ip.consecutive_failures >= rules.failures_max and not occurrence.spared:
        ip.is_healthy = False
    return _rest(ip, occurrence.now_s + rules.cooldown_s)


def _blameless(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    return _rest(ip, occurrence.now_s + rules.cooldown_s)


def _as_before(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.locked_by = ip.locked_until_s = None
    return Status.GONE if ip.leaving else Status.AVAILABLE if ip.is_healthy else Status.FAILED


def _recover(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.last_health_check_s = occurrence.now_s
    if not ip.is_healthy:  # else an operator has reset it meanwhile
        ip.is_healthy = True
        ip.consecutive_failures = ip.probe_failures = 0
    return _as_before(ip, occurrence, rules)


def _fail_again(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.last_health_check_s = occurrence.now_s
    if not ip.is_healthy:
        ip.probe_failures += 1
    return _as_before(ip, occurrence, rules)


def _awake(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.locked_until_s = None
    return Status.AVAILABLE


def _rest_for_another(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    return _rest(ip, occurrence.rests_until_s)


def _reset(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.is_healthy = True
    ip.consecutive_failures = ip.probe_failures = 0
    if ip.locked_until_s is not None and ip.locked_until_s > occurrence.now_s:
        return Status.COOLDOWN
    ip.locked_until_s = None
    return Status.AVAILABLE


def _mark_failed(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.is_healthy = False
    return Status.FAILED


def _leave(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    return Status.GONE


def _leave_later(ip: Ip, occurrence: Occurrence, rules: Rules) -> Status:
    ip.leaving = True
    return Status.LOCKED


CHECKS = frozenset({Event.CHECKED, Event.PROBE_WORKED, Event.PROBE_FAILED})

Effect = Callable[[Ip, Occurrence, Rules], Status]

# (from, event): (the possible next statuses, the effect). A FAILED IP is leased only for a check and stays unhealthy:
# only PROBE_WORKED or RESET makes it healthy.
_AFTER_CHECK = (Status.AVAILABLE, Status.FAILED, Status.GONE)
_AFTER_LEASE = (Status.COOLDOWN, Status.FAILED, Status.GONE)
TABLE: dict[tuple[Status, Event], tuple[tuple[Status, ...], Effect]] = {
    (Status.AVAILABLE, Event.LEASE): ((Status.LOCKED,), _lease),
    (Status.AVAILABLE, Event.ENDPOINT_USED): ((Status.COOLDOWN,), _rest_for_another),
    (Status.LOCKED, Event.RELEASED_OK): (_AFTER_LEASE, _succeed),
    (Status.LOCKED, Event.RELEASED_IP_AT_FAULT): (_AFTER_LEASE, _fail),
    (Status.LOCKED, Event.RELEASED_TARGET_AT_FAULT): (_AFTER_LEASE, _blameless),
    (Status.LOCKED, Event.CHECKED): (_AFTER_CHECK, _as_before),
    (Status.LOCKED, Event.PROBE_WORKED): (_AFTER_CHECK, _recover),
    (Status.LOCKED, Event.PROBE_FAILED): (_AFTER_CHECK, _fail_again),
    (Status.LOCKED, Event.LOCK_EXPIRED): (_AFTER_LEASE, _blameless),
    (Status.COOLDOWN, Event.COOLDOWN_OVER): ((Status.AVAILABLE,), _awake),
    (Status.FAILED, Event.LEASE): ((Status.LOCKED,), _lease),
    (Status.FAILED, Event.RESET): ((Status.AVAILABLE, Status.COOLDOWN), _reset),
    (Status.AVAILABLE, Event.MARKED_FAILED): ((Status.FAILED,), _mark_failed),
    (Status.COOLDOWN, Event.MARKED_FAILED): ((Status.FAILED,), _mark_failed),
    (Status.AVAILABLE, Event.REMOVED): ((Status.GONE,), _leave),
    (Status.COOLDOWN, Event.REMOVED): ((Status.GONE,), _leave),
    (Status.FAILED, Event.REMOVED): ((Status.GONE,), _leave),
    (Status.LOCKED, Event.REMOVED): ((Status.LOCKED,), _leave_later),
    (Status.AVAILABLE, Event.GIVEN): ((Status.GONE,), _leave),
    (Status.FAILED, Event.GIVEN): ((Status.GONE,), _leave),
}


def move(ip: Ip, occurrence: Occurrence, rules: Rules) -> None:
    """Applies an event. Raises IllegalTransition, with `ip` unchanged, if TABLE has no such transition."""
    step = TABLE.get((ip.status, occurrence.event))
    if step is None:
        raise IllegalTransition(f"{ip!r}: the table of states has no transition for {occurrence.event.value}")
    ip.status = step[1](ip, occurrence, rules)


class Quarantine:
    """Counts a country's unhealthy IPs, and limits how many may fail by failures in a row.

    If many IPs fail at once, their provider is the likely cause, and a pool without IPs would serve no click. `ids`:
    all unhealthy IPs. Those that operators mark failed do not count towards the limit.
    """

    def __init__(self) -> None:
        self.ids: set[UUID] = set()
        self._broken: set[UUID] = set()  # by failures in a row

    def note(self, ip: Ip, rules: Rules) -> None:
        """Call it after each change of `ip`."""
        if ip.is_healthy or ip.status is Status.GONE:
            self.ids.discard(ip.id)
            self._broken.discard(ip.id)
        elif ip.id not in self.ids:
            self.ids.add(ip.id)
            if ip.consecutive_failures >= rules.failures_max:
                self._broken.add(ip.id)

    @property
    def broken(self) -> int:
        """How many IPs count towards the limit."""
        return len(self._broken)

    def is_full(self, total: int, broken_elsewhere: int = 0) -> bool:
        """Whether no more of the country's `total` IPs may fail now. Other nodes have some of them."""
        return len(self._broken) + broken_elsewhere >= max(1, total // FAILED_MAX_ONE_IN)
