"""A database belongs to one daemon, also after PostgreSQL has forgotten which."""

import asyncio

import pytest
import trio
import trio_asyncio

from daemon.database.postgres import DAEMON_LOCK, Connection
from daemon.database.reached import held_database
from daemon.errors import AlreadyRunning
from tests.conftest import LoggedErrors
from tests.integration.databases import PATIENCE_S, PostgresServer, opened, until

HOLDER = "select pid from pg_locks where locktype = 'advisory' and granted"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.database.reached.LOCK_PATIENCE_S", 0.4)


def never() -> None:
    raise AssertionError("nobody took the database")


async def test_a_second_daemon_is_refused(postgres: PostgresServer) -> None:
    async with trio_asyncio.open_loop():
        url = postgres.new_database()
        async with opened(url) as first, opened(url) as second, held_database(first.database, never):
            with pytest.RaisesGroup(AlreadyRunning):
                async with held_database(second.database, never):
                    pytest.fail("both hold it")


async def test_it_is_held_again_after_postgres_forgot_it(postgres: PostgresServer) -> None:
    async with trio_asyncio.open_loop():
        url = postgres.new_database()
        async with opened(url) as looking, opened(url) as rows, held_database(rows.database, never):
            [before] = await looking.sql(HOLDER)
            await looking.sql("select pg_terminate_backend($1)", before["pid"])

            async def held_anew() -> bool:
                return bool(await looking.sql(f"{HOLDER} and pid <> $1", before["pid"]))

            await until(held_anew)


async def test_a_daemon_whose_database_was_taken_meanwhile_stops_and_says_why(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_taken")

    async def take(conn: Connection) -> None:
        await conn.execute("select pg_advisory_lock($1, $2)", *DAEMON_LOCK)
        await asyncio.sleep(PATIENCE_S)

    async with trio_asyncio.open_loop():
        url = postgres.new_database()
        async with opened(url) as looking, opened(url) as rows, trio.open_nursery() as nursery:
            stopped = trio.Event()

            async def lose_it() -> None:
                async with held_database(rows.database, stopped.set):
                    [holder] = await looking.sql(HOLDER)
                    nursery.start_soon(looking.database.work, take)
                    # Once it waits in PostgreSQL's queue, it is the next.
                    await until(lambda: looking.sql("select from pg_locks where locktype = 'advisory' and not granted"))
                    await looking.sql("select pg_terminate_backend($1)", holder["pid"])
                    with trio.fail_after(PATIENCE_S):
                        await stopped.wait()

            with pytest.raises(AlreadyRunning):
                await lose_it()
            nursery.cancel_scope.cancel()
    assert len(expected_errors.named("database_taken")) == 1
