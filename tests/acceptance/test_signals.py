"""A daemon that is stopped or killed under load, seen by its visitors, its database and the ad network."""

import signal
import time
from pathlib import Path

import psutil
import trio

from daemon.demo.history import check
from tests.acceptance.load import under_load
from tests.support.processes import (
    Clicked,
    Serving,
    click,
    database_of,
    end_of,
    engines_of,
    is_alive,
    network_of,
    offer,
    processes_in,
    provision,
    psql,
    serving,
)
from tests.support.waiting import until

CLICKS_PER_S = 20.0
COOLDOWN_S = 60.0
LANDING = "www.shop.example"


def addresses(count: int) -> tuple[str, ...]:
    return tuple(f"127.2.0.{number}" for number in range(1, count + 1))


def resolved(clicked: Clicked) -> bool:
    return clicked.redirected and str(clicked.location).startswith(f"http://{LANDING}/")


async def engines_running(daemon: Serving, count: int = 1) -> list[psutil.Process]:
    """The daemon's engines with the processes of their next pages, once there are so many engines."""
    return list(await until(lambda: len(found := engines_of(daemon.process.pid)) == 2 * count and found, "its engines"))


async def ids_in(url: str, table: str) -> list[str]:
    return sorted(row[0] for row in await psql(url, f"SELECT request_id FROM {table}"))


async def test_sigterm_under_load_answers_every_click_in_flight_and_forgets_nothing(state_dir: Path) -> None:
    async with network_of(addresses(250)) as network, serving(state_dir) as daemon:
        await provision(daemon, network, network.addresses)
        engines = await engines_running(daemon)
        await offer(daemon, "summer-sale", network.chain_url(hops=3, delay_ms=150, landing=LANDING))
        async with under_load(daemon, "summer-sale", CLICKS_PER_S, at_least=30) as load:
            signalled_s = time.monotonic()
            assert await daemon.stop() == 0
        accepted = [clicked for clicked in load.clicks if clicked.sent_s < signalled_s]
        assert any(clicked.answered_s > signalled_s for clicked in accepted), "none was in flight"
        assert [clicked for clicked in accepted if not resolved(clicked)] == []
        assert daemon.faults() == []
        answered = sorted(str(clicked.request_id) for clicked in load.redirected())
        assert processes_in(state_dir) == []
        assert [engine for engine in engines if is_alive(engine)] == []
        async with database_of(state_dir) as url:
            assert await ids_in(url, "hits") == answered
            assert await ids_in(url, "active_trace_requests WHERE status = 'completed'") == answered
            assert await ids_in(url, "active_trace_requests") == answered
            assert await psql(url, "SELECT ip_address FROM ip_rotation_pool WHERE status = 'locked'") == []
            assert await psql(url, "SELECT sum(total_uses) FROM ip_rotation_pool") == [[str(len(answered))]]
        assert check(network.log.events, cooldown_s=COOLDOWN_S, addresses=network.addresses) == []


async def test_a_second_sigterm_ends_it_at_once(state_dir: Path) -> None:
    settings = {"click": {"deadline_s": 60}}
    async with network_of(addresses(1)) as network, serving(state_dir, settings) as daemon:
        await provision(daemon, network, network.addresses)
        await offer(daemon, "slow-boat", network.chain_url(hops=5, delay_ms=20_000, landing=LANDING))
        async with trio.open_nursery() as visitors:
            visitors.start_soon(click, daemon, "slow-boat")
            await until(lambda: daemon.counts("us")["locked"] == 1, "the trace is under way")
            daemon.process.send_signal(signal.SIGTERM)
            await daemon.logged("stopping")
            assert daemon.process.poll() is None, "it waits for the click"
            daemon.process.send_signal(signal.SIGTERM)
            assert await end_of(daemon.process) == 0  # far below the click's deadline
            visitors.cancel_scope.cancel()
        assert daemon.faults() == []
        assert processes_in(state_dir) == []


async def test_after_a_kill_under_load_what_was_locked_rests_and_every_answer_is_on_record(state_dir: Path) -> None:
    settings: dict[str, dict[str, object]] = {"click": {"deadline_s": 2}, "pool": {"cooldown_s": COOLDOWN_S}}
    async with network_of(addresses(60)) as network:
        async with serving(state_dir, settings) as first:
            await provision(first, network, network.addresses)
            engines = await engines_running(first)
            await offer(first, "summer-sale", network.chain_url(hops=3, delay_ms=100, landing=LANDING))
            async with under_load(first, "summer-sale", CLICKS_PER_S, at_least=20) as load:
                late_hits = (await trio.to_thread.run_sync(first.status))["journal"]["late_hits"]
                await first.stop(signal.SIGKILL)
            await until(lambda: not any(map(is_alive, engines)), "the engines have ended")
            answered = {str(clicked.request_id) for clicked in load.redirected()}
            used = {event.address for event in network.log.of_origin()}
        async with serving(state_dir, settings) as second:
            assert [line["started"] for line in second.log("embedded_database")] == [False], "its server ran on"
            await only_rested_ips_are_available(second, used)
            # More clicks than IPs without a cooldown are left: an IP that is leased too soon is leased now.
            async with under_load(second, "summer-sale", CLICKS_PER_S, at_least=50) as more:
                pass
            answered |= {str(clicked.request_id) for clicked in more.redirected()}
            assert any(resolved(clicked) for clicked in more.clicks)
            assert any(not resolved(clicked) for clicked in more.clicks)
            assert await second.stop() == 0
            assert second.faults() == []
        assert check(network.log.events, cooldown_s=COOLDOWN_S, addresses=network.addresses) == []
        async with database_of(state_dir) as url:
            missing = answered - set(await ids_in(url, "hits"))
            assert len(missing) <= late_hits, "a hit is durable before its redirect, unless it was counted as late"


async def only_rested_ips_are_available(daemon: Serving, used: set[str]) -> None:
    rows = await daemon.psql("SELECT ip_address, status, locked_until > now() FROM ip_rotation_pool")
    states = {address: (status, waits) for address, status, waits in rows}
    assert {states[address][0] for address in used} <= {"locked", "cooldown"}
    assert {states[address][1] for address in used} == {"t"}
    busy = sum(status in ("locked", "cooldown") for status, _ in states.values())
    counts = daemon.counts("us")
    assert counts["locked"] + counts["cooldown"] == busy
