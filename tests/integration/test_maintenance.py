"""A maintenance round on prepared rows: each number of its report, and the rows after it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
import trio
from msgspec import convert

from daemon.host.clocks import read_clocks
from daemon.maintenance.actor import Maintenance
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.rounds import Report, UnhealthyIp, run_once
from daemon.pool.directory import PoolDirectory
from daemon.pool.pool import Pool
from daemon.pool.states import Ip, Status
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools
from tests.fakes.reports import report_of
from tests.integration.databases import PostgresServer, Rows, fresh_database, opened
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until


def ago(**delta: float) -> datetime:
    return datetime.now(tz=UTC) - timedelta(**delta)


def settings(interval_s: float = 60, **retention: Any) -> Settings:
    maintenance = {"interval_s": interval_s, "delete_batch_rows": 100}
    return Settings(pool={"cooldown_s": 60}, maintenance=maintenance, retention=retention)


async def test_an_empty_database_is_reported_in_zeros(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        report = await run_once(rows.database, settings())
        assert (report.overdue_ips, report.expired_locks, report.ended_cooldowns) == (0, 0, 0)
        assert (report.timed_out_traces, report.removed_traces, report.unhealthy) == (0, 0, ())
        assert report.statistics == {
            "total_ips": 0,
            "available_ips": 0,
            "locked_ips": 0,
            "cooldown_ips": 0,
            "failed_ips": 0,
            "pool_utilization_percent": 0.0,
            "active_requests": 0,
            "completed_requests_1h": 0,
            "failed_requests_1h": 0,
            "avg_wait_time_ms": None,
            "avg_trace_time_ms": None,
            "requests_queued": 0,
            "country_breakdown": {},
            "bytes_1h": 0,
            "cost_1h": 0.0,
        }
        assert not report.changed


async def test_what_a_stopped_daemon_left_locked_or_resting_ends_when_its_time_has_come(
    postgres: PostgresServer,
) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("still-locked", status="locked", locked_until=ago(seconds=-50), locked_by_request=uuid4())
        await rows.add_ip("just-ended", status="locked", locked_until=ago(seconds=20), locked_by_request=uuid4())
        await rows.add_ip("rested-too", status="locked", locked_until=ago(seconds=70), locked_by_request=uuid4())
        await rows.add_ip("marked", status="locked", locked_until=ago(seconds=70), is_healthy=False)
        await rows.add_ip("still-resting", status="cooldown", locked_until=ago(seconds=-30))
        await rows.add_ip("rested", status="cooldown", locked_until=ago(seconds=1))
        await rows.add_ip("free")
        await rows.add_ip("broken", status="failed", is_healthy=False)

        report = await run_once(rows.database, settings())
        assert (report.expired_locks, report.ended_cooldowns) == (3, 1)
        found = await rows.sql("select ip_address, status, locked_until, locked_by_request from ip_rotation_pool")
        assert {row["ip_address"]: row["status"] for row in found} == {
            "still-locked": "locked",
            "just-ended": "cooldown",
            "rested-too": "available",
            "marked": "failed",
            "still-resting": "cooldown",
            "rested": "available",
            "free": "available",
            "broken": "failed",
        }
        by_address = {row["ip_address"]: row for row in found}
        assert abs(by_address["just-ended"]["locked_until"] - ago(seconds=-40)) < timedelta(seconds=10)
        assert by_address["just-ended"]["locked_by_request"] is None
        assert by_address["still-locked"]["locked_by_request"] is not None
        assert by_address["rested"]["locked_until"] is None
        again = await run_once(rows.database, settings())
        assert (again.expired_locks, again.ended_cooldowns) == (0, 0)


async def test_beside_a_running_daemon_locks_are_left_alone(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("ip-1", status="locked", locked_until=ago(seconds=70))
        report = await run_once(rows.database, settings(), expire_ips=False, overdue_ips=1)
        assert (report.expired_locks, report.overdue_ips, report.changed) == (0, 1, True)
        assert await rows.one("select status from ip_rotation_pool") == "locked"


async def test_traces_past_their_time_become_timeouts(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        late = await rows.add_trace(status="processing", timeout_at=ago(seconds=5))
        told = await rows.add_trace(status="pending", timeout_at=ago(hours=5), error_message="said before")
        others = [
            await rows.add_trace(status="processing", timeout_at=ago(seconds=-30)),
            await rows.add_trace(status="completed", timeout_at=ago(seconds=30), completed_at=ago(seconds=60)),
        ]
        report = await run_once(rows.database, settings())
        assert (report.timed_out_traces, report.changed) == (2, True)
        found = {row["request_id"]: row for row in await rows.sql("select * from active_trace_requests")}
        assert [found[one]["status"] for one in (late, told, *others)] == [
            "timeout",
            "timeout",
            "processing",
            "completed",
        ]
        assert found[late]["completed_at"] is not None
        assert "its daemon stopped" in found[late]["error_message"]
        assert found[told]["error_message"] == "said before"


async def add_traces(rows: Rows, count: int, created_at: datetime, status: str = "completed") -> None:
    await rows.sql(
        "insert into active_trace_requests (tracking_url, target_country, status, created_at, timeout_at)"
        " select 'https://ads.example/', 'us', $1, $2, $2 from generate_series(1, $3)",
        status,
        created_at,
        count,
    )


async def test_old_traces_are_removed_in_batches_and_what_still_runs_stays(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await add_traces(rows, 250, ago(days=7, seconds=10))
        await add_traces(rows, 30, ago(days=6, hours=23))
        await add_traces(rows, 120, ago(days=8), status="failed")
        kept = await rows.add_trace(status="processing", created_at=ago(days=9), timeout_at=ago(seconds=-60))
        report = await run_once(rows.database, settings())
        assert report.removed_traces == 370
        assert await rows.one("select count(*) from active_trace_requests") == 31
        assert await rows.one("select status from active_trace_requests where request_id = $1", kept) == "processing"


async def test_retention_may_be_a_part_of_a_day(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await add_traces(rows, 3, ago(hours=2))
        assert (await run_once(rows.database, settings(traces_days=0.1))).removed_traces == 0
        assert (await run_once(rows.database, settings(traces_days=0.05))).removed_traces == 3


async def test_the_statistics_row_counts_what_is_there(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        for number, status in enumerate(["available"] * 4 + ["locked"] * 2 + ["cooldown"]):
            await rows.add_ip(f"us-{number}", status=status, country="US", locked_until=ago(seconds=-60))
        await rows.add_ip("us-9", status="failed", is_healthy=False, country="usa")
        await rows.add_ip("uk-1", status="locked", country=" GB ", locked_until=ago(seconds=-60))
        await rows.add_ip("uk-2", country="uk")
        await rows.add_trace(status="processing", timeout_at=ago(seconds=-60), wait_time_ms=9_999)
        await rows.add_trace(status="pending", timeout_at=ago(seconds=-60))
        for wait_ms, trace_ms in ((100, 1_000), (300, 3_000)):
            spent = {"bytes_received": 4_000, "bytes_sent": 500, "cost": 0.25}
            times = {"completed_at": ago(minutes=1), "wait_time_ms": wait_ms, "trace_time_ms": trace_ms}
            await rows.add_trace(status="completed", **times, **spent)
        await rows.add_trace(status="failed", completed_at=ago(minutes=59), wait_time_ms=500, trace_time_ms=None)
        await rows.add_trace(status="timeout", completed_at=ago(minutes=2))
        old = {"created_at": ago(minutes=70), "completed_at": ago(minutes=61), "wait_time_ms": 1, "trace_time_ms": 1}
        old |= {"bytes_received": 9_999, "cost": 9.0}
        await rows.add_trace(status="completed", **old)

        report = await run_once(rows.database, settings(), queued=12)
        expected = {
            "total_ips": 10,
            "available_ips": 5,
            "locked_ips": 3,
            "cooldown_ips": 1,
            "failed_ips": 1,
            "pool_utilization_percent": 44.44,  # (3 + 1) of 9 healthy IPs
            "active_requests": 2,
            "completed_requests_1h": 2,
            "failed_requests_1h": 2,
            "avg_wait_time_ms": 300.0,
            "avg_trace_time_ms": 2_000.0,
            "requests_queued": 12,
            "bytes_1h": 9_000,
            "cost_1h": 0.5,
        }
        breakdown = {
            "us": {"total": 8, "available": 4, "locked": 2, "cooldown": 1, "failed": 1, "utilization_percent": 42.86},
            "uk": {"total": 2, "available": 1, "locked": 1, "cooldown": 0, "failed": 0, "utilization_percent": 50.0},
        }
        assert report.statistics == {**expected, "country_breakdown": breakdown}
        [row] = await rows.sql("select * from ip_pool_statistics")
        assert {name: row[name] for name in expected} == expected
        assert json.loads(row["country_breakdown"]) == breakdown
        assert abs(row["recorded_at"] - ago()) < timedelta(minutes=1)

        await run_once(rows.database, settings())
        assert await rows.one("select count(*) from ip_pool_statistics") == 2
        [latest] = await rows.sql(
            "SELECT total_ips, available_ips, locked_ips, pool_utilization_percent, active_requests"
            " FROM ip_pool_statistics ORDER BY recorded_at DESC LIMIT 1;"
        )
        assert latest["total_ips"] == 10


async def test_no_share_is_ever_above_a_hundred(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("ip-1", status="locked", is_healthy=False, locked_until=ago(seconds=-60))
        await rows.add_ip("ip-2", status="locked", locked_until=ago(seconds=-60))
        statistics = (await run_once(rows.database, settings())).statistics
        assert statistics["pool_utilization_percent"] <= 100
        shares = ("available_ips", "locked_ips", "cooldown_ips", "failed_ips")
        assert sum(statistics[share] for share in shares) == statistics["total_ips"]


async def test_unhealthy_ips_are_named_up_to_a_bound(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        counters = {"consecutive_failures": 5, "failure_count": 9, "success_count": 3}
        await rows.add_ip("ip-1", status="failed", is_healthy=False, country="uk", **counters)
        report = await run_once(rows.database, settings())
        assert report.unhealthy == (UnhealthyIp("ip-1:7000", "uk", "luna", 5, 9, 3),)
        assert any("tracepool reset --ip ip-1" in line for line in report.lines())
        assert convert(json.loads(json.dumps(report.as_dict())), Report) == report
        await rows.sql(
            "insert into ip_rotation_pool (ip_address, status, is_healthy)"
            " select 'n' || generate_series(1, 200), 'failed', false"
        )
        assert len((await run_once(rows.database, settings())).unhealthy) == 100


async def test_the_operators_questions_are_answered(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("ip-1")
        await rows.add_ip("ip-2", country="de")
        await rows.add_trace(status="completed", started_at=ago(seconds=10))
        found = await rows.sql(
            "SELECT status, COUNT(*) AS count, country FROM ip_rotation_pool WHERE is_healthy = true"
            " GROUP BY status, country ORDER BY country, status;"
        )
        assert [tuple(row.values()) for row in found] == [("available", 1, "de"), ("available", 1, "us")]
        found = await rows.sql(
            "SELECT status, COUNT(*) AS count, AVG(EXTRACT(EPOCH FROM (now() - started_at))) AS avg_duration_seconds"
            " FROM active_trace_requests WHERE started_at > now() - INTERVAL '5 minutes' GROUP BY status;"
        )
        assert [(row["status"], row["count"]) for row in found] == [("completed", 1)]
        found = await rows.sql(
            "SELECT request_id, status, ip_assigned, trace_time_ms, created_at FROM active_trace_requests"
            " ORDER BY created_at DESC LIMIT 10;"
        )
        assert len(found) == 1
        assert isinstance(found[0]["request_id"], UUID)


def maintaining(
    rows: Rows,
    settings: Settings,
    directory: PoolDirectory,
    queued: int = 0,
    troubles: Troubles | None = None,
    node_id: UUID | None = None,
) -> Maintenance:
    troubles = troubles or Troubles()
    live = LiveSettings(settings)
    advisor = Advisor(rows.database, live, report_of(live, directory, troubles=troubles), read_clocks)
    return Maintenance(
        rows.database,
        live,
        directory,
        lambda: queued,
        trio.lowlevel.checkpoint,
        advisor,
        troubles,
        node_id=node_id or uuid4(),
    )


def pools_with(ip: Ip) -> PlayedPools:
    pools = PlayedPools()
    pools.directory.open("us", [ip])
    return pools


async def test_a_timer_that_failed_is_a_fault_and_its_actor_is_woken(
    postgres: PostgresServer, expected_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("timer_failed")
    monkeypatch.setattr(Pool, "next_due_s", lambda pool: None)
    ip = Ip(uuid4(), "ip-1", "7000", "us", "luna")
    pools = pools_with(ip)
    async with fresh_database(postgres) as rows, trio.open_nursery() as nursery:
        nursery.start_soon(pools.actor(MemoryJournal(), read_clocks).run, [])
        await trio.testing.wait_all_tasks_blocked()
        late_s = read_clocks().tick_s - 5
        pools.pool.load([Ip(uuid4(), "ip-2", "7000", "us", "luna", status=Status.COOLDOWN, locked_until_s=late_s)])
        maintenance = maintaining(rows, settings(), pools.directory, queued=3)
        report = await maintenance.round()
        assert pools.pool.counts().available == 2
        nursery.cancel_scope.cancel()
    assert (report.overdue_ips, report.statistics["requests_queued"]) == (1, 3)
    assert any(line.startswith("FAULT: 1 IPs") for line in report.lines())
    assert len(expected_errors.named("timer_failed")) == 1


async def test_a_round_goes_on_without_a_pool_that_does_not_answer(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.pool.directory.ANSWER_S", 0.05)
    pools = pools_with(Ip(uuid4(), "ip-1", "7000", "us", "luna"))
    async with fresh_database(postgres) as rows:
        report = await maintaining(rows, settings(), pools.directory).round()
    assert report.overdue_ips == 0


@pytest.mark.slow
async def test_a_round_without_a_database_is_skipped_and_the_next_one_is_made(postgres: PostgresServer) -> None:
    directory = pools_with(Ip(uuid4(), "ip-1", "7000", "us", "luna")).directory
    often = settings(interval_s=1)
    async with fresh_database(postgres) as rows:
        troubles = Troubles()
        maintenance = maintaining(rows, often, directory, troubles=troubles)
        with structlog.testing.capture_logs():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(maintenance.run)
                try:
                    await trio.to_thread.run_sync(postgres.stop)
                    await until(troubles.lines)
                finally:
                    await trio.to_thread.run_sync(postgres.start)
                async with opened(rows.url) as looker:
                    await until(lambda: looker.one("select count(*) from ip_pool_statistics"))
                await until(lambda: not troubles.lines())
                nursery.cancel_scope.cancel()


def test_a_report_reads_well() -> None:
    statistics = {
        "total_ips": 40,
        "available_ips": 30,
        "locked_ips": 5,
        "cooldown_ips": 4,
        "failed_ips": 1,
        "pool_utilization_percent": 23.08,
        "active_requests": 5,
        "completed_requests_1h": 100,
        "failed_requests_1h": 2,
        "requests_queued": 0,
    }
    lines = Report(0, 1, 2, 3, 4, {"active_trace_requests": 4, "hits": 5}, (), statistics).lines()
    assert lines == [
        "IPs: 40 in all, 30 available, 5 locked, 4 in cooldown, 1 failed; 23.08% in use",
        "Traces: 5 active, 100 completed and 2 failed in the last hour, 0 queued",
        "Ended now: 1 locks, 2 cooldowns, 3 traces past their time",
        "Removed, older than their retention: 4 rows of active_trace_requests, 5 rows of hits",
    ]
