"""Migrations: without the limit for statements, step by step, with their progress, and resumed after a kill."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from daemon.database import connect, schema, sessions, upgrade
from daemon.database.postgres import Database, open_database
from daemon.errors import DatabaseMigrating
from daemon.settings import model
from daemon.troubles import Troubles
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.support.waiting import PATIENCE_S, until

APPLIED = "select count(*) from schema_migrations where name like '9%'"
SLOW = "do $$ begin perform pg_sleep({}); end $$; create table {} (n int)"


@asynccontextmanager
async def limited(rows: Rows) -> AsyncIterator[Database]:
    """Statements may take one second, by the daemon's setting and by the role's."""
    await rows.sql("alter role tracepool set statement_timeout = '1s'")
    try:
        settings = model.Database(connections_max=4, statement_timeout_s=1)
        async with open_database(rows.url, settings) as database:
            yield database
    finally:
        await rows.sql("alter role tracepool reset statement_timeout")


@pytest.fixture
def more_steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Further migrations, which a test fills in."""
    known, more = schema.migrations(), dict[str, str]()
    monkeypatch.setattr(schema, "migrations", lambda: known | more)
    monkeypatch.setattr(upgrade, "REPORT_EACH_S", 0.2)
    return more


async def test_a_step_may_take_longer_than_a_statement_and_reports_its_progress(
    postgres: PostgresServer, more_steps: dict[str, str]
) -> None:
    said: list[str] = []
    async with fresh_database(postgres) as rows, limited(rows) as database:
        more_steps |= {"9001_a.sql": SLOW.format(2.5, "a"), "9002_b.sql": "create table b (n int)"}
        with trio.fail_after(PATIENCE_S):
            assert await upgrade.upgrade(database, said.append) == ["9001_a.sql", "9002_b.sql"]
            assert await upgrade.upgrade(database, said.append) == []
    assert said[0].startswith("migrating the database: 9001_a.sql, step 1 of 2, for ")


async def test_an_interrupted_migration_goes_on_with_its_last_step(
    postgres: PostgresServer, more_steps: dict[str, str]
) -> None:
    async with fresh_database(postgres) as rows, limited(rows) as database:
        more_steps |= {"9001_a.sql": "create table a (n int)", "9002_b.sql": SLOW.format(60, "b")}

        async def first_is_applied() -> bool:
            return bool(await rows.one(APPLIED) == 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade.upgrade, database, print)
            await until(first_is_applied)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        running = "select count(*) from pg_stat_activity where query like 'do $$%' and state = 'active'"
        assert await rows.one(running) == 0, "the statement is cancelled"
        more_steps["9002_b.sql"] = "create table b (n int)"
        assert await upgrade.upgrade(database, print) == ["9002_b.sql"]


async def test_the_start_says_that_it_migrates_and_others_are_told_so(
    postgres: PostgresServer, more_steps: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOCK_TIMEOUT_S", 0.5)
    troubles = Troubles()
    async with fresh_database(postgres) as rows, limited(rows) as database:
        more_steps["9001_a.sql"] = SLOW.format(4, "a")

        async def start() -> None:
            await connect.retry_until_available(lambda: upgrade.upgrade(database, report), troubles)

        def report(progress: str) -> None:
            troubles.note(connect.STARTING, DatabaseMigrating(progress), effect=connect.WAITING)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await until(troubles.lines)
            [line] = troubles.lines()
            assert "migrating the database: 9001_a.sql, step 1 of 1" in line
            assert "Next: wait" in line
            with pytest.raises(DatabaseMigrating, match=r"another tracepool migrates this database: process \d+"):
                async with open_database(rows.url, model.Database(statement_timeout_s=1)) as other:
                    await upgrade.upgrade(other, print)
        assert troubles.lines() == []


async def test_the_index_that_is_built_is_reported_in_percent(
    postgres: PostgresServer, more_steps: dict[str, str]
) -> None:
    said: list[str] = []
    async with fresh_database(postgres) as rows:
        await rows.sql("create table large as select n, repeat('x', 200) as t from generate_series(1, 400000) n")
        more_steps["9001_index.sql"] = "create index large_index on large (md5(t || n), md5(n::text))"
        await upgrade.upgrade(rows.database, said.append)
    assert any(", an index of large: building index" in line and "%" in line for line in said)
