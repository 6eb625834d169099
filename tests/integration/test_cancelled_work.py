"""Units of work that are cancelled while PostgreSQL stands still: nothing of them is left behind."""

import os
import signal

import asyncpg
import pytest
import trio
import trio_asyncio

from daemon.database.postgres import Connection
from tests.integration.databases import PATIENCE_S, PostgresServer, opened


async def backend(conn: Connection) -> int:
    pid: int = conn.get_server_pid()
    return pid


async def test_a_cancel_while_a_connection_is_given_back_ends_nothing_but_that_connection(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stops between the unit's commit and the reset of its session."""
    frozen: list[int] = []
    with trio.fail_after(PATIENCE_S):
        async with trio_asyncio.open_loop(), opened(postgres.new_database()) as rows:
            give_back = asyncpg.Pool.release

            async def freeze_first(pool: "asyncpg.Pool[asyncpg.Record]", conn: Connection, **options: float) -> None:
                frozen.append(conn.get_server_pid())
                os.kill(frozen[0], signal.SIGSTOP)
                await give_back(pool, conn, **options)

            monkeypatch.setattr(asyncpg.Pool, "release", freeze_first)
            with trio.move_on_after(0.3) as scope:
                await rows.database.work(backend)
            monkeypatch.undo()
            assert scope.cancelled_caught, "it stood still while it was given back"
            assert await rows.database.work(backend) != frozen[0]
        os.kill(frozen[0], signal.SIGCONT)
