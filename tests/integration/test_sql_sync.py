"""The running daemon takes over operators' SQL within a moment, and no lease is broken."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog
import trio

from daemon.offers.model import Offer
from daemon.offers.param_rules import ParamRules
from daemon.pool.messages import Lease, NoIPAvailable
from daemon.pool.states import Status
from daemon.sql_sync import concerning, edits_in
from tests.integration.databases import PostgresServer, opened
from tests.integration.pools import daemon_on
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until

ADD_THREE = "insert into ip_rotation_pool (ip_address) select 'ip-' || generate_series(1, 3)"
ADD_ONE = "insert into ip_rotation_pool (ip_address) values ('ip-1')"


@pytest.mark.slow
async def test_rows_inserted_by_series_join(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.sql(
            "INSERT INTO ip_rotation_pool (ip_address, ip_port, country, provider)"
            " SELECT '185.199.228.' || generate_series(1, 10), '7000', 'us', 'luna';"
        )
        await until(lambda: daemon.counts("us").available == 10, patience_s=1)
        await daemon.lease("us")


async def test_rows_inserted_by_values_join_and_a_new_country_gets_its_actor(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.sql(
            "INSERT INTO ip_rotation_pool (ip_address, ip_port, country)"
            " VALUES ('test-ip-1', '7000', 'us'), ('test-ip-2', '7000', ' GB ');"
        )
        await until(lambda: daemon.counts("us").available == daemon.counts("uk").available == 1, patience_s=1)
        assert (await daemon.lease("uk")).address == "test-ip-2"


async def test_a_health_reset_makes_failed_ips_available(postgres: PostgresServer, tmp_path: Path) -> None:
    failed = "update ip_rotation_pool set status = 'failed', is_healthy = false, consecutive_failures = 5"
    async with daemon_on(postgres, tmp_path, ADD_THREE, failed) as daemon:
        assert daemon.counts("us").failed == 3
        await daemon.rows.sql(
            "UPDATE ip_rotation_pool SET is_healthy = true, consecutive_failures = 0, status = 'available'"
            " WHERE is_healthy = false;"
        )
        await until(lambda: daemon.counts("us").available == 3, patience_s=1)
        assert {ip.consecutive_failures for ip in daemon.ips("us")} == {0}
        await daemon.until_row("ip-1", status="available", is_healthy=True, consecutive_failures=0)


async def test_status_available_alone_is_a_reset_too(postgres: PostgresServer, tmp_path: Path) -> None:
    failed = "update ip_rotation_pool set status = 'failed', is_healthy = false, consecutive_failures = 5"
    async with daemon_on(postgres, tmp_path, ADD_ONE, failed) as daemon:
        await daemon.rows.sql("UPDATE ip_rotation_pool SET status = 'available'")
        await until(lambda: daemon.counts("us").available == 1, patience_s=1)
        await daemon.until_row("ip-1", status="available", is_healthy=True, consecutive_failures=0)


async def test_is_healthy_false_alone_takes_an_ip_out_of_use(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.rows.sql("UPDATE ip_rotation_pool SET is_healthy = false")
        await until(lambda: daemon.counts("us").failed == 1, patience_s=1)
        assert isinstance(await daemon.acquire("us", patience_s=0.05), NoIPAvailable)
        await daemon.until_row("ip-1", status="failed", is_healthy=False)


async def test_deleted_rows_leave(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE, "update ip_rotation_pool set country = 'de'") as daemon:
        await daemon.rows.sql("DELETE FROM ip_rotation_pool WHERE country = 'de';")
        await until(lambda: daemon.counts("de").total == 0, patience_s=1)
        assert daemon.directory.find("de") is None
        assert daemon.directory.known("de") is not None, "the actor stays"
        await daemon.rows.sql("insert into ip_rotation_pool (ip_address, country) values ('ip-9', 'de')")
        await until(lambda: daemon.counts("de").available == 1, patience_s=1)


async def test_truncate_empties_every_pool(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        await daemon.rows.sql("truncate ip_rotation_pool")
        await until(lambda: daemon.counts("us").total == 0, patience_s=1)


async def test_a_row_that_changes_its_country_changes_its_pool(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        await daemon.rows.sql("update ip_rotation_pool set country = 'UK' where ip_address = 'ip-2'")
        await until(lambda: daemon.statuses("uk") == {"ip-2": "available"}, patience_s=1)
        assert sorted(daemon.statuses("us")) == ["ip-1", "ip-3"]


async def test_an_ip_in_use_that_changes_its_country_is_not_lent_twice(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        lease = await daemon.lease("us")
        await daemon.rows.sql("update ip_rotation_pool set country = 'uk'")
        await until(lambda: daemon.counts("uk").total == 1, patience_s=1)
        assert daemon.counts("uk").available == 0
        await daemon.release(lease)
        await until(lambda: daemon.counts("us").total == 0)
        assert isinstance(await daemon.acquire("uk", patience_s=0.05), NoIPAvailable)


async def test_a_new_primary_key_is_the_same_ip_and_not_lent_twice(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.lease("us")
        await daemon.rows.sql("update ip_rotation_pool set id = gen_random_uuid()")
        [row] = await daemon.rows.sql("select id from ip_rotation_pool")
        await until(lambda: row["id"] in {ip.id for ip in daemon.ips("us")}, patience_s=1)
        assert isinstance(await daemon.acquire("us", patience_s=0.05), NoIPAvailable)


async def test_a_row_deleted_and_inserted_again_at_once_keeps_its_rest(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.lease("us")
        waiting = trio.Event()
        answers: list[Lease | NoIPAvailable] = []

        async def wait_for_an_ip() -> None:
            waiting.set()
            answers.append(await daemon.acquire("us", patience_s=1.5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_an_ip)
            await waiting.wait()
            await daemon.rows.sql(f"delete from ip_rotation_pool; {ADD_ONE}")
        assert isinstance(answers[0], NoIPAvailable)
        await until(lambda: daemon.statuses("us") == {"ip-1": "cooldown"} or daemon.counts("us").total == 2)


async def test_a_lease_in_flight_survives_every_edit_of_its_row(postgres: PostgresServer, tmp_path: Path) -> None:
    edits = (
        "update ip_rotation_pool set status = 'available', locked_until = null",
        "update ip_rotation_pool set status = 'failed', is_healthy = false",
        "update ip_rotation_pool set is_healthy = true, status = 'cooldown'",
        "update ip_rotation_pool set consecutive_failures = 4, provider = 'other'",
    )
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        lease = await daemon.lease("us")
        for edit in edits:
            await daemon.rows.sql(edit)
            number = await daemon.rows.one("select max(edit_no) from ip_rotation_pool")
            await until(lambda number=number: daemon.ips("us")[0].edit_no == number, patience_s=1)  # type: ignore[misc]
            [ip] = daemon.ips("us")
            assert (ip.status, ip.lease_no) == (Status.LOCKED, lease.lease_no), edit
            await daemon.until_row("ip-1", status="locked", locked_by_request=lease.request_id)
        await daemon.release(lease)
        await until(lambda: daemon.statuses("us") == {"ip-1": "cooldown"})
        assert daemon.ips("us")[0].success_count == 1
        await daemon.until_row("ip-1", status="cooldown", success_count=1, provider="other")


async def test_a_row_deleted_in_use_is_used_to_the_end_of_its_lease(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        lease = await daemon.lease("us")
        await daemon.rows.sql("delete from ip_rotation_pool")
        await until(lambda: [ip.leaving for ip in daemon.ips("us")] == [True], patience_s=1)
        with structlog.testing.capture_logs() as logs:
            await daemon.release(lease)
            await until(lambda: daemon.counts("us").total == 0)
        assert "lease_lost" not in {line["event"] for line in logs}


async def test_a_rest_is_not_cut_short_by_an_edit(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.release(await daemon.lease("us"))
        await daemon.until_row("ip-1", status="cooldown")
        await daemon.rows.sql("update ip_rotation_pool set status = 'available', locked_until = null")
        await daemon.until_row("ip-1", status="cooldown")
        assert isinstance(await daemon.acquire("us", patience_s=0.05), NoIPAvailable)


async def test_notes_are_no_edit_and_the_daemons_own_writes_are_not_announced(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        before = await daemon.rows.one("select array_agg(edit_no order by edit_no) from ip_rotation_pool")
        with structlog.testing.capture_logs() as logs:
            await daemon.rows.sql("update ip_rotation_pool set notes = 'from the reseller'")
            await daemon.release(await daemon.lease("us"))
            await daemon.journal.flush()
            await daemon.rows.add_offer("later")  # earlier announcements have been received before this one
            await until(lambda: len(daemon.offers) == 1)
        assert not [line for line in logs if line["event"] in ("ips_adopted", "ips_removed")]
        after = await daemon.rows.one("select array_agg(edit_no order by edit_no) from ip_rotation_pool")
        assert after == before


async def test_offers_come_change_and_go(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.add_offer("summer-sale", target_country="uk", deadline_s=5.0, landing_schemes=["Market"])
        await until(lambda: daemon.offers.find("summer-sale"), patience_s=1)
        offer = daemon.offers.find("summer-sale")
        assert offer is not None
        assert (offer.country, offer.deadline_s, offer.landing_schemes) == ("uk", 5.0, frozenset({"market"}))
        await daemon.rows.sql("UPDATE offers SET is_active = false WHERE offer_name = 'summer-sale';")
        await until(lambda: daemon.offers.find("summer-sale") is None, patience_s=1)
        await daemon.rows.sql("UPDATE offers SET is_active = true, final_url = 'https://other.example/'")
        await until(
            lambda: (o := daemon.offers.find("summer-sale")) and o.targets[0].url == "https://other.example/",
            patience_s=1,
        )
        await daemon.rows.sql("truncate offers")
        await until(lambda: len(daemon.offers) == 0, patience_s=1)


async def test_an_offer_that_cannot_be_used_is_named_and_the_others_serve(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        with structlog.testing.capture_logs() as logs:
            await daemon.rows.sql(
                "insert into offers (offer_name, final_url)"
                " values ('bad', 'javascript:alert(1)'), ('good', 'https://ads.example/go')"
            )
            await until(lambda: daemon.offers.find("good"), patience_s=1)
        assert daemon.offers.find("bad") is None
        assert ["bad" in line["why"] for line in logs if line["event"] == "offer_unusable"] == [True]


async def test_edits_of_parameters_and_urls_reach_the_running_offers(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.add_offer("sale")
        await until(lambda: daemon.offers.find("sale"), patience_s=1)

        async def edited(changes: str) -> Offer:
            before = daemon.offers.find("sale")
            await daemon.rows.sql(f"update offers set {changes}")
            await until(lambda: daemon.offers.find("sale") not in (None, before), patience_s=1)
            offer = daemon.offers.find("sale")
            assert offer is not None
            return offer

        offer = await edited("""stop_at = '{shop.example}', param_filter = '{"keep": ["gclid"]}',
            rename = '{"gclid": "sub1"}', trace_backend = 'service',
            tracking_urls = '[{"url": "https://a.example/{gclid}", "weight": 3}, {"url": "https://b.example/"}]'""")
        assert (offer.stop_at, offer.trace_backend) == (frozenset({"shop.example"}), "service")
        assert offer.param_rules == ParamRules(keep=frozenset({"gclid"}), rename={"gclid": "sub1"})
        assert ([target.url for target in offer.targets], offer.cuts) == (
            ["https://a.example/{gclid}", "https://b.example/"],
            (0.75,),
        )
        offer = await edited("""param_filter = '{"drop": ["x"]}', tracking_urls = null, stop_at = '{}'""")
        assert (offer.param_rules.drop, len(offer.targets), offer.stop_at) == (frozenset({"x"}), 1, frozenset())
        offer = await edited("param_filter = null, rename = null, trace_backend = 'default', stop_at = null")
        assert (offer.param_rules, offer.trace_backend) == (ParamRules(), None)


async def test_a_value_that_slipped_in_is_told_and_its_offer_goes_on(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.sql("alter table offers drop constraint offers_rename_maps_names_to_names")
        with structlog.testing.capture_logs() as logs:
            await daemon.rows.add_offer("sale", rename="[1]")
            await until(lambda: daemon.offers.find("sale"), patience_s=1)
        [line] = [line for line in logs if line["event"] == "offer_value_ignored"]
        assert line["why"].startswith("offer 'sale': rename must be an object such as")
        assert "offer_unusable" not in {line["event"] for line in logs}


@pytest.mark.parametrize("country", ["event", "level", "self", "exc_info", "'; drop table offers; --", "ДЕ"])
async def test_a_country_may_have_any_name(postgres: PostgresServer, tmp_path: Path, country: str) -> None:
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.add_ip("ip-1", country=country)
        await until(lambda: daemon.counts(country).available == 1, patience_s=1)
        await daemon.rows.sql("delete from ip_rotation_pool")
        await until(lambda: daemon.counts(country).total == 0, patience_s=1)


async def test_after_a_lost_connection_everything_is_compared(postgres: PostgresServer, tmp_path: Path) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon:
        await trio.to_thread.run_sync(postgres.end_sessions, daemon.rows.url)
        # There may be no listener now: announcements are lost.
        async with opened(daemon.rows.url) as operator:
            await operator.sql("delete from ip_rotation_pool where ip_address = 'ip-1'")
            await operator.sql("insert into ip_rotation_pool (ip_address) values ('ip-4')")
            await operator.add_offer("later")
        await until(lambda: sorted(daemon.statuses("us")) == ["ip-2", "ip-3", "ip-4"], patience_s=5)
        await until(lambda: daemon.offers.find("later"), patience_s=5)


async def test_a_silent_connection_is_asked_for_a_sign_of_life(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.sql_sync.CHECK_S", 0.05)
    asked = "select count(*) from pg_stat_activity where datname = current_database() and query = 'select 1'"
    async with daemon_on(postgres, tmp_path) as daemon:

        async def was_asked() -> bool:
            return bool(await daemon.rows.one(asked))

        await until(was_asked)
        await daemon.rows.sql(ADD_ONE)
        await until(lambda: daemon.counts("us").available == 1, patience_s=1)


async def test_more_announcements_than_fit_lead_to_a_comparison(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.database.postgres.NOTIFICATIONS_MAX", 3)
    async with daemon_on(postgres, tmp_path) as daemon:
        await daemon.rows.sql(
            "do $$ begin for n in 1..40 loop"
            " insert into ip_rotation_pool (ip_address) values ('ip-' || n); end loop; end $$"
        )
        await until(lambda: daemon.counts("us").available == 40, patience_s=5)


async def test_locks_and_rests_go_on_after_a_restart_by_the_wall_clock(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    locked = "update ip_rotation_pool set status = 'locked', locked_until = now()"
    async with daemon_on(
        postgres,
        tmp_path,
        ADD_THREE,
        f"{locked} + interval '1 s' where ip_address = 'ip-1'",
        f"{locked} - interval '29.5 s' where ip_address = 'ip-2'",
        "update ip_rotation_pool set status = 'cooldown', locked_until = 'infinity' where ip_address = 'ip-3'",
    ) as daemon:
        await until(lambda: daemon.statuses("us") == {"ip-1": "locked", "ip-2": "cooldown", "ip-3": "available"})
        await until(lambda: daemon.statuses("us") == {"ip-1": "cooldown", "ip-2": "available", "ip-3": "available"})


def test_an_announcement_may_be_for_one_node_alone() -> None:
    me, other = uuid4(), uuid4()
    assert concerning(f"3 7 {me}", me) == "3 7"
    assert concerning(f"3 7 {other}", me) is None
    for payload in ("3 7", "gone", "", "3 7 9", f"{me}"):
        assert concerning(payload, me) == payload


@pytest.mark.parametrize(
    "payload",
    ["", "free text", "1", "1 2 3", "2 1", "-1 5", "1 99999999999999999999", "٣ ٤", "gone ", "x" * 7_900],
    ids=lambda payload: payload[:12],
)
async def test_a_notification_that_cannot_be_read_means_compare_everything(
    postgres: PostgresServer, tmp_path: Path, payload: str
) -> None:
    assert edits_in(payload) is None
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.rows.sql("alter table ip_rotation_pool disable trigger user")
        await daemon.rows.sql("insert into ip_rotation_pool (ip_address) values ('ip-2')")
        with structlog.testing.capture_logs() as lines:
            await daemon.rows.one("select pg_notify('tracepool_ips', $1)", payload)
            await until(lambda: daemon.counts("us").available == 2)
        [line] = [line for line in lines if line["event"] == "notification_unreadable"]
        assert line["payload"] == payload[:40]
        await daemon.lease("us")


@pytest.mark.slow
async def test_notifications_without_end_leave_time_for_the_clicks_and_edits_still_arrive(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with daemon_on(postgres, tmp_path, ADD_THREE) as daemon, opened(daemon.rows.url) as stranger:
        stop = trio.Event()

        async def flood() -> None:
            while not stop.is_set():
                await stranger.sql(
                    "select pg_notify(channel, n::text) from generate_series(1, 300) n,"
                    " unnest(array['tracepool_ips', 'tracepool_offers']) channel"
                )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for number in range(4, 7):
                await daemon.lease("us")
                await daemon.rows.add_ip(f"ip-{number}")
                await until(lambda number=number: daemon.counts("us").total == number)  # type: ignore[misc]
            stop.set()


async def test_behind_a_pooler_edits_that_nobody_announces_are_found_by_polling(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda conn: 1)  # of the pooler
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.rows.sql(
            "drop trigger announce_insert on ip_rotation_pool; drop trigger announce_offers on offers"
        )
        await daemon.rows.sql("drop trigger announce_delete on ip_rotation_pool")
        await daemon.rows.sql("insert into ip_rotation_pool (ip_address) values ('ip-2')")
        await until(lambda: daemon.counts("us").available == 2)
        await daemon.rows.add_offer("quiet")
        await until(lambda: daemon.offers.find("quiet"))
        await daemon.rows.sql("delete from ip_rotation_pool")
        await until(lambda: daemon.counts("us").total == 0)


async def test_a_table_that_is_missing_for_a_while_is_waited_for(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("statement_refused")
    async with daemon_on(postgres, tmp_path, ADD_ONE) as daemon:
        await daemon.rows.sql("alter table ip_rotation_pool rename to elsewhere")
        await daemon.rows.one("select pg_notify('tracepool_ips', '')")
        await until(daemon.journal.troubles.lines)
        assert any('relation "ip_rotation_pool" does not exist' in line for line in daemon.journal.troubles.lines())
        await daemon.lease("us")
        await daemon.rows.sql("alter table elsewhere rename to ip_rotation_pool")
        await daemon.rows.add_ip("ip-2")
        await until(lambda: daemon.counts("us").total == 2)
        await until(lambda: not daemon.journal.troubles.lines())
