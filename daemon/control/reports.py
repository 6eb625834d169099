"""How things stand, read from the tables: what `tracepool status` shows while no daemon runs. A unit of work."""

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.countries import canonical
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.maintenance.tally import LastMinute
from daemon.pool.messages import Counts
from daemon.trace.traffic_costs import TrafficStatus, by_provider

_COUNTS = """
select country, count(*) as total,
       count(*) filter (where status = 'available' and is_healthy) as available,
       count(*) filter (where status = 'locked') as locked,
       count(*) filter (where status = 'cooldown') as cooldown,
       count(*) filter (where status = 'failed' or not is_healthy) as failed
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


@dataclass(frozen=True, slots=True)
class TableStatus:
    """What the tables know of a daemon's status. No request waits in `countries`: none does without a daemon."""

    countries: Mapping[str, Counts]
    active_traces: int
    last_minute: LastMinute
    traffic_today: dict[str, TrafficStatus]


async def read_status(conn: Connection) -> TableStatus:
    countries: dict[str, dict[str, int]] = {}
    for row in await conn.fetch(_COUNTS):
        counts = countries.setdefault(canonical(row["country"]), dict.fromkeys(list(row.keys())[1:], 0))
        for name in counts:
            counts[name] += row[name]
    clicks = await conn.fetchrow(_CLICKS)
    fallbacks = {row["reason"]: row["count"] for row in await conn.fetch(_FALLBACKS)}
    traffic = by_provider(await conn.fetch(QUERIES["traffic_today"]))
    return TableStatus(
        countries={country: Counts(**counts, waiting=0) for country, counts in sorted(countries.items())},
        active_traces=await conn.fetchval(_ACTIVE),
        last_minute=LastMinute(**clicks, fallbacks=fallbacks).rounded(),
        traffic_today={provider: spent.rounded() for provider, spent in traffic.items()},
    )
