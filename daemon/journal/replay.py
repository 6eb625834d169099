"""How rows become the pool's state again, by the wall clock. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from daemon.moment import Moment
from daemon.pool.states import NEVER_USED, Ip, Status


def ip_from_row(row: Mapping[str, Any], now: Moment) -> Ip:
    """A row of `load_ips` (times as wall seconds) as an Ip (times as ticks).

    A lock or a rest without an end, which only an edit by hand can make, ends now; so does one that ends at infinity.
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
        country=row["country"],
        provider=row["provider"],
        status=status,
        locked_until_s=None if until is None else now.tick_at(until),  # a failed one may still owe a rest
        locked_by=row["locked_by_request"],
        last_used_s=NEVER_USED if used is None else now.tick_at(used),
        total_uses=row["total_uses"],
        success_count=row["success_count"],
        failure_count=row["failure_count"],
        consecutive_failures=row["consecutive_failures"],
        is_healthy=row["is_healthy"],
        avg_response_time_ms=row["avg_response_time_ms"],
        last_health_check_s=None if checked is None else now.tick_at(checked),
        lease_no=row["lease_no"],
        edit_no=row["edit_no"],
        probe_failures=row["probe_failures"],
    )


def _finite(wall_s: float | None) -> float | None:
    """PostgreSQL's timestamps may be `infinity`."""
    return wall_s if wall_s is not None and math.isfinite(wall_s) else None
