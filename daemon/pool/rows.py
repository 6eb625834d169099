"""Converts rows of ip_rotation_pool to IPs, and IPs to journal entries. Pure.

Rows and entries have times on the wall clock, a pool on the monotonic clock.

An endpoint has departed if its row was deleted, edited to another endpoint, or moved to another country while the
endpoint was leased or rested. A later row with this endpoint rests first until the old rest ends. All pools share one
table of departed endpoints, initially from the spool.
"""

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from daemon.clock import Moment
from daemon.errors import BadInput
from daemon.journal.entries import IpChanged
from daemon.pool.messages import Describe, IpView
from daemon.pool.states import NEVER_USED, Endpoint, Ip, Rules, Status
from daemon.providers.proxies import login_of
from daemon.web.endpoints import canonical_endpoint

SAME_S = 0.001  # times that differ by less are equal: rows have microseconds

# The fields of an Ip that have the name and the value of their column.
_AS_IN_ROW = ("country", "provider", "total_uses", "success_count", "failure_count", "consecutive_failures",
              "is_healthy", "avg_response_time_ms", "lease_no", "edit_no", "probe_failures")  # fmt: skip

Departed = dict[Endpoint, float]


class _Rest(msgspec.Struct):
    """An endpoint's rest in an entry `ip_changed`. Earlier versions wrote no address."""

    status: str
    locked_until: float | None = None
    address: str = ""
    port: str = ""
    username: str = ""


_DECODER = msgspec.json.Decoder(_Rest)


def rests_known(bodies: Iterable[str], now: Moment, cooldown_s: float) -> Departed:
    """The endpoints that rest according to entries `ip_changed` in order. A leased IP rests after its lock.

    The rows may lack these rests: a database may be empty, or older than the spool.
    """
    last = {(rest.address, rest.port, rest.username): rest for rest in map(_DECODER.decode, bodies) if rest.address}
    rests: Departed = {}
    for rest in last.values():
        if rest.locked_until is None:
            continue
        until_s = now.tick_at(rest.locked_until) + (cooldown_s if rest.status == Status.LOCKED else 0.0)
        if until_s > now.tick_s:
            endpoint = _canonical(rest)
            rests[endpoint] = max(until_s, rests.get(endpoint, -math.inf))
    return rests


def _canonical(rest: _Rest) -> Endpoint:
    """Earlier versions wrote the row's spelling."""
    try:
        return *canonical_endpoint(rest.address, rest.port), rest.username
    except BadInput:
        return rest.address, rest.port, rest.username


def ip_from_row(row: Mapping[str, Any], now: Moment) -> Ip:
    """A row of `load_ips` (times as wall seconds) as an Ip (times as ticks).

    A lock or rest without an end or with the end `infinity`, which only a manual edit can make, ends now.
    """
    status = Status(row["status"])
    until, used, checked = (_finite(row[name]) for name in ("locked_until", "last_used_at", "last_health_check"))
    if until is None and status in (Status.LOCKED, Status.COOLDOWN):
        until = now.wall_s
    if status is Status.AVAILABLE:
        until = None
    return Ip(
        id=row["id"],
        address=row["ip_address"],
        port=row["ip_port"],
        status=status,
        locked_until_s=None if until is None else now.tick_at(until),  # a failed IP may have a rest too
        locked_by=row["locked_by_request"],
        login=login_of(row["username"], row["password"]),
        last_used_s=NEVER_USED if used is None else now.tick_at(used),
        last_health_check_s=None if checked is None else now.tick_at(checked),
        **{name: row[name] for name in _AS_IN_ROW},
    )


def keep_ticks(row: Ip, before: Ip) -> None:
    """Keeps the times that this run has measured: the wall clock of the row may have been set since."""
    if row.lease_no == before.lease_no:
        row.last_used_s = before.last_used_s
        if row.status is before.status:
            row.locked_until_s = before.locked_until_s


def described(asked: Describe, by_id: Mapping[UUID, Ip], unhealthy: AbstractSet[UUID]) -> tuple[IpView, ...]:
    ips: Iterable[Ip] = (by_id[ip_id] for ip_id in unhealthy) if asked.unhealthy else by_id.values()
    if asked.endpoint is not None:
        ips = (ip for ip in ips if ip.endpoint == asked.endpoint)
    chosen = islice(ips, asked.start, None if asked.count is None else asked.start + asked.count)
    return tuple(
        IpView(ip.id, ip.address, ip.port, ip.status, ip.probe_failures, ip.last_health_check_s) for ip in chosen
    )


def _finite(wall_s: float | None) -> float | None:
    return wall_s if wall_s is not None and math.isfinite(wall_s) else None


def ip_changed(ip: Ip, event: str, now: Moment) -> IpChanged:
    until_s, health_s = ip.locked_until_s, ip.last_health_check_s
    return IpChanged(
        id=ip.id,
        event=event,
        status=ip.status.value,
        locked_until=None if until_s is None else now.wall_at(until_s),
        locked_by_request=ip.locked_by,
        last_used_at=None if ip.last_used_s == NEVER_USED else now.wall_at(ip.last_used_s),
        total_uses=ip.total_uses,
        success_count=ip.success_count,
        failure_count=ip.failure_count,
        consecutive_failures=ip.consecutive_failures,
        is_healthy=ip.is_healthy,
        avg_response_time_ms=ip.avg_response_time_ms,
        last_health_check=None if health_s is None else now.wall_at(health_s),
        lease_no=ip.lease_no,
        edit_no=ip.edit_no,
        probe_failures=ip.probe_failures,
        address=ip.address,
        port=ip.port,
        username=ip.login.username if ip.login else "",
    )


def remember(departed: Departed, ip: Ip, now_s: float, rules: Rules) -> None:
    """Keeps the remaining rest of a departing IP's endpoint; for a leased IP its lock and the rest after it."""
    if ip.locked_until_s is None:
        return
    rests_until_s = ip.locked_until_s + (rules.cooldown_s if ip.status is Status.LOCKED else 0.0)
    if rests_until_s > max(now_s, departed.get(ip.endpoint, -math.inf)):
        departed[ip.endpoint] = rests_until_s


def departed_until_s(departed: Departed, ip: Ip, rules: Rules) -> float | None:
    """When the rest of an IP's departed endpoint ends, if that is later than the IP's own rest."""
    until_s = departed.get(ip.endpoint)
    if until_s is None:
        return None
    own_s = -math.inf if ip.locked_until_s is None else ip.locked_until_s
    if ip.status is Status.LOCKED:
        own_s += rules.cooldown_s
    return until_s if until_s > own_s + SAME_S else None


def forget(departed: Departed, now_s: float) -> None:
    """Removes the endpoints whose rest is over."""
    for endpoint in [e for e, until_s in departed.items() if until_s <= now_s]:
        del departed[endpoint]
