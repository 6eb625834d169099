"""Converts rows of ip_rotation_pool to IPs, and IPs to journal entries. Pure.

Rows have times on the wall clock, entries also on the boot clock, a pool on the monotonic clock.
"""

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any
from uuid import UUID

from daemon.clock import Moment
from daemon.journal.entries import IpChanged
from daemon.pool.messages import Describe, IpView, Lease
from daemon.pool.states import NEVER_USED, Event, Ip, Status
from daemon.providers.proxies import login_of

# The fields of an Ip that have the name and the value of their column.
_AS_IN_ROW = ("country", "provider", "total_uses", "success_count", "failure_count", "consecutive_failures",
              "is_healthy", "avg_response_time_ms", "lease_no", "edit_no", "probe_failures")  # fmt: skip


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


def lease_of(ip: Ip, country: str, last_used_s: float, choices: int, now: Moment) -> Lease:
    """The lease of an IP that was locked `now`."""
    assert ip.locked_until_s is not None
    assert ip.locked_by is not None
    return Lease(
        ip_id=ip.id,
        address=ip.address,
        port=ip.port,
        provider=ip.provider,
        country=country,
        lease_no=ip.lease_no,
        locked_until_s=ip.locked_until_s,
        request_id=ip.locked_by,
        unused_s=None if last_used_s == NEVER_USED else now.tick_s - last_used_s,
        choices=choices,
        ends_boot_s=now.boot_at(ip.locked_until_s),
        login=ip.login,
    )


def described(asked: Describe, by_id: Mapping[UUID, Ip], unhealthy: AbstractSet[UUID]) -> tuple[IpView, ...]:
    ips: Iterable[Ip] = (by_id[ip_id] for ip_id in unhealthy) if asked.unhealthy else by_id.values()
    if asked.ids is not None:
        ips = (by_id[ip_id] for ip_id in asked.ids if ip_id in by_id)
    if asked.endpoint is not None:
        ips = (ip for ip in ips if ip.endpoint == asked.endpoint)
    chosen = islice(ips, asked.start, None if asked.count is None else asked.start + asked.count)
    return tuple(
        IpView(ip.id, *ip.endpoint[:2], ip.status, ip.probe_failures, ip.last_health_check_s, ip.endpoint[2])
        for ip in chosen
    )


def _finite(wall_s: float | None) -> float | None:
    return wall_s if wall_s is not None and math.isfinite(wall_s) else None


def ip_changed(ip: Ip, event: str, now: Moment) -> IpChanged:
    """The entry after `event`: one of states.Event, or another word for a state that is only written again."""
    until_s, health_s = ip.locked_until_s, ip.last_health_check_s
    return IpChanged(
        id=ip.id,
        event=event,
        status=ip.status.value,
        locked_until=None if until_s is None else now.wall_at(until_s),
        locked_by_request=ip.locked_by,
        last_used_at=None if ip.last_used_s == NEVER_USED else now.wall_at(ip.last_used_s),
        consecutive_failures=ip.consecutive_failures,
        is_healthy=ip.is_healthy,
        avg_response_time_ms=ip.avg_response_time_ms,
        last_health_check=None if health_s is None else now.wall_at(health_s),
        lease_no=ip.lease_no,
        edit_no=ip.edit_no,
        uses=int(event == Event.LEASE),
        successes=int(event == Event.RELEASED_OK),
        failures=int(event == Event.RELEASED_IP_AT_FAULT),
        probe_failures=ip.probe_failures,
        address=ip.address,
        port=ip.port,
        username=ip.login.username if ip.login else "",
        locked_until_boot_s=None if until_s is None else now.boot_at(until_s),
        boot_id=now.boot_id,
    )
