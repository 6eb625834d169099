"""One maintenance round: ends overdue traces, removes old ones, records statistics and returns a report.

In a running daemon the timers of the pool actors end locks and cooldowns, and a round only reports overdue ones. While
no daemon runs (`expire_ips`), the round ends them in the rows.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.maintenance.figures import Advice
from daemon.settings.model import Settings

UNHEALTHY_NAMED_MAX = 100
BATCHES_MAX = 200  # in one round; the next round goes on


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
    """`overdue_ips`: IPs whose lock or cooldown a timer should have ended: a fault in a running daemon."""

    overdue_ips: int
    expired_locks: int
    ended_cooldowns: int
    timed_out_traces: int
    removed_traces: int
    unhealthy: tuple[UnhealthyIp, ...]
    statistics: dict[str, Any]
    advice: tuple[Advice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def changed(self) -> bool:
        """Whether the round did or found anything, apart from the statistics."""
        return bool(self.overdue_ips or self.expired_locks or self.timed_out_traces or self.removed_traces)

    def lines(self) -> list[str]:
        s = self.statistics
        lines = [
            f"IPs: {s['total_ips']} in all, {s['available_ips']} available, {s['locked_ips']} locked, "
            f"{s['cooldown_ips']} in cooldown, {s['failed_ips']} failed; {s['pool_utilization_percent']:g}% in use",
            f"Traces: {s['active_requests']} active, {s['completed_requests_1h']} completed and "
            f"{s['failed_requests_1h']} failed in the last hour, {s['requests_queued']} queued",
            f"Ended now: {self.expired_locks} locks, {self.ended_cooldowns} cooldowns, "
            f"{self.timed_out_traces} traces past their time; {self.removed_traces} old traces removed",
        ]
        if self.overdue_ips:
            lines.append(f"FAULT: {self.overdue_ips} IPs were overdue: a timer failed; see timer_failed in the log")
        lines += [
            f"Unhealthy: {u.ip} ({u.country}, {u.provider}): {u.consecutive_failures} failures in a row; when it works "
            f"again: tracepool reset --ip {u.ip.rpartition(':')[0]}"
            for u in self.unhealthy
        ]
        return [*lines, *(advice.line() for advice in self.advice)]


async def run_once(
    database: Database, settings: Settings, *, queued: int = 0, overdue_ips: int = 0, expire_ips: bool = True
) -> Report:
    """Do one round. Each part is a transaction of its own. Raises DatabaseUnavailable; completed parts stay done."""
    expired = {"locks": 0, "cooldowns": 0}
    if expire_ips:
        expired = (await database.fetch("expire_ips", settings.pool.cooldown_s))[0]
    rows = settings.maintenance.delete_batch_rows
    timed_out = await _in_batches(database, "time_out_traces", rows)
    removed = await _in_batches(database, "remove_old_traces", rows, settings.maintenance.retention_days)
    statistics = await database.work(_record_statistics, queued)
    unhealthy = await database.fetch("unhealthy_ips", UNHEALTHY_NAMED_MAX)
    return Report(
        overdue_ips=overdue_ips,
        expired_locks=expired["locks"],
        ended_cooldowns=expired["cooldowns"],
        timed_out_traces=timed_out,
        removed_traces=removed,
        unhealthy=tuple(
            UnhealthyIp(f"{row['ip_address']}:{row['ip_port']}", *(row[name] for name in UnhealthyIp.__slots__[1:]))
            for row in unhealthy
        ),
        statistics=statistics,
    )


async def _in_batches(database: Database, query: str, batch_rows: int, *args: Any) -> int:
    total = 0
    for _ in range(BATCHES_MAX):
        done = len(await database.fetch(query, *args, batch_rows))
        total += done
        if done < batch_rows:
            break
    return total


async def _record_statistics(conn: Connection, queued: int) -> dict[str, Any]:
    row = dict(await conn.fetchrow(QUERIES["record_statistics"], queued))
    return row | {"country_breakdown": json.loads(row["country_breakdown"])}
