"""How rows, and entries that are still in the spool, become the pool's state again, by the wall clock. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from daemon.clock import Moment
from daemon.pool.states import NEVER_USED, Ip, Status


class _Rest(msgspec.Struct):
    """What an entry `ip_changed` says of an endpoint. Earlier versions wrote no address."""

    status: str
    locked_until: float | None = None
    address: str = ""
    port: str = ""


_DECODER = msgspec.json.Decoder(_Rest)


def rests_known(bodies: Iterable[str], now: Moment, cooldown_s: float) -> dict[tuple[str, str], float]:
    """(address, port) and the tick until which it rests, by entries `ip_changed` in their order.

    The rows may say less: a database may be empty, or older than the spool. One that was in use when the entries end
    rests after its lock.
    """
    last = {(rest.address, rest.port): rest for rest in map(_DECODER.decode, bodies) if rest.address}
    rests: dict[tuple[str, str], float] = {}
    for endpoint, rest in last.items():
        if rest.locked_until is None:
            continue
        until_s = now.tick_at(rest.locked_until) + (cooldown_s if rest.status == Status.LOCKED else 0.0)
        if until_s > now.tick_s:
            rests[endpoint] = until_s
    return rests


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
