"""An operator's transaction holds locks on the tables that the daemon writes to. Each round locks others.

While it lasts, every click is resolved, the daemon names the blocker and opens no more sessions than before, and rows
of tables that are free arrive.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import trio

from tests.faults.links import SHORT_LIMITS
from tests.faults.stage import Fault, Stage
from tests.faults.visible import said, well_again
from tests.support.servers import ASK_S

SESSIONS_MAX = 12
"""As many as the daemon has without any fault, and some for this test's own queries."""
FREE_WITHIN_S = 8.0
SESSIONS = "select count(*) as sessions from pg_stat_activity where datname = current_database()"


@dataclass(frozen=True, slots=True)
class Hold:
    """`free`: a table that the statement does not lock, whose rows must arrive meanwhile."""

    statement: str
    free: str


HOLDS = (
    Hold("update ip_rotation_pool set provider = provider", "hits"),
    Hold("lock table hits in share row exclusive mode", ""),
    Hold("select * from ip_rotation_pool for update", "hits"),
)


async def held(stage: Stage) -> str:
    scene, hold = stage.scene, HOLDS[stage.turn() % len(HOLDS)]
    await trio.sleep(stage.rng.uniform(0.2, 1.0))
    began_s = time.monotonic()
    async with transaction(scene.postgres.server.url, hold.statement) as pid:
        await said(stage, str(pid), "statement_blocked", stage.knobs.outage_s)
        if hold.free:
            await _rows_arrive(stage, hold.free)
        await trio.sleep(max(0.0, began_s + stage.knobs.outage_s - time.monotonic()))
        sessions = (await scene.sql(SESSIONS))[0]["sessions"]
        stage.expect(sessions <= SESSIONS_MAX, "leak", f"{sessions} sessions while {hold.statement!r} holds its locks")
    lasted_s = time.monotonic() - began_s
    rows_s = await well_again(stage)
    return f"{hold.statement!r} for {lasted_s:.1f} s, {sessions} sessions; rows there {rows_s:.2f} s after its end"


async def _rows_arrive(stage: Stage, table: str) -> None:
    """Expect that rows of clicks from now on arrive in a table."""
    ends_s, count = time.monotonic() + FREE_WITHIN_S, f"select count(*) as rows from {table}"
    before = (await stage.scene.sql(count))[0]["rows"]
    while (await stage.scene.sql(count))[0]["rows"] == before:
        if time.monotonic() > ends_s:
            stage.expect(False, "blocked", f"no row of {table} arrived, which nobody locks")
            return
        await trio.sleep(0.2)


@asynccontextmanager
async def transaction(url: str, statement: str) -> AsyncIterator[int]:
    """An open transaction that has run a statement, until the block ends. Yields the pid of its backend."""
    began, ends = trio.Event(), asyncio.Event()
    pids: list[int] = []
    token = trio.lowlevel.current_trio_token()
    loops: list[asyncio.AbstractEventLoop] = []

    async def hold() -> None:
        connection = await asyncpg.connect(url, timeout=ASK_S)
        loops.append(asyncio.get_running_loop())
        await connection.execute(f"begin; {statement}", timeout=ASK_S)
        pids.append(connection.get_server_pid())
        token.run_sync_soon(began.set)
        await ends.wait()
        connection.terminate()  # which rolls back

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(hold()))
        await began.wait()
        try:
            yield pids[0]
        finally:
            loops[0].call_soon_threadsafe(ends.set)


FAULTS = (
    Fault(
        "held-locks",
        "an operator's open transaction on ip_rotation_pool, on hits",
        held,
        rounds=len(HOLDS),
        errors=frozenset({"statement_blocked"}),
        all_resolved=True,
        settings={"database": SHORT_LIMITS},
    ),
)
