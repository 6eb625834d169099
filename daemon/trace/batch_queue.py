"""What the traces of the batch lane wait for, by country, and which of them can never begin. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote
from typing import Any, Literal

from daemon.pool.failing import check_command
from daemon.pool.messages import Counts, Elsewhere
from daemon.trace.jobs import BACKGROUND_PRIORITY, BATCH_PRIORITY, LAST_PRIORITY

WaitReason = Literal[
    "no_ips", "all_failed", "too_few_ips", "paused", "database", "not_leasing", "clicks_wait", "in_use", "none_free",
    "workers",
]  # fmt: skip
ALONE = Elsewhere()
NOW = "trace ahead of this rule with --now (API: now), or add IPs"


@dataclass(frozen=True, slots=True)
class Which:
    """Rows by their priority: those with starts_now (`ahead`), all, or those without (`without_ahead`)."""

    first: int
    last: int = LAST_PRIORITY
    ahead: bool = False
    without_ahead: bool = False


BACKGROUND = Which(BACKGROUND_PRIORITY, BACKGROUND_PRIORITY)
QUEUED, AHEAD = Which(BATCH_PRIORITY), Which(BATCH_PRIORITY, ahead=True)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why traces wait, in a sentence without its full stop, and what an operator may do."""

    reason: WaitReason
    why: str
    next: str


@dataclass(frozen=True, slots=True)
class WaitingTraces:
    """The traces of the batch lane of one country: `waiting` for their start, and `running`.

    `ahead`: how many of those that wait begin ahead of pool.batch_below_percent. `since`: when the oldest was added.
    `reason` is null if nothing waits, or if the next ones begin now; then `why` is empty. `ahead_why`: why those ahead
    wait. `background`: traces of background clicks that wait for an IP, the oldest click since `background_since`; they
    begin before all others, below pool.background_below_percent.
    """

    country: str
    waiting: int
    running: int
    ahead: int
    since: datetime | None
    reason: WaitReason | None
    why: str
    next: str | None
    ahead_why: str
    background: int = 0
    background_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """What decides whether traces of a country may begin.

    `counts`: the IPs of all nodes; `beginning`: traces without an IP yet. `workers`: how many may have such traces, of
    which `workers_left` have none. `provider`: that of most failed IPs. `can_check`: provision.check_url is set.
    """

    country: str
    counts: Counts
    below_percent: float
    beginning: int = 0
    workers: int = 1
    workers_left: int = 1
    may_lease: bool = True
    database_answers: bool = True
    provider: str = ""
    can_check: bool = True


def never(lane: Lane, *, ahead: bool = False) -> Wait | None:
    """Why no trace can begin before an operator does something; None if one may begin later.

    `ahead`: of the traces that begin ahead of pool.batch_below_percent.
    """
    counts, country, word = lane.counts, lane.country, quote(lane.country)
    if not counts.total:
        remedy = f"tracepool provision import ips.csv --country {word}, or trace with --country of one that has IPs"
        return Wait("no_ips", f"there is no IP in {country}", remedy)
    if counts.failed >= counts.total:
        whose = f" (provider {lane.provider})" if lane.provider else ""
        ips = f"all {counts.total} IPs of {country} have" if counts.total > 1 else f"the one IP of {country} has"
        check = check_command(f"--country {word}", can_check=lane.can_check)
        remedy = f"{check}; when they work: tracepool reset --country {word}"
        return Wait("all_failed", f"{ips} failed{whose}", remedy)
    if not ahead and lane.below_percent > 0 and _most(counts.total, lane.below_percent) < 1:
        ips = "1 IP" if counts.total == 1 else f"{counts.total} IPs"
        percent = 100 / counts.total
        why = f"{country} has {ips}: one trace would use {percent:.0f}%, and such traces begin below"
        return Wait("too_few_ips", f"{why} {lane.below_percent:g}% (pool.batch_below_percent)", NOW)
    return None


def wait_of(lane: Lane, *, ahead: bool = False) -> Wait | None:
    """Why no trace begins now; None if the next one does."""
    counts, country, below = lane.counts, lane.country, lane.below_percent
    if not lane.database_answers:
        return Wait("database", "PostgreSQL does not answer, and has the list of these traces", "tracepool status")
    if (found := never(lane, ahead=ahead)) is not None:
        return found
    if not lane.may_lease:
        return Wait("not_leasing", "this node may not lease IPs now: it drains, or is cut off", "tracepool nodes")
    if not ahead:
        if below <= 0:
            return Wait("paused", "pool.batch_below_percent is 0: such traces never begin", NOW)
        if counts.waiting:
            return Wait("clicks_wait", f"clicks wait for an IP of {country} ({counts.waiting}), and come first", NOW)
        healthy, used = counts.total - counts.failed, counts.locked + counts.cooldown + lane.beginning
        if used >= _most(healthy, below):
            return Wait("in_use", _use(country, used, healthy, below), NOW)
    if lane.workers_left <= 0:
        why = f"all {lane.workers} workers that such traces may have are busy"
        return Wait("workers", why, "wait, or raise trace.workers")
    if counts.available <= lane.beginning:
        ips = counts.total - counts.failed
        why = f"none of the {ips} IPs of {country} is free: they are leased or rest"
        return Wait("none_free", why, "wait, or add IPs")
    return None


def _most(healthy: int, below_percent: float) -> int:
    """How many IPs may be in use while less than `below_percent` are."""
    return math.ceil(healthy * below_percent / 100) - 1


def _use(country: str, used: int, healthy: int, below: float) -> str:
    percent = 100 * used / healthy
    now = f"{country} is {percent:.0f}% in use ({used} of {healthy} IPs)"
    if percent >= below:
        return f"{now}, and such traces begin below {below:g}%"
    with_one_more = 100 * (used + 1) / healthy
    return f"{now}, one more trace would make that {with_one_more:.0f}%, and such traces keep it below {below:g}%"


def room(counts: Counts, beginning: int, below_percent: float, elsewhere: Elsewhere = ALONE, *, least: int = 0) -> int:
    """How many more batch traces may start in a country where `beginning` have no IP yet.

    `least`: so many may start while no IP is in use, however few there are.

    The utilisation, (locked + cooldown) / healthy, of this node and of all nodes stays below `below_percent`. Where the
    node has too few IPs for that but uses none, it may start one, if the nodes before it leave room for it.
    """
    others = elsewhere.counts
    if counts.waiting or others.waiting:
        return 0
    healthy, used = counts.total - counts.failed, counts.locked + counts.cooldown + beginning
    here = _most(healthy, below_percent) - used
    in_all = _most(healthy + others.total - others.failed, below_percent) - used - others.locked - others.cooldown
    if not used + others.locked + others.cooldown:
        in_all = max(least, in_all)
    if not used and elsewhere.before < in_all:
        here = max(1, here)
    return max(0, min(here, in_all, counts.available - beginning))


def waiting_traces(row: Mapping[str, Any], lane: Lane) -> WaitingTraces:
    """`row`: of the query batch_queue."""
    wait_ahead = wait_of(lane, ahead=True) if row["ahead"] else None
    wait = wait_ahead if row["ahead"] == row["waiting"] else wait_of(lane)
    held = wait if row["waiting"] else None
    return WaitingTraces(
        country=row["country"],
        waiting=row["waiting"],
        running=row["running"],
        ahead=row["ahead"],
        since=_instant(row["since_s"]),
        reason=held.reason if held else None,
        why=held.why if held else "",
        next=held.next if held else None,
        ahead_why=wait_ahead.why if wait_ahead else "",
        background=row["background"],
        background_since=_instant(row["background_since_s"]),
    )


def _instant(at_s: float | None) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC)
