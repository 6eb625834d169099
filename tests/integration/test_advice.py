"""Advice from real rows: by `status`, by a round, and without the database."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from daemon.clock import Moment
from daemon.database import cluster
from daemon.database.postgres import database_loop
from daemon.errors import DatabaseUnavailable
from daemon.host.clocks import read_clocks
from daemon.maintenance.advisor import Advisor
from daemon.maintenance.evidence import read_active, read_evidence, uses_in
from daemon.maintenance.figures import Evidence, Faults, Slots, Use
from daemon.pool.directory import PoolDirectory
from daemon.pool.states import Ip
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.provider_health import SUSPECTED_S, ProviderHealth
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.ips import an_ip
from tests.fakes.pooler import PACKAGE, pooler
from tests.fakes.pools import PlayedPools
from tests.fakes.relay import open_relay, socket_url
from tests.fakes.reports import report_of
from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer, Rows, fresh_database, opened
from tests.support.needs import need

NOW_S = 1_700_000_000.0
FULL_MINUTES = """
insert into ip_pool_statistics (recorded_at, total_ips, available_ips, locked_ips, cooldown_ips, failed_ips,
    pool_utilization_percent, active_requests, completed_requests_1h, failed_requests_1h, country_breakdown)
select now() - make_interval(mins => age), 40, 4, 6, 30, 0, 90, 6, 0, 0,
       '{"us": {"total": 40, "available": 4, "locked": 6, "cooldown": 30, "failed": 0, "utilization_percent": 90}}'
from generate_series(0, 6) age
"""


async def evidence(rows: Rows) -> Evidence:
    return await rows.database.work(read_evidence, NOW_S, Settings())


async def test_empty_tables_are_no_evidence(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        assert replace(await evidence(rows), connections_max=None) == Evidence()
        assert await rows.database.work(read_active) == {}


async def test_statistics_become_samples_and_peaks(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(FULL_MINUTES)
        await rows.sql(
            "update ip_pool_statistics set recorded_at = now() - interval '20 hours', country_breakdown ="
            " jsonb_set(country_breakdown, '{us,utilization_percent}', '95') where id = 1"
        )
        found = await evidence(rows)
        ages = [NOW_S - sample.recorded_s for sample in found.samples]
        assert ages == pytest.approx([60, 120, 180, 240, 300, 360], abs=10)
        assert found.samples[0].pool == Use(90, 36, 40)
        assert found.samples[0].countries == {"us": Use(90, 36, 40)}
        assert found.peaks["us"].percent == 95
        assert found.peaks["us"].busy == 36
        assert found.peaks["us"].hours == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize(
    "breakdown",
    ['[]', '{"us": 3}', '{"us": {}}', '{"us": {"total": "many", "locked": 1}}',
     '{"us": {"total": 1, "locked": 0, "cooldown": 0, "failed": 0, "utilization_percent": null}}'],
)  # fmt: skip
async def test_a_breakdown_that_is_not_the_daemons_own_is_passed_over(postgres: PostgresServer, breakdown: str) -> None:
    assert uses_in(breakdown) == {}
    async with fresh_database(postgres) as rows:
        await rows.sql(FULL_MINUTES)
        await rows.sql("update ip_pool_statistics set country_breakdown = $1::text::jsonb", breakdown)
        found = await evidence(rows)
        assert len(found.samples) == 7
        assert found.peaks == {}


async def test_traces_become_demand_landings_faults_and_refusals(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_offer("quick")
        await rows.add_offer("slow", deadline_s=20)
        await rows.sql(
            "insert into active_trace_requests (tracking_url, offer_id, target_country, status, verdict, provider,"
            " trace_time_ms, bytes_received, ip_unused_s, created_at)"
            " select 'https://a.example', (select id from offers where offer_name = offer), country, status, verdict,"
            " 'luna', ms, 10000, unused, now() - age * interval '1 minute'"
            " from (values ('quick', 'us', 'completed', 'ok', 5000, 70.0, 1.0),"
            " ('quick', 'USA', 'completed', 'ok', 15000, 500.0, 2.0),"
            " ('slow', 'us', 'completed', 'ok', 15000, null, 3.0),"
            " ('slow', 'uk', 'failed', 'ip', 5000, 75.0, 4.0),"
            " ('slow', 'uk', 'failed', 'credentials', 10000, 100.0, 30.0),"
            " ('slow', 'uk', 'completed', 'ok', 500, 75.0, 90.0)) v (offer, country, status, verdict, ms, unused, age)"
        )
        await rows.sql("insert into active_trace_requests (tracking_url, target_country) values ('https://a.e', 'GB')")
        await rows.sql(
            "insert into hits (request_id, offer_name, outcome, reason, location, wait_ms)"
            " select gen_random_uuid(), 'o', 'fallback', reason, 'https://a.example', 1"
            " from (values ('deadline'), ('deadline'), ('no_ip')) v (reason)"
        )
        found = await evidence(rows)
        us = found.demands["us"]
        assert us.per_minute == pytest.approx(2 / 3 + 1 / 2, rel=0.1)
        assert us.trace_s == pytest.approx(35 / 3)
        assert found.demands["uk"].trace_s == pytest.approx(5)
        landings = found.landings
        assert (landings.traces, landings.late) == (3, 1)
        assert (landings.late_offer, landings.late_of_offer) == ("quick", 1)
        assert (landings.p50_s, landings.p95_s) == pytest.approx((15, 15))
        assert found.gave_up == 2
        # Unused for 70, 75 and 100 s, minus a mean trace of 10 s. Up to 90 s: barely rested; from 180 s: well.
        assert found.barely_rested == Faults(3, 1)
        assert found.well_rested == Faults(2, 0)
        assert (found.credentials_refused, found.refused_in) == ({"luna": 1}, {"luna": "uk"})
        assert (found.traffic.offer, found.traffic.provider) == ("slow", "luna")
        assert (found.traffic.traces, found.traffic.bytes_per_trace) == (5, 10000)
        assert found.traffic.usual_bytes_per_trace is None
        assert await rows.database.work(read_active) == {"uk": 1}


async def test_what_a_trace_usually_receives_is_the_median_of_days_before(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(FULL_MINUTES)
        await rows.sql(
            "update ip_pool_statistics set recorded_at = now() - id * interval '10 hours',"
            " bytes_per_trace_1h = 1000 * id"
        )
        spent = (await evidence(rows)).traffic
        assert spent.usual_bytes_per_trace == 4000
        assert spent.usual_hours == pytest.approx(60, abs=0.1)


async def test_slots_are_told_from_addresses(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(
            "insert into ip_rotation_pool (ip_address, country, provider) values ('luna-us-1', 'us', 'luna'),"
            " ('luna-us-30', 'us', 'luna'), ('soax-us-99', 'us', 'soax'), ('192.0.2.7', 'uk', 'own'),"
            " ('luna-us-2', 'uk', 'own')"
        )
        assert (await evidence(rows)).slots == {"us": Slots("luna", 30), "uk": Slots("own", None)}


async def test_the_rows_of_nodes_and_ips_become_facts_of_nodes(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(
            "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version, figures, draining,"
            " draining_at, started_at)"
            " select gen_random_uuid(), name, 1, gen_random_uuid(), state, now() + trusted * interval '1 second', 160,"
            " '1.0', figures::jsonb, since is not null, now() - since * interval '1 second', now() - interval '1 hour'"
            " from (values ('a', 'active', 860.0, '{\"trust_s\": 900, \"settings\": {\"pool.lock_s\": 90}}', null),"
            " ('b', 'active', 899.0, '{}', 2000.0), ('c', 'removed', -5.0, '{\"trust_s\": 900}', null),"
            " ('d', 'left', -5.0, '{}', null)) v (name, state, trusted, figures, since)"
        )
        await rows.sql(
            "insert into ip_rotation_pool (ip_address, node_id, set_aside, created_at, updated_at)"
            " select 'ip-' || n, (select node_id from nodes where name = owner), aside, now() - age, now() - age"
            " from (values (1, 'a', null, interval '1 hour'), (2, 'a', null, interval '1 hour'),"
            " (3, null, null, interval '2 minutes'), (4, null, null, interval '10 seconds'),"
            " (5, null, 'no endpoint', interval '1 hour')) v (n, owner, aside, age)",
            own=True,
        )
        found = await evidence(rows)
        a, b, c = found.nodes
        assert [node.name for node in found.nodes] == ["a", "b", "c"]
        assert (a.ips, b.ips, c.ips, found.nobodys_ips) == (2, 0, 0, 1)
        assert (a.trusted_for_s, a.seen_s_ago, a.up_s) == pytest.approx((860, 40, 3600), abs=10)
        assert a.free_at_s == pytest.approx(NOW_S + 860 + 160, abs=10)
        assert (a.settings, b.settings) == ({"node.trust_s": 900, "pool.lock_s": 90}, {})
        assert (a.draining_s, c.state) == (None, "removed")
        assert (b.draining_s, c.seen_s_ago) == pytest.approx((2000, 5), abs=10)


def directory_with(*ips: Ip) -> PoolDirectory:
    directory = PlayedPools().directory
    directory.open("us", list(ips))
    return directory


@pytest.mark.slow
async def test_an_advisor_goes_by_the_tables_and_its_memory_and_logs_what_is_new(postgres: PostgresServer) -> None:
    live, providers, now = LiveSettings(Settings()), ProviderHealth(), read_clocks()
    async with fresh_database(postgres) as rows:
        directory = directory_with(an_ip())
        advisor = Advisor(rows.database, live, report_of(live, directory, providers=providers), read_clocks)
        assert await advisor.refresh() == ()
        providers.spared("luna", "us", now)
        assert [advice.code for advice in await advisor.refresh()] == ["provider_suspected"]
        providers.trace("luna", Verdict.OK, Moment(now.tick_s + SUSPECTED_S, now.wall_s))
        assert await advisor.refresh() == ()
        await rows.sql(FULL_MINUTES)
        with structlog.testing.capture_logs() as logs:
            [advice] = await advisor.refresh()
            await advisor.refresh()
            assert (advice.code, advice.about) == ("utilisation_high", "us")
            try:
                await trio.to_thread.run_sync(postgres.stop)
                with pytest.raises(DatabaseUnavailable):
                    await advisor.refresh()
                assert advisor.advice() == (advice,), "what is known is still said"
            finally:
                await trio.to_thread.run_sync(postgres.start)
            await rows.sql("delete from ip_pool_statistics")
            assert await advisor.refresh() == ()
        assert [(line["event"], line["about"]) for line in logs] == [("advice", "us")]


async def test_behind_a_pooler_the_servers_limit_of_connections_does_not_count(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    need(PACKAGE)
    async with fresh_database(postgres) as rows:
        assert (await evidence(rows)).connections_max
    async with (
        open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay,
        pooler("transaction", relay.port, tmp_path) as port,
        database_loop(),
        opened(socket_url(port)) as rows,
    ):
        assert (await evidence(rows)).connections_max is None


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


def test_status_and_the_report_advise_without_a_daemon(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, status, locked_until) select 'luna-us-' || n, 'cooldown',"
        " now() + interval '1 hour' from generate_series(1, 40) n"
    )
    tracepool.sql(FULL_MINUTES)
    found = tracepool("status", "--json").json
    advice: dict[str, Any] = {one["code"]: one for one in found["advice"]}
    assert set(advice) == {"utilisation_high"}
    assert advice["utilisation_high"]["numbers"]["minutes_above"] == 7
    command = advice["utilisation_high"]["command"]
    assert command == "tracepool provision generate --country us --count 56 --provider luna"
    said = tracepool("status").out
    assert "warning: The us pool has been more than 80% in use for 7 of the last 10 minutes, up to 90%" in said
    assert f"next: {command}" in said
    report = tracepool("maintenance", "--json").json
    assert [one["code"] for one in report["advice"]] == ["utilisation_high"]
    assert json.dumps(report)
    assert "Next: tracepool provision generate" in tracepool("maintenance").out
    assert tracepool(*command.split()[1:]).out.startswith("added 16, skipped 40")
