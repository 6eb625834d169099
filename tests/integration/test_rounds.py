"""What is done once for all nodes: rounds, time-outs, and the claims of batch traces."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio
from trio_asyncio import aio_as_trio

from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.host.clocks import read_clocks
from daemon.journal.entries import Entry, Hit, TraceFinished, TraceQueued, encode
from daemon.journal.lane import FACTS, apply_batch
from daemon.journal.spool import SpooledEntry
from daemon.maintenance.actor import Maintenance
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.rounds import claim_round, end_own_traces, run_once
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles
from tests.fakes.pools import PlayedPools
from tests.fakes.reports import report_of
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.support.waiting import until

RECORDED = "select count(*) from ip_pool_statistics"
NODE, OTHER = uuid4(), uuid4()


def ago(**delta: float) -> datetime:
    return datetime.now(tz=UTC) - timedelta(**delta)


def every(interval_s: float) -> Settings:
    return Settings(maintenance={"interval_s": interval_s, "delete_batch_rows": 100})


def maintaining(rows: Rows, settings: Settings, node_id: UUID) -> Maintenance:
    live, directory, troubles = LiveSettings(settings), PlayedPools().directory, Troubles()
    advisor = Advisor(rows.database, live, report_of(live, directory, troubles=troubles), read_clocks)
    flush = trio.lowlevel.checkpoint
    return Maintenance(rows.database, live, directory, lambda: 0, flush, advisor, troubles, node_id=node_id)


async def add_node(rows: Rows, node_id: UUID, state: str = "active", trusted_for_s: float = 900) -> None:
    await rows.sql(
        "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version)"
        " values ($1, $2, 1, gen_random_uuid(), $3, now() + make_interval(secs => $4), 160, '1')",
        node_id,
        f"n-{node_id}"[:8],
        state,
        trusted_for_s,
    )


async def test_of_many_nodes_one_does_the_round_of_an_interval(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(maintaining(rows, every(1), uuid4()).run)
        await until(lambda: rows.one(f"{RECORDED} having count(*) >= 3 union all select 0 limit 1"))
        nursery.cancel_scope.cancel()
        seconds = await rows.sql("select extract(epoch from recorded_at)::float8 as at from ip_pool_statistics")
        assert set(Counter(int(row["at"]) for row in seconds).values()) == {1}
        claims = await rows.sql("select name, count(*) from rounds group by 1 order by 1")
        assert [row["name"] for row in claims] == ["retention", "round", "statistics"]


async def test_a_node_that_dies_in_its_round_costs_one_round(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        settings = every(3_600)
        assert (await claim_round(rows.database, settings, NODE)).is_mine
        assert not (await claim_round(rows.database, settings, OTHER)).is_mine
        assert (await claim_round(rows.database, settings, NODE)).is_mine, "it may try again"
        for _ in range(2):
            await run_once(rows.database, settings, node_id=NODE, is_scheduled=True, expire_ips=False)
        assert await rows.one(RECORDED) == 1, "a round that is tried again writes no second row"
        await rows.sql("update rounds set minute = minute - interval '1 hour'")
        assert (await claim_round(rows.database, settings, OTHER)).is_mine, "the next interval"


async def test_an_operators_round_is_done_at_once_and_counts_for_the_interval(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        settings = every(3_600)
        maintenance = maintaining(rows, settings, NODE)
        assert (await maintenance.round_now()).statistics["total_ips"] == 0
        assert (await maintenance.round_now()).statistics["total_ips"] == 0
        assert await rows.one(RECORDED) == 2
        await run_once(rows.database, settings, node_id=OTHER, is_scheduled=True, expire_ips=False)
        assert await rows.one(RECORDED) == 2


async def test_old_rows_of_rounds_go_and_those_ahead_of_a_clock_that_was_set_back(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(
            "insert into rounds (name, minute, node_id) select 'round', now() + hours * interval '1 hour', $1"
            " from unnest(array[-48, -3, -1, 1, 20]) hours",
            NODE,
        )
        assert (await claim_round(rows.database, every(60), OTHER)).is_mine
        assert await rows.one("select count(*) from rounds") == 2


async def test_only_traces_of_stopped_nodes_time_out(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        lost, gone = uuid4(), uuid4()
        await add_node(rows, NODE)
        await add_node(rows, OTHER, trusted_for_s=-1)
        await add_node(rows, lost, "lost")
        of = {
            node_id: await rows.add_trace(status="processing", timeout_at=ago(seconds=30), node_id=node_id)
            for node_id in (NODE, OTHER, lost, gone, None)
        }
        assert await end_own_traces(rows.database, every(60), NODE) == 1
        report = await run_once(rows.database, every(60), node_id=NODE, expire_ips=False)
        assert report.timed_out_traces == 3
        found = await rows.sql("select request_id, status from active_trace_requests")
        assert [row["request_id"] for row in found if row["status"] == "processing"] == [of[OTHER]]


async def test_a_trace_whose_end_is_being_written_does_not_time_out(postgres: PostgresServer) -> None:
    """Its node was suspended, and wakes up: the end of the trace counts, whichever transaction is the first."""
    async with fresh_database(postgres) as rows:
        request_id = await rows.add_trace(status="processing", timeout_at=ago(seconds=30))
        writer = await aio_as_trio(asyncpg.connect)(rows.url)
        try:
            await aio_as_trio(writer.execute)(
                f"begin; update active_trace_requests set status = 'completed' where request_id = '{request_id}'"
            )
            with trio.fail_after(10):
                await run_once(rows.database, every(60), node_id=NODE, expire_ips=False)
            await aio_as_trio(writer.execute)("commit")
        finally:
            await aio_as_trio(writer.close)()
        assert await rows.one("select status from active_trace_requests") == "completed"


async def test_the_end_that_a_late_node_sends_replaces_the_time_out(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        late = await rows.add_trace(status="processing", timeout_at=ago(hours=1), node_id=OTHER)
        await run_once(rows.database, every(60), node_id=NODE, expire_ips=False)
        assert await rows.one("select status from active_trace_requests") == "timeout"
        ended_s = ago(minutes=59).timestamp()
        end = TraceFinished(late, "completed", ended_s, "https://shop.example/", {}, (), None, 900, 1_000, 0, 10)
        await rows.database.work(apply_end, f"[{encode(end)[1]}]")
        [row] = await rows.sql("select * from active_trace_requests")
        assert (row["status"], row["final_url"], row["error_message"]) == ("completed", "https://shop.example/", None)
        assert row["completed_at"].timestamp() == pytest.approx(ended_s)


async def apply_end(conn: Connection, entries: str) -> None:
    await conn.execute(QUERIES["apply_trace_finished"], entries)


async def claimed(rows: Rows, node_id: UUID, *running: UUID, most: int = 100) -> list[UUID]:
    found = await rows.database.fetch("next_batch_traces", "us", node_id, list(running), 1, 9, False, most)
    return [row["request_id"] for row in found]


async def test_two_nodes_never_take_the_same_batch_trace(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        asked = [await rows.add_trace(priority=1, created_at=ago(seconds=60 - n)) for n in range(40)]
        taken: dict[UUID, list[UUID]] = {NODE: [], OTHER: []}

        async def take(node_id: UUID) -> None:
            while more := await claimed(rows, node_id, *taken[node_id], most=3):
                taken[node_id] += more

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, NODE)
            nursery.start_soon(take, OTHER)
        assert sorted(taken[NODE] + taken[OTHER]) == sorted(asked)
        assert all(ids == sorted(ids, key=asked.index) for ids in taken.values())


async def test_the_traces_of_background_clicks_come_first_and_fail_after_their_time(postgres: PostgresServer) -> None:
    """With the entry as the journal applies it."""
    async with fresh_database(postgres) as rows:
        listed = await rows.add_trace(priority=2, created_at=ago(seconds=60))
        now_s = datetime.now(tz=UTC).timestamp()
        ids = [uuid4() for _ in range(3)]
        waits_s = {ids[0]: 100.0, ids[1]: -1.0, ids[2]: -1.0}
        identity = {"user_agent": "Browser/1", "accept_language": None, "referrer": None}
        for request_id, wait_s in waits_s.items():
            url = "https://ads.example/go?c=1"
            queued = TraceQueued(
                request_id, uuid4(), url, "us", {"a": "1"}, 1, now_s, now_s + wait_s, identity=identity
            )
            _, body = encode(queued)
            for _ in range(2):  # an entry may come twice
                await rows.database.fetch("apply_trace_queued", f"[{body}]", None)
        await rows.sql("update active_trace_requests set node_id = $1 where request_id = $2", NODE, ids[2])
        await add_node(rows, NODE)
        report = await run_once(rows.database, every(60), node_id=OTHER)
        assert report.timed_out_traces == 1
        found = await rows.sql(
            "select request_id, status, reason, error_message, identity is null as forgotten from active_trace_requests"
            " where priority = 1 order by created_at, status"
        )
        by_id = {row["request_id"]: row for row in found}
        assert [by_id[one]["status"] for one in ids] == ["pending", "failed", "pending"], "NODE has begun the last one"
        assert (by_id[ids[1]]["reason"], by_id[ids[1]]["forgotten"]) == ("no_ip", True)
        assert "without a free IP of us: see trace.background_wait_s" in by_id[ids[1]]["error_message"]
        assert await claimed(rows, OTHER) == [ids[0], listed]


async def test_a_trace_that_got_no_ip_is_any_nodes_again(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        [one, other] = [await rows.add_trace(priority=1) for _ in range(2)]
        assert set(await claimed(rows, NODE)) == {one, other}
        assert await claimed(rows, OTHER) == []
        await rows.database.fetch("release_batch_traces", NODE, [one])
        await rows.database.fetch("release_batch_traces", OTHER, [other])
        assert await claimed(rows, OTHER) == [one]


@pytest.mark.parametrize("starting", [True, False])
async def test_a_start_restarts_its_own_batch_traces_and_a_round_those_of_lost_nodes(
    starting: bool, postgres: PostgresServer
) -> None:
    async with fresh_database(postgres) as rows:
        lost, left = uuid4(), uuid4()
        await add_node(rows, NODE)
        await add_node(rows, OTHER)
        await add_node(rows, lost, "lost")
        await add_node(rows, left, "left")
        ids: dict[UUID, list[Any]] = {}
        for node_id in (NODE, OTHER, lost, left):
            rest: dict[str, Any] = {"priority": 1, "node_id": node_id}
            ids[node_id] = [await rows.add_trace(status=status, **rest) for status in ("pending", "processing")]
            await rows.add_trace(status="completed", **rest)
        await rows.database.fetch("restart_batch_traces", NODE if starting else None)
        free = await rows.sql(
            "select request_id from active_trace_requests where status = 'pending' and node_id is null"
        )
        expected = ids[lost] + ids[left] + (ids[NODE] if starting else [])
        assert sorted(row["request_id"] for row in free) == sorted(expected)


async def test_the_journal_applies_a_queued_trace_beside_its_hit(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        request_id, now_s = uuid4(), datetime.now(tz=UTC).timestamp()
        url = "https://ads.example/go?c=1"
        entries: tuple[Entry, ...] = (
            TraceQueued(request_id, uuid4(), url, "us", {}, 1, now_s, now_s + 60),
            Hit(request_id, None, "sale", "background", None, url, None, None, None, 0, now_s),
        )
        batch = [SpooledEntry(seq, *encode(entry)) for seq, entry in enumerate(entries, start=1)]
        await rows.sql("insert into journal_position (node_id, lane, epoch, seq) values ($1, $2, 1, 0)", NODE, FACTS)
        days = dict.fromkeys(("trace_pending", "hit"), 7.0)
        assert await rows.database.work(apply_batch, NODE, 1, FACTS, 0, batch, None, days, Counter())
        assert await claimed(rows, OTHER) == [request_id]
        assert await rows.one("select count(*) from hits where outcome = 'background'") == 1
