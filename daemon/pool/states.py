"""What may happen to an IP. The rules of this file: no clock, no I/O, no logger; nothing else changes an IP's status.
Pure.

An IP is `available` until it is leased, `locked` while a trace has it, in `cooldown` after that, and `failed` once it
broke too often in a row; where too many of its country have, it rests instead (quarantine.py). `TABLE` is the whole of
it: a pair that is not there raises IllegalTransition and changes nothing. Every way out of `locked` that leads back to
use goes through `cooldown`, the lock's expiry too, since the IP may have been in use until that instant. But a check,
which fetches no offer's URL, leaves an IP as it found it.

`locked_until_s` ends a lock or a rest and is read on the monotonic clock, as all times here are. An IP that an operator
takes out of use keeps the end of its rest, so that a reset does not cut it short; one that broke too often has none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import msgspec

from daemon.errors import IllegalTransition

NEVER_USED = -math.inf


class Status(StrEnum):
    AVAILABLE = "available"
    LOCKED = "locked"
    COOLDOWN = "cooldown"
    FAILED = "failed"
    GONE = "gone"  # not in any row: what is left when a deleted row's IP is let go


class Event(StrEnum):
    LEASE = "lease"
    RELEASED_OK = "released_ok"
    RELEASED_IP_AT_FAULT = "released_ip_at_fault"
    RELEASED_TARGET_AT_FAULT = "released_target_at_fault"  # and whatever else the IP cannot help
    CHECKED = "checked"  # a lease for a check alone is given back
    PROBE_WORKED = "probe_worked"  # so is one for a check that decides whether a failed IP comes back
    PROBE_FAILED = "probe_failed"
    LOCK_EXPIRED = "lock_expired"
    COOLDOWN_OVER = "cooldown_over"
    RESET = "reset"
    MARKED_FAILED = "marked_failed"  # an operator's UPDATE takes it out of use
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in seconds. `failures_max`: failures in a row that make an IP `failed`. `fastest`: see queues.py; else
    the next IP is the one that rested longest.
    """

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
    leaving: bool = False  # its row is deleted; it goes when its lease ends

    def __repr__(self) -> str:
        return f"<Ip {self.address}:{self.port} {self.country} {self.status} lease {self.lease_no}>"


class Occurrence(msgspec.Struct, frozen=True):
    """An event with what its effect needs. `response_ms`: of the trace that ended. `spared`: it may not fail."""

    event: Event
    now_s: float
    request_id: UUID | None = None
    response_ms: float | None = None
    spared: bool = False


def _lease(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.locked_until_s = what.now_s + rules.lock_s
    ip.locked_by = what.request_id
    ip.last_used_s = what.now_s
    ip.total_uses += 1
    ip.lease_no += 1
    return Status.LOCKED


def _rest(ip: Ip, until_s: float | None) -> Status:
    ip.locked_by = None
    if ip.leaving:
        ip.locked_until_s = None
        return Status.GONE
    ip.locked_until_s = until_s
    return Status.COOLDOWN if ip.is_healthy else Status.FAILED  # failed just now, or marked so while it was in use


def _succeed(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.success_count += 1
    ip.consecutive_failures = 0
    ip.last_health_check_s = what.now_s
    if what.response_ms is not None:
        before = ip.avg_response_time_ms
        ip.avg_response_time_ms = (
            what.response_ms if before is None else before + (what.response_ms - before) / ip.success_count
        )
    return _rest(ip, what.now_s + rules.cooldown_s)


def _fail(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.failure_count += 1
    ip.consecutive_failures += 1
    ip.last_health_check_s = what.now_s
    if ip.consecutive_failures >= rules.failures_max and not what.spared:
        ip.is_healthy = False
        return _rest(ip, None)
    return _rest(ip, what.now_s + rules.cooldown_s)


def _blameless(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    return _rest(ip, what.now_s + rules.cooldown_s)


def _as_before(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.locked_by = ip.locked_until_s = None
    return Status.GONE if ip.leaving else Status.AVAILABLE if ip.is_healthy else Status.FAILED


def _recover(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.last_health_check_s = what.now_s
    if not ip.is_healthy:  # else an operator was faster
        ip.is_healthy = True
        ip.consecutive_failures = ip.probe_failures = 0
    return _as_before(ip, what, rules)


def _fail_again(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.last_health_check_s = what.now_s
    if not ip.is_healthy:
        ip.probe_failures += 1
    return _as_before(ip, what, rules)


def _awake(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.locked_until_s = None
    return Status.AVAILABLE


def _reset(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.is_healthy = True
    ip.consecutive_failures = ip.probe_failures = 0
    if ip.locked_until_s is not None and ip.locked_until_s > what.now_s:
        return Status.COOLDOWN
    ip.locked_until_s = None
    return Status.AVAILABLE


def _mark_failed(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.is_healthy = False
    return Status.FAILED


def _leave(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    return Status.GONE


def _leave_later(ip: Ip, what: Occurrence, rules: Rules) -> Status:
    ip.leaving = True
    return Status.LOCKED


CHECKS = frozenset({Event.CHECKED, Event.PROBE_WORKED, Event.PROBE_FAILED})

Effect = Callable[[Ip, Occurrence, Rules], Status]

# (from, event): (where it may lead, what changes). After LOCKED: cooldown, or failed, or gone when its row is deleted.
# One that is FAILED is leased for a check alone and stays unhealthy: only a probe that worked brings it back.
_AFTER_CHECK = (Status.AVAILABLE, Status.FAILED, Status.GONE)
_AFTER_LEASE = (Status.COOLDOWN, Status.FAILED, Status.GONE)
TABLE: dict[tuple[Status, Event], tuple[tuple[Status, ...], Effect]] = {
    (Status.AVAILABLE, Event.LEASE): ((Status.LOCKED,), _lease),
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
}


def move(ip: Ip, what: Occurrence, rules: Rules) -> None:
    """The one function that changes an IP's status. Raises IllegalTransition, with `ip` untouched, off the table."""
    step = TABLE.get((ip.status, what.event))
    if step is None:
        raise IllegalTransition(f"{ip!r} cannot take {what.event.value}: nothing in the table leads from there")
    ip.status = step[1](ip, what, rules)
