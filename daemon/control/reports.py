"""How things stand, read from the tables: what `tracepool status` shows while no daemon runs. A unit of work."""

from typing import Any

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.trace.traffic_costs import shown

_COUNTS = """
select country, count(*) as total,
       count(*) filter (where status = 'available' and is_healthy) as available,
       count(*) filter (where status = 'locked') as locked,
       count(*) filter (where status = 'cooldown') as cooldown,
       count(*) filter (where status = 'failed' or not is_healthy) as failed,
       count(*) filter (where is_healthy) as healthy
from ip_rotation_pool group by country
"""
_ACTIVE = """
select count(*) from active_trace_requests where status = 'processing' or status = 'pending' and priority = 0
"""
_CLICKS = """
select count(*) as clicks, count(*) filter (where outcome = 'resolved') as resolved,
       percentile_cont(0.5) within group (order by wait_ms) as wait_p50_ms,
       percentile_cont(0.95) within group (order by wait_ms) as wait_p95_ms
from hits where created_at > now() - interval '1 minute'
"""
_FALLBACKS = """
select coalesce(reason, 'unknown') as reason, count(*) as count
from hits where created_at > now() - interval '1 minute' and outcome = 'fallback' group by 1 order by 1
"""


async def read_status(conn: Connection) -> dict[str, Any]:
    """As a running daemon answers, as far as the tables know it; percentages and milliseconds to one decimal."""
    countries: dict[str, dict[str, Any]] = {}
    for row in await conn.fetch(_COUNTS):
        counts = countries.setdefault(canonical(row["country"]), dict.fromkeys(list(row.keys())[1:], 0))
        for name in counts:
            counts[name] += row[name]
    for counts in countries.values():
        healthy = counts.pop("healthy")
        used = counts["locked"] + counts["cooldown"]
        counts["utilisation_percent"] = round(100 * used / healthy, 1) if healthy else 0.0
    clicks = await conn.fetchrow(_CLICKS)
    return {
        "countries": dict(sorted(countries.items())),
        "active_traces": await conn.fetchval(_ACTIVE),
        "last_minute": {
            "clicks": clicks["clicks"],
            "resolved": clicks["resolved"],
            "fallbacks": {row["reason"]: row["count"] for row in await conn.fetch(_FALLBACKS)},
            "wait_p50_ms": _rounded(clicks["wait_p50_ms"]),
            "wait_p95_ms": _rounded(clicks["wait_p95_ms"]),
        },
        "traffic_today": {
            row["provider"]: shown({name: value for name, value in row.items() if name != "provider"})
            for row in await conn.fetch(QUERIES["traffic_today"])
        },
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
