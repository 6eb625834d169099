"""One maintenance round: ends overdue traces, records statistics, removes old rows and returns a report.

It also restarts the batch traces of nodes that have stopped.

All nodes together do one round in each interval of maintenance.interval_s: `claim_round` says which node does it.
Intervals are by PostgreSQL's clock, so they are the same for all nodes. An operator's round is done at once.

In a running daemon the timers of the pool actors end locks and cooldowns, and a round only reports overdue ones. While
no daemon runs (`expire_ips`), the round ends them in the rows.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from daemon.countries import ALIASES
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.maintenance.figures import Advice
from daemon.maintenance.retention import BUDGET_S, remove_old_rows
from daemon.maintenance.storage import TABLES
from daemon.settings.model import Retention, Settings

ROUND, STATISTICS, RETENTION = "round", "statistics", "retention"
"""The names in the table rounds."""
UNHEALTHY_NAMED_MAX = 100
BATCHES_MAX = 200  # in one round; the next round goes on
FORGOTTEN_DAYS_MIN = 30.0  # a node that was away blanks its spool's file at its start


@dataclass(frozen=True, slots=True)
class UnhealthyIp:
    """An IP with too many failures in a row."""

    ip: str
    country: str
    provider: str
    consecutive_failures: int
    failure_count: int
    success_count: int


@dataclass(frozen=True, slots=True)
class Report:
    """`overdue_ips`: IPs whose lock or cooldown a timer of this node should have ended: a fault in a running daemon.

    `removed_rows`: by table, the rows that were older than their retention.
    """

    overdue_ips: int
    expired_locks: int
    ended_cooldowns: int
    timed_out_traces: int
    removed_traces: int
    removed_rows: dict[str, int]
    unhealthy: tuple[UnhealthyIp, ...]
    statistics: dict[str, Any]
    advice: tuple[Advice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def changed(self) -> bool:
        """Whether the round did or found anything, apart from the statistics."""
        return bool(self.overdue_ips or self.expired_locks or self.timed_out_traces or self.removed_rows)

    def lines(self) -> list[str]:
        s = self.statistics
        lines = [
            f"IPs: {s['total_ips']} in all, {s['available_ips']} available, {s['locked_ips']} locked, "
            f"{s['cooldown_ips']} in cooldown, {s['failed_ips']} failed; {s['pool_utilization_percent']:g}% in use",
            f"Traces: {s['active_requests']} active, {s['completed_requests_1h']} completed and "
            f"{s['failed_requests_1h']} failed in the last hour, {s['requests_queued']} queued",
            f"Ended now: {self.expired_locks} locks, {self.ended_cooldowns} cooldowns, "
            f"{self.timed_out_traces} traces past their time",
            "Removed, older than their retention: "
            + (", ".join(f"{rows} rows of {table}" for table, rows in self.removed_rows.items()) or "nothing"),
        ]
        if self.overdue_ips:
            lines.append(f"FAULT: {self.overdue_ips} IPs were overdue: a timer failed; see timer_failed in the log")
        lines += [
            f"Unhealthy: {u.ip} ({u.country}, {u.provider}): {u.consecutive_failures} failures in a row; when it works "
            f"again: tracepool reset --ip {u.ip.rpartition(':')[0]}"
            for u in self.unhealthy
        ]
        return [*lines, *(advice.line() for advice in self.advice)]


@dataclass(frozen=True, slots=True)
class Claim:
    """`is_mine`: this node does the round of the present interval. `now_s`: PostgreSQL's clock."""

    is_mine: bool
    now_s: float


async def claim_round(database: Database, settings: Settings, node_id: UUID) -> Claim:
    """Raises DatabaseUnavailable. A repeated call in the same interval has the same result."""
    [row] = await database.fetch("claim_round", ROUND, settings.maintenance.interval_s, node_id, True)
    return Claim(row["is_mine"], row["now_s"])


async def end_own_traces(database: Database, settings: Settings, node_id: UUID) -> int:
    """Ends the overdue traces that an earlier run of the node left, and returns their number.

    Each node does this in each interval: only the node itself knows that these traces have no end.
    """
    return await _in_batches(database, "time_out_traces", settings.maintenance.delete_batch_rows, node_id, False)


async def remove_due_rows(database: Database, settings: Settings, node_id: UUID | None) -> dict[str, int]:
    """Removes the rows that are older than their retention; returns their numbers by table.

    `node_id`: this node, if a node does this once in each interval. That is not always the node of the round, which may
    be of an earlier version.
    """
    interval_s = settings.maintenance.interval_s
    if node_id is not None:
        [claim] = await database.fetch("claim_round", RETENTION, interval_s, node_id, False)
        if not claim["is_mine"]:
            return {}
    return await remove_old_rows(database, settings, min(BUDGET_S, interval_s / 3))


async def run_once(
    database: Database,
    settings: Settings,
    *,
    node_id: UUID | None = None,
    is_scheduled: bool = False,
    queued: int = 0,
    overdue_ips: int = 0,
    expire_ips: bool = True,
) -> Report:
    """Do one round. Each part is a transaction of its own. Raises DatabaseUnavailable; completed parts stay done.

    `node_id`: the node that does the round; with `expire_ips` one that certainly does not run. `is_scheduled`: the
    round after `claim_round`; its statistics are empty if the row of the interval exists already.
    """
    expired = {"locks": 0, "cooldowns": 0}
    if expire_ips:
        expired = (await database.fetch("expire_ips", settings.pool.cooldown_s, node_id))[0]
    rows = settings.maintenance.delete_batch_rows
    timed_out = await _in_batches(database, "time_out_traces", rows, node_id, True)
    await database.fetch("restart_batch_traces", None)
    timed_out += await _in_batches(database, "end_queued_traces", rows)
    statistics = await database.work(_record_statistics, queued, settings.maintenance.interval_s, node_id, is_scheduled)
    await database.fetch("record_clicks")
    await database.fetch("remove_old_forget_requests", days_of_forgotten(settings.retention))
    unhealthy = await database.fetch("unhealthy_ips", UNHEALTHY_NAMED_MAX)
    removed = await remove_due_rows(database, settings, node_id if is_scheduled else None)
    return Report(
        overdue_ips=overdue_ips,
        expired_locks=expired["locks"],
        ended_cooldowns=expired["cooldowns"],
        timed_out_traces=timed_out,
        removed_traces=removed.get("active_trace_requests", 0),
        removed_rows=removed,
        unhealthy=tuple(
            UnhealthyIp(f"{row['ip_address']}:{row['ip_port']}", *(row[name] for name in UnhealthyIp.__slots__[1:]))
            for row in unhealthy
        ),
        statistics=statistics,
    )


def days_of_forgotten(kept: Retention) -> float:
    """How long forgotten people are known by their digests: as long as a late entry of theirs would make a row."""
    return max(FORGOTTEN_DAYS_MIN, kept.hits_days, kept.traces_days)


async def _in_batches(database: Database, query: str, batch_rows: int, *args: Any) -> int:
    total = 0
    for _ in range(BATCHES_MAX):
        done = len(await database.fetch(query, *args, batch_rows))
        total += done
        if done < batch_rows:
            break
    return total


async def _record_statistics(
    conn: Connection, queued: int, interval_s: float, node_id: UUID | None, is_scheduled: bool
) -> dict[str, Any]:
    """A unit of work. A row and its claim are of one transaction, so a scheduled row is written once, or not at all."""
    if node_id is not None:
        claimed = await conn.fetchrow(QUERIES["claim_round"], STATISTICS, interval_s, node_id, False)
        if is_scheduled and not claimed["is_mine"]:
            return {}
    others = json.dumps(dict(ALIASES))
    row = dict(await conn.fetchrow(QUERIES["record_statistics"], queued, others, list(TABLES)))
    return row | {"country_breakdown": json.loads(row["country_breakdown"])}
