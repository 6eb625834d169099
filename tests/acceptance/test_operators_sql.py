"""What operators do in psql while the daemon runs takes effect at once, and breaks no lease."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from daemon.control import socket as control
from daemon.demo.history import check
from tests.fakes.network import FakeNetwork
from tests.support.processes import ADOPTED_S, Clicked, Serving, click, network_of, offer, provision, serving
from tests.support.waiting import PATIENCE_S, until

ADDRESSES = tuple(f"127.2.0.{number}" for number in range(1, 5))
LANDING = "www.shop.example"
RESTING = {"pool": {"failures_max": 1, "cooldown_s": 8}}
RESET = (
    "UPDATE ip_rotation_pool SET is_healthy = true, consecutive_failures = 0, status = 'available'"
    " WHERE is_healthy = false"
)
LOOKS = (
    "SELECT status, COUNT(*) AS count, country FROM ip_rotation_pool WHERE is_healthy = true"
    " GROUP BY status, country ORDER BY country, status",
    "SELECT status, COUNT(*) AS count, AVG(EXTRACT(EPOCH FROM (now() - started_at))) AS avg_duration_seconds"
    " FROM active_trace_requests WHERE started_at > now() - INTERVAL '5 minutes' GROUP BY status",
    "SELECT total_ips, available_ips, locked_ips, pool_utilization_percent, active_requests FROM ip_pool_statistics"
    " ORDER BY recorded_at DESC LIMIT 1",
    "SELECT request_id, status, ip_assigned, trace_time_ms, created_at FROM active_trace_requests"
    " ORDER BY created_at DESC LIMIT 10",
)


async def test_ips_join_by_generate_series_and_by_values_and_leave_by_delete(state_dir: Path) -> None:
    async with serving(state_dir) as daemon:
        await daemon.psql(
            "INSERT INTO ip_rotation_pool (ip_address, ip_port, country, provider)"
            " SELECT '185.199.228.' || generate_series(1, 10), '7000', 'us', 'luna'"
        )
        await counted(daemon, "us", available=10)
        await daemon.psql(
            "INSERT INTO ip_rotation_pool (ip_address, ip_port, country)"
            " VALUES ('test-ip-1', '7000', 'us'), ('test-ip-2', '7000', 'us'), ('test-ip-3', '7000', 'de')"
        )
        await counted(daemon, "us", available=12)
        await counted(daemon, "de", available=1)
        await daemon.psql("DELETE FROM ip_rotation_pool WHERE country = 'de'")
        await counted(daemon, "de", total=0)
        await counted(daemon, "us", total=12)
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def test_a_reset_brings_failed_ips_back_and_an_inactive_offer_is_404(state_dir: Path) -> None:
    async with network_of(ADDRESSES[:2]) as network, serving(state_dir, RESTING) as daemon:
        await provision(daemon, network, network.addresses)
        await offer(daemon, "summer-sale", quick_chain(network))
        for address in network.addresses:
            network.fail(address, "refuse")
        assert not landed(await click(daemon, "summer-sale"))
        await counted(daemon, "us", failed=1, cooldown=1)  # not both failed: the provider is suspected
        assert daemon.status()["providers"]["luna"]["state"] == "suspected"
        for address in network.addresses:
            network.fail(address, None)
        await until(partial(in_step, state_dir), "the rows have what the daemon decided", ADOPTED_S)
        await daemon.psql(RESET)
        await counted(daemon, "us", failed=0)
        await counted(daemon, "us", available=2, within_s=PATIENCE_S)  # after the rest of their last use
        assert landed(await click(daemon, "summer-sale"))

        adoptions = len(daemon.log("offers_adopted"))
        await daemon.psql("UPDATE offers SET is_active = false WHERE offer_name = 'summer-sale'")
        await until(lambda: len(daemon.log("offers_adopted")) > adoptions, "the offer's end is adopted", ADOPTED_S)
        assert (await click(daemon, "summer-sale")).status == 404
        await operators_look(daemon)
        assert await daemon.stop() == 0
        assert [fault["event"] for fault in daemon.faults()] == ["provider_suspected"]


async def test_a_lease_in_flight_outlives_delete_and_update(state_dir: Path) -> None:
    german, british = ADDRESSES[2:]
    async with network_of([german, british]) as network, serving(state_dir) as daemon:
        await provision(daemon, network, [german], "de")
        await provision(daemon, network, [british], "uk")
        slow = network.chain_url(hops=3, delay_ms=500, landing=LANDING)
        await offer(daemon, "german", slow, "de")
        await offer(daemon, "british", slow, "uk")
        clicks: list[Clicked] = []

        async def visit(name: str) -> None:
            clicks.append(await click(daemon, name))

        async with trio.open_nursery() as visitors:
            visitors.start_soon(visit, "german")
            visitors.start_soon(visit, "british")
            await counted(daemon, "de", locked=1)
            await counted(daemon, "uk", locked=1)
            await until(partial(in_step, state_dir), "the rows are locked too", ADOPTED_S)
            adoptions = len(daemon.log("ips_adopted"))
            await daemon.psql("DELETE FROM ip_rotation_pool WHERE country = 'de'")
            await daemon.psql(
                "UPDATE ip_rotation_pool SET status = 'available', locked_until = NULL WHERE country = 'uk'"
            )
            await until(lambda: len(daemon.log("ips_adopted")) > adoptions, "the update is adopted", ADOPTED_S)
            assert clicks == [], "the traces are under way still"
            assert daemon.counts("uk")["locked"] == 1
        assert [landed(clicked) for clicked in clicks] == [True, True]
        await counted(daemon, "de", total=0)
        await counted(daemon, "uk", total=1, locked=0)
        assert await daemon.stop() == 0
        assert daemon.faults() == []
        assert check(network.log.events, cooldown_s=0, addresses=network.addresses) == []


def quick_chain(network: FakeNetwork) -> str:
    return network.chain_url(hops=2, delay_ms=10, landing=LANDING)


def landed(clicked: Clicked) -> bool:
    return clicked.redirected and str(clicked.location).startswith(f"http://{LANDING}/")


async def counted(daemon: Serving, country: str, *, within_s: float = ADOPTED_S, **expected: int) -> None:
    """Fail unless the daemon's status has these counts in time."""

    def holds() -> bool:
        counts = daemon.counts(country)
        return {name: counts.get(name, 0) for name in expected} == expected

    await until(holds, f"{country} has {expected}", within_s)


def in_step(state_dir: Path) -> bool:
    """Whether all journaled entries are in the database."""
    status = control.ask(state_dir, "status")
    return status is not None and status["journal"]["backlog"] == 0


async def operators_look(daemon: Serving) -> None:
    """Run the queries that operators have in their notes; each returns the columns that it names."""
    await trio.to_thread.run_sync(control.ask, daemon.state_dir, "maintenance", PATIENCE_S)
    rows: Sequence[list[list[str]]] = [await daemon.psql(look) for look in LOOKS]
    statuses, traces, statistics, newest = rows
    assert [len(row) for row in statuses] == [3] * len(statuses)
    assert sum(int(row[1]) for row in statuses) == 2
    assert {row[0]: int(row[1]) for row in traces} == {"completed": 1, "failed": 1}
    assert statistics[0][0] == "2"
    assert [len(row) for row in newest] == [5] * 2
    assert newest[0][1] == "completed"
