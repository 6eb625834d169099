"""After a crash no proxy is used before its rest is over, whatever was done to the rows and the clock meanwhile."""

import json
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio

from daemon.demo.history import check
from daemon.journal.spool import FILE
from tests.acceptance.test_operators_sql import LANDING, landed
from tests.fakes.network import FakeNetwork
from tests.support.processes import Serving, click, network_of, offer, provision, serving
from tests.support.waiting import until

COOLDOWN_S, LOCK_S = 12.0, 5.0
SETTINGS = {
    "pool": {"cooldown_s": COOLDOWN_S, "lock_s": LOCK_S},
    "trace": {"timeout_s": LOCK_S - 1, "allow_private": True},
    "click": {"deadline_s": 20.0},
}
COUNTRIES = ("us", "de", "uk", "fr", "nl", "it", "es")
# An IP per country, the last one for a swap with it.
ADDRESSES = tuple(f"127.4.0.{number}" for number in range(1, len(COUNTRIES) + 2))
US, DE, UK, FR, NL, IT, ES, SECOND = ADDRESSES
HOUR_S = 3_600.0


def changes_of(port: int) -> list[str]:
    """What operators do to the rows while no daemon runs, by country."""
    return [
        f"update ip_rotation_pool set ip_address = 'aside' where ip_address = '{US}'",  # the rows of us swap
        f"update ip_rotation_pool set ip_address = '{US}' where ip_address = '{SECOND}'",
        f"update ip_rotation_pool set ip_address = '{SECOND}' where ip_address = 'aside'",
        "delete from ip_rotation_pool where country = 'de'",
        f"insert into ip_rotation_pool (ip_address, ip_port, country) values ('{DE}', '{port}', 'de')",
        "update ip_rotation_pool set status = 'available', locked_until = null where country = 'uk'",
        "update ip_rotation_pool set ip_address = 'aside' where country = 'fr'",
        f"update ip_rotation_pool set ip_address = '{FR}', status = 'available' where country = 'fr'",
        "update ip_rotation_pool set country = 'be', status = 'available' where country = 'nl'",
        f"insert into ip_rotation_pool (ip_address, ip_port, country) values ('{IT}', '{port}', 'it')",
        "update ip_rotation_pool set status = 'available', locked_until = null, last_used_at = null"
        " where country = 'es'",
    ]


async def lands(daemon: Serving, name: str) -> float:
    """When the first click of an offer landed."""
    clicked = [await click(daemon, name)]

    async def has_landed() -> bool:
        clicked.append(await click(daemon, name))
        return landed(clicked[-1])

    if not landed(clicked[-1]):
        await until(has_landed, f"a click of {name} lands", 3 * COOLDOWN_S)
    return clicked[-1].answered_s


async def all_land(daemon: Serving, *names: str) -> None:
    async with trio.open_nursery() as visitors:
        for name in names:
            visitors.start_soon(lands, daemon, name)


async def shipped(daemon: Serving) -> None:
    await until(lambda: daemon.status()["journal"]["backlog"] == 0, "the rows have what the daemon decided")


async def provision_all(daemon: Serving, network: FakeNetwork) -> None:
    quick, slow = (network.chain_url(hops=2, delay_ms=ms, landing=LANDING) for ms in (5, 1_000))
    await provision(daemon, network, [SECOND])
    for country, address in zip(COUNTRIES, ADDRESSES, strict=False):
        await provision(daemon, network, [address], country)
        await offer(daemon, country, slow if country == "es" else quick, country)
    await offer(daemon, "be", quick, "be")


def breaches(network: FakeNetwork, addresses: Sequence[str]) -> list[object]:
    return [*check(network.log.events, cooldown_s=COOLDOWN_S, addresses=addresses)]


async def test_what_operators_do_to_rows_while_the_daemon_is_down_cuts_no_rest_short(state_dir: Path) -> None:
    async with network_of(ADDRESSES) as network:
        async with serving(state_dir, SETTINGS) as daemon, trio.open_nursery() as visitors:
            await provision_all(daemon, network)
            await all_land(daemon, *COUNTRIES[:-1])
            visitors.start_soon(click, daemon, "es")  # its trace is under way when the daemon is killed
            await until(lambda: daemon.counts("es").get("locked") == 1, "the trace began")
            await daemon.psql("delete from ip_rotation_pool where country = 'it'")
            await shipped(daemon)
            await daemon.stop(signal.SIGKILL)
            for statement in changes_of(network.proxy_port):
                await daemon.psql(statement)
        uses = len(network.log.events)
        async with serving(state_dir, SETTINGS) as daemon:
            resting = {country: daemon.counts(country).get("cooldown") for country in COUNTRIES}
            await all_land(daemon, *(name for name in (*COUNTRIES, "us", "be") if name != "nl"))
            assert {event.address for event in [*network.log.events][uses:] if event.cid is not None} == {*ADDRESSES}
            assert breaches(network, network.addresses) == []
            assert resting == {**dict.fromkeys(COUNTRIES, 1), "us": 2, "nl": 0}, "the restart took too long"
            assert await daemon.stop() == 0


def set_wall_clock(state_dir: Path, by_s: float) -> None:
    """Makes the spool look as if the wall clock had been set by so much since."""
    with closing(sqlite3.connect(state_dir / FILE, isolation_level=None)) as spool:
        for seq, body in spool.execute("select seq, body from entries where kind = 'ip_changed'").fetchall():
            values = json.loads(body)
            for name in ("locked_until", "last_used_at", "last_health_check"):
                values[name] = values[name] and values[name] - by_s
            spool.execute("update entries set body = ? where seq = ?", (json.dumps(values), seq))


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
async def test_a_clock_that_is_set_between_crash_and_start_neither_cuts_nor_extends_a_rest(
    state_dir: Path, by_s: float
) -> None:
    async with network_of([US]) as network:
        async with serving(state_dir, SETTINGS) as daemon:
            await provision(daemon, network, [US])
            await offer(daemon, "us", network.chain_url(hops=2, delay_ms=5, landing=LANDING))
            await lands(daemon, "us")
            await shipped(daemon)
            await daemon.stop(signal.SIGKILL)
            await daemon.psql(
                "set tracepool.writer = 'daemon'; update ip_rotation_pool set"
                f" locked_until = locked_until - interval '{by_s} s', last_used_at = last_used_at - interval '{by_s} s'"
            )
            await trio.to_thread.run_sync(set_wall_clock, state_dir, by_s)
        async with serving(state_dir, SETTINGS) as daemon:
            began_s = time.monotonic()
            landed_s = await lands(daemon, "us")
            assert breaches(network, [US]) == []
            assert landed_s < began_s + 2 * COOLDOWN_S
            assert daemon.log("rests_cut") == []
            assert await daemon.stop() == 0


async def test_an_impossible_rest_of_a_row_is_cut_and_said(state_dir: Path) -> None:
    async with network_of([US]) as network:
        async with serving(state_dir, SETTINGS) as daemon:
            await provision(daemon, network, [US])
            await offer(daemon, "us", network.chain_url(hops=2, delay_ms=5, landing=LANDING))
            await daemon.stop(signal.SIGKILL)
            await daemon.psql("update ip_rotation_pool set status = 'cooldown', locked_until = now() + interval '1 h'")
        async with serving(state_dir, SETTINGS) as daemon:
            [line] = await daemon.logged("rests_cut")
            assert line["ips"] == 1
            await shipped(daemon)
            [[left_s]] = await daemon.psql("select extract(epoch from locked_until - now())::int from ip_rotation_pool")
            assert int(left_s) <= COOLDOWN_S + LOCK_S
            await lands(daemon, "us")
            assert await daemon.stop() == 0
