"""Row locks of other sessions: no session piles up, the blocker is named, and the server enforces the limits."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio

from daemon.database import sessions
from daemon.database.postgres import Connection, Database, open_database
from daemon.errors import DatabaseBusy, DatabaseUnavailable
from daemon.journal.entries import IpTraffic
from daemon.settings import model
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import edit_no_of, running_journal
from tests.support.entries import finished, hit, leased, pending, processing
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import PATIENCE_S, until

SESSIONS = "select count(*) from pg_stat_activity where datname = current_database()"
HELD = "update ip_rotation_pool set notes = 'a secret'"


@asynccontextmanager
async def held_lock(rows: Rows, statement: str = HELD) -> AsyncIterator[None]:
    """Another session has run `statement` in a transaction that stays open."""
    async with rows.database.own_connection(10) as operator:
        await operator.execute(f"begin; set local application_name = 'by hand'; {statement}")
        yield
        await operator.execute("rollback")


@asynccontextmanager
async def hurried(rows: Rows, lock_timeout_s: float, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(sessions, "LOCK_TIMEOUT_S", lock_timeout_s)
    async with open_database(rows.url, model.Database(connections_max=4, statement_timeout_s=10)) as database:
        yield database


async def update(conn: Connection, ip_id: UUID) -> None:
    await conn.execute("update ip_rotation_pool set notes = 'b' where id = $1", ip_id)


async def test_the_blocker_is_named_with_its_statement_but_without_its_literals(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fresh_database(postgres) as rows, hurried(rows, 0.4, monkeypatch) as database:
        ip_id = await rows.add_ip("198.51.100.1")
        async with held_lock(rows):
            with trio.fail_after(PATIENCE_S), pytest.raises(DatabaseBusy) as refused:
                await database.work(update, ip_id)
        said = str(refused.value)
        assert "user tracepool, application by hand, idle in transaction" in said
        assert "in a transaction since 20" in said
        assert "update ip_rotation_pool set notes = '…'" in said
        assert "secret" not in said
        assert "pg_terminate_backend(" in refused.value.remedy
        await database.work(update, ip_id)  # the session that was blocked goes on


async def test_attempts_against_a_held_lock_leave_no_session(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fresh_database(postgres) as rows, hurried(rows, 0.2, monkeypatch) as database:
        ip_id = await rows.add_ip("198.51.100.1")
        async with held_lock(rows):
            before = await rows.one(SESSIONS)
            for _ in range(5):
                with trio.fail_after(PATIENCE_S), pytest.raises(DatabaseBusy):
                    await database.work(update, ip_id)
            assert await rows.one(SESSIONS) <= before + 1
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            assert await rows.one(waiting) == 0


@pytest.mark.parametrize("by", ["cancel", "the client's limit"])
async def test_a_statement_that_the_client_gives_up_is_cancelled_on_the_server(
    by: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(conn: Connection) -> None:
        await conn.execute("select pg_sleep(60)", timeout=0.3 if by != "cancel" else None)

    running = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()"
    async with fresh_database(postgres) as rows:
        with trio.fail_after(PATIENCE_S), trio.move_on_after(0.3 if by == "cancel" else PATIENCE_S):
            with pytest.raises(Exception, match="in time"):
                await rows.database.work(sleep)
            assert by != "cancel"
        assert await rows.one(running) == 0, "the cancel is awaited"


async def test_the_limits_hold_on_the_server_in_each_transaction(postgres: PostgresServer) -> None:
    async def shown(conn: Connection) -> tuple[str, str]:
        return await conn.fetchval("show statement_timeout"), await conn.fetchval("show lock_timeout")

    async with fresh_database(postgres) as rows:
        assert await rows.database.work(shown) == ("10s", "5s")


async def test_a_client_that_is_stopped_in_a_transaction_loses_its_locks(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "IDLE_TIMEOUT_S", 0.3)
    others = threading.Event()  # set by trio, awaited in an asyncio task

    async def stop_halfway(conn: Connection) -> None:
        await update(conn, ip_id)
        await asyncio.to_thread(others.wait)
        await update(conn, ip_id)

    async def stopped() -> None:
        with pytest.raises(DatabaseUnavailable):
            await database.work(stop_halfway)

    async with fresh_database(postgres) as rows, hurried(rows, 5, monkeypatch) as database:
        ip_id = await rows.add_ip("198.51.100.1")

        async def free_rows(count: int) -> bool:
            return len(await rows.sql("select id from ip_rotation_pool for update skip locked")) == count

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stopped)
            try:
                await until(lambda: free_rows(0), "the row is locked")
                await until(lambda: free_rows(1), "the lock has gone")
            finally:
                others.set()


async def test_hits_and_traces_are_shipped_while_an_ips_row_is_locked(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("statement_blocked")
    request = uuid4()
    async with (
        fresh_database(postgres) as rows,
        hurried(rows, 0.4, monkeypatch) as database,
        running_journal(tmp_path / "j", database) as journal,
    ):
        ip_id = await rows.add_ip("198.51.100.1", node_id=journal.spool.node_id)
        edit = await edit_no_of(rows, ip_id)
        async with held_lock(rows):
            for _ in range(3):
                journal.writer.record(leased(ip_id, edit), IpTraffic(ip_id, 4321, 765), hit())
            journal.writer.record(pending(request), processing(request), finished(request))
            await until(journal.troubles.lines)
            assert await rows.one("select count(*) from hits") == 3
            assert await rows.one("select status from active_trace_requests") == "completed"
            [line] = journal.troubles.lines()
            assert line.startswith("writing the IPs' states: a lock of another session blocks a statement")
            assert "application by hand" in line
            assert journal.shipper.reachable
            assert journal.shipper.backlog() == 6, "the states"
            await trio.sleep(1)
            assert await rows.one(f"{SESSIONS} and wait_event_type = 'Lock'") <= 1
        await journal.flush()
        [row] = await rows.sql("select status, bytes_received from ip_rotation_pool")
        assert row == {"status": "locked", "bytes_received": 3 * 4321}
        assert not journal.troubles.lines()


async def test_a_locked_ip_does_not_hold_up_the_renewal_of_the_nodes_trust(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("statement_blocked")
    claim = uuid4()
    async with fresh_database(postgres) as rows, hurried(rows, 2.0, monkeypatch) as database:
        ip_id = await rows.add_ip("198.51.100.1")
        edit = await edit_no_of(rows, ip_id)
        async with running_journal(tmp_path / "j", database) as journal, held_lock(rows):
            node_id = journal.spool.node_id
            await rows.sql(
                "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version)"
                " values ($1, 'a', 1, $2, 'active', now(), 1, '')",
                node_id,
                claim,
            )
            journal.shipper.claim = lambda: claim
            journal.writer.record(leased(ip_id, edit))

            async def waits() -> bool:
                return bool(await rows.one(f"{SESSIONS} and wait_event_type = 'Lock'"))

            await until(waits)
            async with database.own_connection(1.0) as connection:
                renewal = node_id, claim, 900.0, 1.0, "{}", False, True
                assert await connection.fetch("renew_node", *renewal), "it is not held up"
