"""Units of work that are cancelled leave no connection, lock or transaction, and disturb no other unit."""

import asyncio
import gc
import os
import signal
from typing import Any

import asyncpg
import pytest
import trio

from daemon.database.postgres import Connection, database_loop, open_database
from daemon.settings import model
from tests.integration.databases import PostgresServer, opened
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.slow


async def backend(conn: Connection) -> int:
    pid: int = conn.get_server_pid()
    return pid


async def test_a_cancel_while_the_server_stands_still_ends_nothing_but_that_connection(
    postgres: PostgresServer,
) -> None:
    frozen: list[int] = []

    async def stand_still(conn: Connection) -> None:
        frozen.append(conn.get_server_pid())
        os.kill(frozen[0], signal.SIGSTOP)
        await conn.fetchval("select 1")

    with trio.fail_after(PATIENCE_S):
        async with database_loop(), opened(postgres.new_database()) as rows:
            with trio.move_on_after(0.3) as scope:
                await rows.database.work(stand_still)
            assert scope.cancelled_caught, "it stood still"
            assert await rows.database.work(backend) != frozen[0]
        os.kill(frozen[0], signal.SIGCONT)


async def test_a_cancel_while_a_connection_is_released_closes_it_for_nobody(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next unit may have it before a close begins: its statement would fail."""
    release, backends, releasing = asyncpg.Pool.release, [], trio.Event()

    async def slow_release(pool: Any, conn: Connection, *, timeout: float) -> None:
        releasing.set()
        await asyncio.sleep(0.1)
        await release(pool, conn, timeout=timeout)

    async def note_backend(conn: Connection) -> None:
        backends.append(await backend(conn))

    async def cancel(scope: trio.CancelScope) -> None:
        await releasing.wait()
        scope.cancel()

    opening = open_database(postgres.new_database(), model.Database(), connections_max=1)
    with trio.fail_after(PATIENCE_S):
        async with database_loop(), opening as database:
            monkeypatch.setattr(asyncpg.Pool, "release", slow_release)
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel, scope)
                    await database.work(note_backend)
                assert scope.cancelled_caught
            await database.work(note_backend)
    assert backends[0] == backends[1]


async def test_an_exception_that_asyncpg_leaves_in_the_loop_is_logged_and_ends_nothing(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("loop_exception")

    async def orphan(conn: Connection) -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "nobody awaits it", "exception": ZeroDivisionError("on purpose")})
        forgotten = loop.create_future()
        forgotten.set_exception(ValueError("forgotten"))
        del forgotten
        gc.collect()

    with trio.fail_after(PATIENCE_S):
        async with database_loop(), opened(postgres.new_database()) as rows:
            await rows.database.work(orphan)
            assert await rows.database.work(backend)
    whys = {line["why"] for line in expected_errors.named("loop_exception")}
    assert whys == {"ZeroDivisionError('on purpose')", "ValueError('forgotten')"}
