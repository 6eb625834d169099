"""Brings a database up to this version: one step after the other, with its progress, however long a step takes.

A step is a file of migrations/ in a transaction of its own, without a limit for its statements. So a daemon that is
killed goes on with the step that was under way. Waits for locks stay limited: a statement that waits for a lock on a
table holds up all others that come after it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from daemon.database.postgres import Database
from daemon.database.schema import migrate
from daemon.errors import DatabaseUnavailable

REPORT_EACH_S = 1.0


@dataclass(slots=True)
class _Step:
    name: str = ""
    number: int = 0
    of: int = 0
    began_s: float = 0.0

    def sentence(self, index: str) -> str:
        return (
            f"migrating the database: {self.name}, step {self.number} of {self.of}{index}, "
            f"for {trio.current_time() - self.began_s:.0f} s"
        )


async def upgrade(database: Database, report: Callable[[str], None]) -> list[str]:
    """Applies all missing steps; returns their names. `report` gets a sentence each REPORT_EACH_S.

    Raises DatabaseUnavailable, DatabaseUnfit, and DatabaseMigrating while another process migrates.
    """
    applied: list[str] = []
    step = _Step()

    def begins(name: str, left: int) -> None:
        step.name, step.number, step.of = name, len(applied) + 1, len(applied) + left
        step.began_s = trio.current_time()

    async def watch() -> None:
        while True:
            await trio.sleep(REPORT_EACH_S)
            if step.name:
                report(step.sentence(await _index_of(database)))

    async def next_step() -> list[str] | Exception:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                return await database.unlimited(migrate, database.schema, begins)
            except Exception as e:
                return e  # a nursery would wrap it
            finally:
                nursery.cancel_scope.cancel()

    while True:
        names = await next_step()
        if isinstance(names, Exception):
            raise names
        step.name = ""
        applied += names
        if not names or len(applied) == step.of:
            return applied


async def _index_of(database: Database) -> str:
    """The index that is being built, for a report."""
    try:
        rows = await database.fetch("migration_progress")
    except DatabaseUnavailable:
        return ""
    return "".join(f", an index of {row['of_table']}: {row['phase']} {row['percent'] or 0}%" for row in rows[:1])
