"""The journal against a real spool and a real PostgreSQL: everything arrives, once, in order, whatever breaks."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio
import trio.testing

from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import encode
from daemon.journal.shipper import apply_batch
from daemon.journal.spool import Spool, SpooledEntry
from tests.conftest import LoggedErrors
from tests.integration.databases import PATIENCE_S, PostgresServer, fresh_database, opened, until
from tests.integration.journals import (
    AT,
    edit_no_of,
    finished,
    hit,
    leased,
    pending,
    processing,
    running_journal,
    spooled,
)


async def test_every_kind_of_entry_becomes_its_row(postgres: PostgresServer, tmp_path: Path) -> None:
    request = uuid4()
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        ip = await rows.add_ip("198.51.100.1")
        entry = leased(ip, await edit_no_of(rows, ip), avg_response_time_ms=12.5, last_health_check=AT + 1)
        journal.writer.record(pending(request), entry, processing(request), finished(request), hit(request_id=request))
        await journal.flush()

        [row] = await rows.sql("select * from ip_rotation_pool")
        assert (row["status"], row["locked_until"].timestamp(), row["last_used_at"].timestamp()) == (
            "locked",
            AT + 90,
            AT,
        )
        assert (row["locked_by_request"], row["total_uses"], row["lease_no"]) == (entry.locked_by_request, 1, 1)
        assert (row["avg_response_time_ms"], row["last_health_check"].timestamp()) == (12.5, AT + 1)
        [trace] = await rows.sql(
            "select *, extracted_params->'a' as a, redirect_chain->0->>'kind' as kind, inbound_params->'tag' as tag"
            " from active_trace_requests"
        )
        assert (trace["status"], trace["ip_assigned"], trace["final_url"]) == (
            "completed",
            "198.51.100.1",
            "https://shop.example/?a=1&a=2",
        )
        assert (trace["a"], trace["kind"], trace["tag"]) == ('["1", "2"]', "http", '["a", "b"]')
        assert (trace["wait_time_ms"], trace["trace_time_ms"], trace["total_time_ms"]) == (1000, 900, 1900)
        assert (trace["bytes_received"], trace["retry_count"], trace["error_message"]) == (4321, 0, None)
        assert [trace[f"{what}_at"].timestamp() - AT for what in ("started", "ip_locked", "completed", "timeout")] == [
            0,
            1,
            2,
            85,
        ]
        [row] = await rows.sql("select * from hits")
        assert (row["request_id"], row["outcome"], row["wait_ms"]) == (request, "resolved", 1234)
        assert row["created_at"].timestamp() == AT


async def test_a_trace_goes_through_its_states_one_flush_at_a_time(postgres: PostgresServer, tmp_path: Path) -> None:
    request = uuid4()
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        seen = []
        for entry in (pending(request), processing(request), finished(request)):
            journal.writer.record(entry)
            await journal.flush()
            seen.append(await rows.one("select status from active_trace_requests"))
    assert seen == ["pending", "processing", "completed"]


async def test_the_last_change_of_an_ip_in_a_batch_is_the_one_that_holds(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        ip = await rows.add_ip("198.51.100.1")
        edit = await edit_no_of(rows, ip)
        journal.writer.record(*(leased(ip, edit, lease_no=number, total_uses=number) for number in range(1, 30)))
        journal.writer.record(leased(ip, edit, lease_no=29, status="cooldown", locked_by_request=None))
        await journal.flush()
        [row] = await rows.sql("select status, lease_no, locked_by_request from ip_rotation_pool")
    assert row == {"status": "cooldown", "lease_no": 29, "locked_by_request": None}


async def test_an_operators_newer_edit_keeps_its_word_and_the_counters_move_on(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        ip = await rows.add_ip("198.51.100.1")
        before = await edit_no_of(rows, ip)
        await rows.sql("update ip_rotation_pool set status = 'failed', is_healthy = false")
        journal.writer.record(leased(ip, before, consecutive_failures=3, total_uses=7))
        await journal.flush()
        [row] = await rows.sql("select * from ip_rotation_pool")
        assert (row["status"], row["is_healthy"], row["consecutive_failures"]) == ("failed", False, 0)
        assert (row["locked_until"], row["total_uses"], row["lease_no"]) == (None, 7, 1)

        after = await edit_no_of(rows, ip)
        assert after > before
        journal.writer.record(leased(ip, after, status="failed", is_healthy=False, locked_until=None))
        await journal.flush()
        assert await edit_no_of(rows, ip) == after, "the daemon's own writes are no edits"


async def test_an_entry_of_an_ip_that_is_gone_holds_up_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(leased(uuid4(), 1), hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 1
        assert await rows.one("select count(*) from ip_rotation_pool") == 0


async def test_the_same_batch_sent_twice_changes_nothing_twice(postgres: PostgresServer) -> None:
    node = uuid4()
    async with fresh_database(postgres) as rows:
        ip = await rows.add_ip("198.51.100.1")
        edit = await edit_no_of(rows, ip)
        batch = spooled(1, leased(ip, edit), hit())
        later = spooled(3, leased(ip, edit, status="cooldown", locked_by_request=None))

        async def apply(after_seq: int, entries: list[SpooledEntry]) -> bool:
            return await rows.database.work(apply_batch, node, 1, after_seq, entries, own=True)

        assert await apply(0, batch)
        assert await apply(2, later)
        assert not await apply(0, batch)
        assert not await apply(2, later)
        assert not await apply(3, batch), "the position never moves back"
        assert await rows.one("select status from ip_rotation_pool") == "cooldown"
        assert await rows.one("select seq from journal_position") == 3


async def test_a_crash_between_applying_and_forgetting_applies_nothing_twice(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows:
        ip = await rows.add_ip("198.51.100.1")
        edit = await edit_no_of(rows, ip)
        spool = Spool(tmp_path / "j")
        spool.append([encode(leased(ip, edit)), encode(hit())])
        await rows.database.work(apply_batch, spool.node_id, spool.epoch, 0, spool.read(0, 10), own=True)
        spool.close()  # the daemon dies here, with its entries both applied and in the spool
        await rows.sql("update ip_rotation_pool set total_uses = 99")

        async with running_journal(tmp_path / "j", rows.database) as journal:
            journal.writer.record(hit())
            await journal.flush()
        assert await rows.one("select total_uses from ip_rotation_pool") == 99
        assert await rows.one("select count(*) from hits") == 2


async def test_a_commit_whose_answer_is_lost_is_not_repeated(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("database_unavailable")
    lost = 0
    work = Database.work

    async def work_that_loses_an_answer(self: Database, unit: Any, *args: Any, own: bool = False) -> Any:
        nonlocal lost
        result = await work(self, unit, *args, own=own)
        if unit is apply_batch and not lost:
            lost += 1
            raise DatabaseUnavailable("the answer was lost")
        return result

    monkeypatch.setattr(Database, "work", work_that_loses_an_answer)
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit())
        await journal.flush()
        journal.writer.record(hit())
        await journal.flush()
        assert lost == 1
        assert await rows.one("select count(*) from hits") == 2


async def test_a_poison_entry_is_refused_alone_and_named(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("entry_refused")
    async with fresh_database(postgres) as rows:
        spool = Spool(tmp_path / "j")
        entries = [encode(hit()) for _ in range(21)]
        entries[7] = ("hit", encode(hit(outcome="misspelt"))[1])  # breaks a check constraint
        entries[15] = ("hit", encode(hit())[1].replace("1234", '"many"'))  # no integer
        spool.append(entries)
        spool.close()
        async with running_journal(tmp_path / "j", rows.database) as journal:
            await journal.flush()
            assert journal.shipper.refused == 2
            assert await rows.one("select count(*) from hits") == 19
            journal.writer.record(hit())
            await journal.flush()
            assert await rows.one("select count(*) from hits") == 20
    assert [error["seq"] for error in expected_errors.named("entry_refused")] == [8, 16]


async def test_text_that_jsonb_refuses_is_replaced_and_not_lost(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit(user_agent="a\0b\ud800c \U0001f642", referrer="NaN Infinity"))
        journal.writer.record(pending(uuid4(), inbound_params={"k\0": ["\udfff", "\\u0000"]}))
        ip = await rows.add_ip("198.51.100.1")
        edit = await edit_no_of(rows, ip)
        journal.writer.record(leased(ip, edit, avg_response_time_ms=float("nan"), locked_until=float("inf")))
        await journal.flush()
        assert journal.shipper.refused == 0
        [row] = await rows.sql("select user_agent, referrer from hits")
        assert row == {"user_agent": "a\ufffdb\ufffdc \U0001f642", "referrer": "NaN Infinity"}
        assert await rows.one("select inbound_params->'k\ufffd'->>1 from active_trace_requests") == "\\u0000"
        assert await rows.one("select status from ip_rotation_pool") == "locked"


async def test_many_who_wait_for_durability_share_few_commits(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        durable: list[bool] = []

        async def one() -> None:
            durable.append(await journal.writer.durable(hit()))

        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(one)
        assert durable == [True] * 500
        assert journal.spool.commits < 50
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 500


async def test_a_disk_that_refuses_is_told_counted_and_survived(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("journal_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        assert await journal.writer.durable(hit())
        journal.spool.broken = "database or disk is full"
        journal.writer.record(hit())
        assert not await journal.writer.durable(hit(), hit())
        assert journal.writer.dropped == 3
        journal.spool.broken = None
        assert await journal.writer.durable(hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 2
    [error] = expected_errors.named("journal_refused")
    assert "disk is full" in error["why"]


async def test_terminated_sessions_cost_no_entry(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_unavailable")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        for _ in range(5):
            journal.writer.record(hit(), hit())
            await trio.to_thread.run_sync(postgres.end_sessions, rows.url)
            journal.writer.record(hit())
            await journal.flush()
        await until(lambda: journal.shipper.reachable)
        async with opened(rows.url) as looker:  # the other connections may be dead and not know it yet
            assert await looker.one("select count(*) from hits") == 15


async def test_a_server_that_comes_back_gets_what_it_missed(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_unavailable")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit())
        await journal.flush()
        await trio.to_thread.run_sync(postgres.stop)
        try:
            with trio.fail_after(PATIENCE_S):
                assert await journal.writer.durable(*(hit() for _ in range(50)))
            await until(lambda: not journal.shipper.reachable)
            assert journal.spool.backlog(journal.shipper.shipped_seq) == 50
        finally:
            await trio.to_thread.run_sync(postgres.start)
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 51
        await until(lambda: journal.shipper.reachable)
    assert len(expected_errors.named("database_unavailable")) == 1, "one line, however often it is tried"


async def test_shipped_entries_leave_the_spool(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(*(hit() for _ in range(100)))
        await journal.flush()
        await until(lambda: journal.spool.backlog(0) == 0)
