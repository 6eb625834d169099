"""A database belongs to one daemon, also after PostgreSQL has forgotten which."""

import pytest
import trio
import trio_asyncio

from daemon.database.reached import held_database
from daemon.errors import AlreadyRunning
from tests.conftest import LoggedErrors
from tests.integration.databases import PATIENCE_S, PostgresServer, opened, until


def never() -> None:
    raise AssertionError("nobody took the database")


async def test_a_second_daemon_is_refused(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.database.reached.LOCK_PATIENCE_S", 0.4)
    async with trio_asyncio.open_loop():
        url = postgres.new_database()
        async with opened(url) as first, opened(url) as second, held_database(first.database, never):
            with pytest.RaisesGroup(AlreadyRunning):
                async with held_database(second.database, never):
                    pytest.fail("both hold it")


async def test_it_is_held_again_after_postgres_forgot_it(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.database.reached.LOCK_PATIENCE_S", 0.4)
    locks = "select count(*) from pg_locks where locktype = 'advisory' and granted and pid <> $1"
    async with trio_asyncio.open_loop():
        url = postgres.new_database()
        async with opened(url) as rows, held_database(rows.database, never):
            holder = await rows.one("select pid from pg_locks where locktype = 'advisory' and granted")
            postgres.end_sessions(url)

            async def held_anew() -> bool:
                async with opened(url) as looking:
                    return bool(await looking.one(locks, holder))

            await until(held_anew)


async def test_a_daemon_whose_database_was_taken_meanwhile_stops_and_says_why(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_taken")
    monkeypatch.setattr("daemon.database.reached.LOCK_PATIENCE_S", 0.4)
    async with trio_asyncio.open_loop():
        url = postgres.new_database()
        stopped = trio.Event()
        async with opened(url) as first, opened(url) as second:
            with pytest.raises(AlreadyRunning):
                async with held_database(first.database, stopped.set):
                    taking = second.database.daemon_lock(PATIENCE_S)
                    async with trio.open_nursery() as nursery:

                        async def take() -> None:
                            async with taking:
                                await stopped.wait()

                        nursery.start_soon(take)
                        await trio.sleep(0.1)  # so that it asks for the lock before we ask for it again
                        postgres.end_sessions_of_lock(url)
    assert len(expected_errors.named("database_taken")) == 1
