"""Removes the rows that are older than their retention, a batch at a time.

Rows are deleted, not dropped by partition: `python -m tests.bench growth` compares the two. A batch is a transaction of
its own, and the pause after it is as long as the batch took, so that removals use at most half of one PostgreSQL
process. A round removes rows for at most BUDGET_S. After an upgrade, or with a shorter retention, further rounds go on.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.settings.model import Retention, Settings

BUDGET_S = 20.0  # of one round
COUNTED_MAX = 200_000

log = structlog.get_logger("daemon.maintenance")


@dataclass(frozen=True, slots=True)
class Growing:
    """A table that grows. `removal`: the statement that removes old rows; `days_kept(settings)`: their retention."""

    table: str
    removal: str
    days_kept: Callable[[Retention], float]


GROWING = (
    Growing("nodes", "remove_nodes", lambda kept: kept.traces_days),
    Growing("journal_position", "remove_positions", lambda kept: kept.statistics_days),
    Growing("traffic", "remove_traffic", lambda kept: kept.statistics_days),
    Growing("actions", "remove_actions", lambda kept: kept.statistics_days),
    Growing("click_minutes", "remove_click_minutes", lambda kept: kept.statistics_days),
    Growing("ip_pool_statistics", "remove_statistics", lambda kept: kept.statistics_days),
    Growing("active_trace_requests", "remove_traces", lambda kept: kept.traces_days),
    Growing("hits", "remove_hits", lambda kept: kept.hits_days),
)
"""The smallest first, so that none waits for the largest."""


async def remove_old_rows(database: Database, settings: Settings, budget_s: float) -> dict[str, int]:
    """The number of removed rows by table, for the tables that had any. Raises DatabaseUnavailable.

    If the time is over before all old rows are removed, the log says how many are left.
    """
    until_s, removed = trio.current_time() + budget_s, dict[str, int]()
    for growing in GROWING:
        days = growing.days_kept(settings.retention)
        rows, is_done = await _remove(database, growing.removal, days, settings.maintenance.delete_batch_rows, until_s)
        if rows:
            removed[growing.table] = rows
        if not is_done:
            left = await database.work(old_rows, growing.table, days)
            log.info("old_rows_left", table=growing.table, removed_rows=rows, rows_left=left, days_kept=days,
                     effect="the next rounds remove them; tracepool status shows how many are left")  # fmt: skip
    return removed


async def _remove(database: Database, removal: str, days: float, batch_rows: int, until_s: float) -> tuple[int, bool]:
    """(removed rows, whether no older row is left). At least one batch is removed, whatever the time."""
    total = 0
    while True:
        began_s = trio.current_time()
        [found] = await database.fetch(removal, days, batch_rows)
        total += found["rows"]
        if found["rows"] < batch_rows:
            return total, True
        took_s = trio.current_time() - began_s
        if trio.current_time() + took_s >= until_s:
            return total, False
        await trio.sleep(took_s)


async def old_rows(conn: Connection, table: str, days: float) -> int:
    """A unit of work: the rows of a growing table that are older than `days`; of very many, PostgreSQL's estimate."""
    statement = QUERIES[f"old_rows_of_{table}"]
    counted = await conn.fetchval(f"select count(*) from ({statement} limit {COUNTED_MAX}) old", days)  # noqa: S608
    if counted < COUNTED_MAX:
        return int(counted)
    plan = await conn.fetchval(f"explain (format json) {statement}", days)
    return max(COUNTED_MAX, int(json.loads(plan)[0]["Plan"]["Plan Rows"]))
