"""The journal with a real spool and PostgreSQL: each entry arrives once, in order, through all failures."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Entry, IpTraffic, TraceFinished, Traffic, encode
from daemon.journal.lane import FACTS, OF_IPS, apply_batch
from daemon.journal.spool import Spool, SpooledEntry
from tests.integration.databases import PostgresServer, Rows, fresh_database, opened
from tests.integration.journals import edit_no_of, running_journal, spooled
from tests.support.entries import AT, finished, hit, leased, pending, processing
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import PATIENCE_S, until


async def apply_to(rows: Rows, node: UUID, lane: str, after_seq: int, batch: list[SpooledEntry]) -> bool:
    return await rows.database.work(apply_batch, node, 1, lane, after_seq, batch, own=True)


NEW_IN_TRACES = {"bytes_sent", "offer_id", "offer_name", "cost", "traffic"}


async def test_every_kind_of_entry_becomes_its_row(postgres: PostgresServer, tmp_path: Path) -> None:
    request = uuid4()
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        ip = await rows.add_ip("198.51.100.1", node_id=journal.spool.node_id)
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
        ip = await rows.add_ip("198.51.100.1", node_id=journal.spool.node_id)
        edit = await edit_no_of(rows, ip)
        journal.writer.record(*(leased(ip, edit, lease_no=number) for number in range(1, 30)))
        journal.writer.record(
            leased(
                ip, edit, lease_no=29, status="cooldown", locked_by_request=None, uses=0, successes=1, probe_failures=4
            )
        )
        await journal.flush()
        [row] = await rows.sql("select status, lease_no, locked_by_request, probe_failures from ip_rotation_pool")
        [counters] = await rows.sql("select total_uses, success_count, failure_count from ip_rotation_pool")
    assert row == {"status": "cooldown", "lease_no": 29, "locked_by_request": None, "probe_failures": 4}
    assert counters == {"total_uses": 29, "success_count": 1, "failure_count": 0}


async def test_an_operators_newer_edit_keeps_its_word_and_the_counters_move_on(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        ip = await rows.add_ip("198.51.100.1", node_id=journal.spool.node_id)
        before = await edit_no_of(rows, ip)
        await rows.sql("update ip_rotation_pool set status = 'failed', is_healthy = false")
        journal.writer.record(leased(ip, before, consecutive_failures=3, uses=7))
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
        ip = await rows.add_ip("198.51.100.1", node_id=node)
        edit = await edit_no_of(rows, ip)
        batch = spooled(1, leased(ip, edit), hit())
        later = spooled(3, leased(ip, edit, status="cooldown", locked_by_request=None))

        async def apply(after_seq: int, entries: list[SpooledEntry]) -> bool:
            applied = [await apply_to(rows, node, lane, after_seq, entries) for lane in (FACTS, OF_IPS)]
            assert len({*applied}) == 1
            return applied[0]

        assert await apply(0, batch)
        assert await apply(2, later)
        assert not await apply(0, batch)
        assert not await apply(2, later)
        assert not await apply(3, batch), "the position never moves back"
        assert await rows.one("select status from ip_rotation_pool") == "cooldown"
        assert await rows.sql("select lane, seq from journal_position order by lane") == [
            {"lane": "facts", "seq": 3},
            {"lane": "states", "seq": 3},
        ]


async def test_a_crash_between_applying_and_forgetting_applies_nothing_twice(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows:
        spool = Spool(tmp_path / "j")
        ip = await rows.add_ip("198.51.100.1", node_id=spool.node_id)
        edit = await edit_no_of(rows, ip)
        spool.append([encode(leased(ip, edit)), encode(hit())])
        for lane in (FACTS, OF_IPS):
            await apply_to(rows, spool.node_id, lane, 0, spool.read(0, 10))
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
    assert [error["id"] for error in expected_errors.named("entry_refused")] == [8, 16]


async def test_text_that_jsonb_refuses_is_replaced_and_not_lost(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit(user_agent="a\0b\ud800c \U0001f642", referrer="NaN Infinity"))
        journal.writer.record(pending(uuid4(), inbound_params={"k\0": ["\udfff", "\\u0000"]}))
        ip = await rows.add_ip("198.51.100.1", node_id=journal.spool.node_id)
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


async def test_entries_that_the_disk_refuses_stay_in_memory_until_the_disk_takes_them(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("journal_refused")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        assert await journal.writer.durable(hit())
        journal.spool.broken = "database or disk is full"
        journal.writer.record(hit())
        assert not await journal.writer.durable(hit(), hit())
        assert (journal.writer.dropped, journal.writer.pending) == (0, 3)
        journal.spool.broken = None
        assert await journal.writer.durable(hit())
        await journal.flush()
        assert await rows.one("select count(*) from hits") == 5
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
        async with opened(rows.url) as looker:  # the other connections may be lost too
            assert await looker.one("select count(*) from hits") == 15


@pytest.mark.slow
async def test_a_server_that_comes_back_gets_what_it_missed(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_unavailable")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        journal.writer.record(hit())
        await journal.flush()
        try:
            await trio.to_thread.run_sync(postgres.stop)
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


async def test_traffic_is_counted_once_by_ip_by_trace_and_by_day_provider_and_offer(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows:
        one, two = await rows.add_ip("198.51.100.1"), await rows.add_ip("198.51.100.2", provider="other")
        sale = uuid4()

        def trace(
            *traffic: Traffic, offer_id: UUID | None = sale, name: str | None = "sale", at: float = AT
        ) -> TraceFinished:
            cost = sum(part.cost for part in traffic)
            of = replace(finished(uuid4()), offer_id=offer_id, offer_name=name)
            return replace(of, completed_at=at, bytes_sent=765, traffic=traffic, cost=cost)

        retried = trace(Traffic("luna", 300, 30, 0.5), Traffic("other", 4_021, 735, 0.25))
        entries: list[Entry] = [
            pending(retried.request_id),
            retried,
            trace(Traffic("luna", 1_000, 100, 0.125), name="summer sale"),
            trace(Traffic("other", 10, 1, 0.0), offer_id=None, name=None),
            IpTraffic(one, 300, 30),
            IpTraffic(two, 4_021, 735),
            trace(Traffic("other", 20, 2, 0.0), offer_id=None, name=None),
            trace(Traffic("luna", 7, 7, 0.0), Traffic("luna", 8, 8, 0.0), at=AT + 86_400),
            trace(Traffic("luna", 5, 5, 0.0)),
            trace(),
            IpTraffic(one, 1_015, 115),
            IpTraffic(two, 30, 3),
            IpTraffic(uuid4(), 5, 5),  # its IP is deleted
        ]
        batches = [spooled(1, *entries[:6]), spooled(7, *entries[6:])]
        node = uuid4()
        for after, batch in ((0, batches[0]), (0, batches[0]), (6, batches[1]), (6, batches[1]), (0, batches[0])):
            await apply_to(rows, node, FACTS, after, batch)
            await apply_to(rows, node, OF_IPS, after, batch)

        counted = await rows.sql(
            "select day::text, provider, offer_id, offer_name, traces, bytes_received, bytes_sent, cost from traffic"
            " order by day, provider, offer_id nulls last"
        )
        assert [tuple(row.values()) for row in counted] == [
            ("2023-11-14", "luna", sale, "sale", 3, 1_305, 135, 0.625),
            ("2023-11-14", "other", sale, "sale", 1, 4_021, 735, 0.25),
            ("2023-11-14", "other", None, None, 2, 30, 3, 0.0),
            ("2023-11-15", "luna", sale, "sale", 1, 15, 15, 0.0),
        ]
        ips = await rows.sql("select bytes_received, bytes_sent from ip_rotation_pool order by ip_address")
        assert [tuple(row.values()) for row in ips] == [(1_315, 145), (4_051, 738)]
        [row] = await rows.sql("select bytes_received, bytes_sent, cost from active_trace_requests")
        assert row == {"bytes_received": 4321, "bytes_sent": 765, "cost": 0.75}


async def test_traces_that_an_earlier_version_recorded_still_arrive(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        request = uuid4()
        kind, body = encode(finished(request))
        old = {name: value for name, value in json.loads(body).items() if name not in NEW_IN_TRACES}
        ip_id = await rows.add_ip("198.51.100.1")
        traffic = {"ip_id": str(ip_id), "provider": "luna", "bytes_received": 70, "bytes_sent": 7, "cost": 0.5}
        less_old = old | {"request_id": str(uuid4()), "traffic": [traffic]}
        batch = [*spooled(1, pending(request)), SpooledEntry(2, kind, json.dumps(old))]
        batch.append(SpooledEntry(3, kind, json.dumps(less_old)))
        assert await apply_to(rows, uuid4(), FACTS, 0, batch)
        [row] = await rows.sql("select status, bytes_received, bytes_sent, cost from active_trace_requests")
        assert row == {"status": "completed", "bytes_received": 4321, "bytes_sent": 0, "cost": None}
        assert await rows.one("select bytes_received from traffic") == 70
        assert await rows.one("select bytes_received from ip_rotation_pool") == 70


async def test_bytes_are_no_edit_of_an_ip(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        ip = await rows.add_ip("198.51.100.1")
        before = await edit_no_of(rows, ip)
        await rows.sql("update ip_rotation_pool set bytes_received = 0, bytes_sent = 0")
        assert await edit_no_of(rows, ip) == before
