"""The relay in front of PostgreSQL breaks the link as a fault asks; otherwise the link faults would prove nothing."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
import trio
import trustme

from daemon.database import cluster
from tests.fakes.relay import open_relay, socket_url
from tests.integration.databases import PostgresServer

SOON_S = 0.5


async def ask(port: int, work: Callable[["asyncpg.Connection"], Awaitable[object]], **parameters: str) -> object:
    """What `work` gives on a connection of its own, by this port."""

    async def connected() -> object:
        connection = await asyncpg.connect(socket_url(port, **parameters), timeout=SOON_S, command_timeout=SOON_S)
        try:
            return await work(connection)
        finally:
            connection.terminate()

    return await trio.to_thread.run_sync(lambda: asyncio.run(connected()))


async def one(connection: "asyncpg.Connection") -> object:
    return await connection.fetchval("select 1")


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
async def test_a_plain_relay_declines_tls_and_carries(sslmode: str, postgres: PostgresServer) -> None:
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay:
        assert await ask(relay.port, one, sslmode=sslmode) == 1


async def test_a_relay_with_a_certificate_ends_tls(postgres: PostgresServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME, context) as relay:
        assert await ask(relay.port, one, sslmode="require") == 1


async def test_a_silent_relay_accepts_and_never_answers(postgres: PostgresServer) -> None:
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay:
        relay.silence()
        with pytest.raises(TimeoutError):
            await ask(relay.port, one)
        assert relay.accepted == 1
        await relay.open()
        assert await ask(relay.port, one) == 1


async def test_a_relay_goes_silent_within_a_connection(postgres: PostgresServer) -> None:
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay:
        token = trio.lowlevel.current_trio_token()

        async def silent_then_asked(connection: "asyncpg.Connection") -> object:
            silent = threading.Event()
            token.run_sync_soon(relay.silence)
            token.run_sync_soon(silent.set)
            silent.wait(SOON_S)
            return await connection.fetchval("select 1")

        with pytest.raises(TimeoutError):
            await ask(relay.port, silent_then_asked)


async def test_a_relay_refuses_and_listens_again(postgres: PostgresServer) -> None:
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay:
        relay.refuse()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            await ask(relay.port, one)
        await relay.open()
        assert await ask(relay.port, one) == 1


async def test_a_relay_resets_within_an_answer(postgres: PostgresServer) -> None:
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay:

        async def long_answer(connection: "asyncpg.Connection") -> object:
            return await connection.fetchval("select repeat('x', 100000)")

        relay.cut_after(10_000)
        with pytest.raises((ConnectionError, asyncpg.PostgresConnectionError)):
            await ask(relay.port, long_answer)
