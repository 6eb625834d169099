"""Rows are removed when they are older than their retention, late entries land once, and IPs are updated in place."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import structlog

from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.journal.entries import Entry, TraceQueued, encode
from daemon.journal_start import days_kept
from daemon.maintenance.retention import GROWING, remove_old_rows
from daemon.maintenance.rounds import run_once
from daemon.maintenance.storage import read_stored
from daemon.settings.model import Settings
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import Journal, edit_no_of, shipping
from tests.support.entries import finished, hit, leased, pending

SETTINGS = Settings(
    maintenance={"delete_batch_rows": 100}, retention={"hits_days": 90, "traces_days": 7, "statistics_days": 400}
)
ADD_HITS = """
insert into hits (request_id, offer_name, outcome, location, wait_ms, created_at)
select gen_random_uuid(), 'hats', 'resolved', 'https://shop.example/', 5, now() - $1::interval
from generate_series(1, $2)
"""
CHANGED_BY_LEASES = {
    "status", "locked_until", "locked_by_request", "last_used_at", "total_uses", "success_count", "failure_count",
    "consecutive_failures", "is_healthy", "avg_response_time_ms", "last_health_check", "lease_no", "probe_failures",
    "updated_at", "bytes_received", "bytes_sent",
}  # fmt: skip


async def add_hits(rows: Rows, age: timedelta, count: int) -> None:
    await rows.sql(ADD_HITS, age, count)


async def test_each_table_keeps_its_rows_for_its_days(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await add_hits(rows, timedelta(days=90, minutes=1), 130)
        await add_hits(rows, timedelta(days=89, hours=23), 20)
        for days, traffic_day in ((401, 402), (399, 399)):
            await rows.sql(f"""
                insert into ip_pool_statistics (recorded_at, total_ips, available_ips, locked_ips, cooldown_ips,
                    failed_ips, pool_utilization_percent, active_requests, completed_requests_1h, failed_requests_1h)
                values (now() - interval '{days} days', 1, 1, 0, 0, 0, 0, 0, 0, 0);
                insert into traffic (day, provider, traces, bytes_received, bytes_sent, cost)
                values ((now() at time zone 'utc')::date - {traffic_day}, 'luna', 1, 1, 1, 0);
                insert into actions (at, who, what) values (now() - interval '{days} days', 'cli:me', 'add offer');
                insert into click_minutes (minute, clicks, resolved)
                values (date_trunc('minute', now()) - interval '{days} days', 1, 1)""")
        report = await run_once(rows.database, SETTINGS)
        assert report.removed_rows == {
            "traffic": 1,
            "actions": 1,
            "click_minutes": 1,
            "ip_pool_statistics": 1,
            "hits": 130,
        }
        assert await rows.one("select count(*) from hits") == 20
        assert any("130 rows of hits" in line for line in report.lines())
        assert (await run_once(rows.database, SETTINGS)).removed_rows == {}


async def test_a_trace_that_waited_long_is_kept_from_its_end_on(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        ago = datetime.now(UTC) - timedelta(days=8)
        await rows.add_trace(created_at=ago, status="completed", completed_at=datetime.now(UTC), priority=5)
        await rows.add_trace(created_at=ago, status="completed", completed_at=ago, priority=5)
        assert (await run_once(rows.database, SETTINGS)).removed_rows == {"active_trace_requests": 1}


async def test_when_the_time_is_over_the_next_round_goes_on_and_status_says_how_many_are_left(
    postgres: PostgresServer,
) -> None:
    async with fresh_database(postgres) as rows:
        await add_hits(rows, timedelta(days=100), 250)
        with structlog.testing.capture_logs() as logged:
            assert await remove_old_rows(rows.database, SETTINGS, budget_s=0) == {"hits": 100}
        [line] = [line for line in logged if line["event"] == "old_rows_left"]
        assert (line["table"], line["removed_rows"], line["days_kept"]) == ("hits", 100, 90)
        assert line["rows_left"] == 150
        [left] = (await rows.database.work(read_stored, SETTINGS)).removing
        assert (left.table, left.rows_left) == ("hits", 150)
        assert await remove_old_rows(rows.database, SETTINGS, budget_s=60) == {"hits": 150}
        assert (await rows.database.work(read_stored, SETTINGS)).removing == ()


async def test_a_row_that_an_operator_has_locked_holds_up_no_other(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await add_hits(rows, timedelta(days=100), 5)
        async with rows.database.own_connection(None) as operator:
            await operator.execute("begin; select from hits limit 1 for update")
            assert await remove_old_rows(rows.database, SETTINGS, budget_s=60) == {"hits": 4}
            await operator.execute("rollback")
        assert await remove_old_rows(rows.database, SETTINGS, budget_s=60) == {"hits": 1}


async def test_a_node_that_stopped_long_ago_and_owns_nothing_is_forgotten(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        owner = uuid4()
        for node, state, days in (("a", "left", 8), ("b", "lost", 8), ("c", "left", 6), ("d", "active", 8)):
            await rows.sql(
                "insert into nodes (node_id, name, epoch, state, trusted_until, quiet_s, version)"
                " values ($1, $2, 1, $3, now() - make_interval(days => $4), 160, '1')",
                owner if node == "b" else uuid4(), node, state, days,
            )  # fmt: skip
        await rows.add_ip("ip-1", node_id=owner)
        for age in (399, 401):
            await rows.sql(
                "insert into journal_position (node_id, lane, epoch, seq, applied_at)"
                " values ($1, 'facts', 1, 1, now() - make_interval(days => $2))", uuid4(), age,
            )  # fmt: skip
        assert (await run_once(rows.database, SETTINGS)).removed_rows == {"nodes": 1, "journal_position": 1}
        assert [row["name"] for row in await rows.sql("select name from nodes order by 1")] == ["b", "c", "d"]


async def test_late_entries_land_once_and_those_beyond_the_retention_are_counted(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    now_s = datetime.now(UTC).timestamp()
    day_s = 86_400.0
    before_s = now_s - 8 * day_s
    late, old, trace, old_trace = uuid4(), uuid4(), uuid4(), uuid4()
    entries: list[Entry] = [
        hit(request_id=late, answered_at=now_s - 89 * day_s),
        hit(request_id=old, answered_at=now_s - 91 * day_s),
        pending(trace, started_at=now_s - 6 * day_s, timeout_at=now_s - 6 * day_s),
        pending(old_trace, started_at=before_s, timeout_at=before_s),
        finished(old_trace),
        TraceQueued(uuid4(), uuid4(), "https://ads.example/", "us", {}, 1, before_s, before_s + 3_600),
    ]
    async with fresh_database(postgres) as rows:
        for run in (1, 2):  # the second is a copy of the spool, as of a cloned directory
            journal = Journal(tmp_path / f"{run}", rows.database, keep_s=60)
            journal.shipper.facts._days_kept = lambda: days_kept(SETTINGS)
            with structlog.testing.capture_logs() as logged:
                async with shipping(journal):
                    await journal.writer.durable(*entries)
                    await journal.flush()
            assert journal.shipper.too_old == 3
            counted = {line["kind"]: line["entries"] for line in logged if line["event"] == "entries_too_old"}
            assert counted == {"hit": 1, "trace_pending": 1, "trace_queued": 1}
            assert await rows.one("select array_agg(request_id) from hits") == [late]
            assert await rows.one("select array_agg(request_id) from active_trace_requests") == [trace]


def test_every_table_is_removed_from_by_a_statement() -> None:
    assert all(growing.removal in QUERIES for growing in GROWING)


async def test_a_lease_is_an_update_in_place(postgres: PostgresServer) -> None:
    """HOT: PostgreSQL writes no index, and reuses the row's former space without VACUUM."""
    async with fresh_database(postgres) as rows:
        found = await rows.sql(
            "select distinct a.attname::text as name from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
            " where i.indrelid = 'ip_rotation_pool'::regclass"
            " and (a.attnum = any(i.indkey) or strpos(pg_get_indexdef(i.indexrelid), a.attname) > 0)"
        )
        assert not {row["name"] for row in found} & CHANGED_BY_LEASES
        node = uuid4()
        ip_id = await rows.add_ip("ip-1", node_id=node)
        edit_no = await edit_no_of(rows, ip_id)
        size = await rows.one("select pg_relation_size('ip_rotation_pool')")
        for lease_no in range(1, 200):
            state = "locked" if lease_no % 2 else "available"
            body = encode(leased(ip_id, edit_no, lease_no=lease_no, status=state))[1]

            async def apply(conn: Connection, body: str = body) -> None:
                await conn.execute(QUERIES["apply_ip_changed"], f"[{body}]", node)

            await rows.database.work(apply, own=True)
        assert await rows.one("select total_uses from ip_rotation_pool") == 199
        assert await rows.one("select pg_relation_size('ip_rotation_pool')") == size
