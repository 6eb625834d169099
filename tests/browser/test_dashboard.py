"""The dashboard in Debian's Chromium, over a daemon that traces: live, filtered, changed, and for everybody to read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import trio

from tests.acceptance.processes import Serving, click, network_of, offer, provision, serving
from tests.browser.browsing import browser

ADDRESSES = tuple(f"127.2.14.{number}" for number in range(1, 9))
SICK = "198.51.100.77"
TABLES = ("countries", "in-flight", "traces", "sick", "traffic", "queues", "events", "ips")
AXE = files("axe_core_python").joinpath("axe.min.js")
SERIOUS = {"serious", "critical"}
TYPED = "arguments[0].dispatchEvent(new Event('input'))"


@asynccontextmanager
async def watched(state_dir: Path) -> AsyncIterator[Serving]:
    """A daemon with IPs of two countries, one of them unhealthy, and three clicks behind it."""
    settings: dict[str, dict[str, object]] = {"trace": {"allow_private": True}, "pool": {"cooldown_s": 1}}
    async with network_of(ADDRESSES) as network, serving(state_dir, settings) as daemon:
        await provision(daemon, network, ADDRESSES[:5], "us")
        await provision(daemon, network, ADDRESSES[5:], "uk")
        await daemon.psql(
            "insert into ip_rotation_pool (ip_address, country, provider, status, is_healthy, consecutive_failures)"
            f" values ('{SICK}', 'us', 'soax', 'failed', false, 5)"
        )
        await offer(daemon, "sale", network.chain_url(2, 20))
        await offer(daemon, "slow", network.chain_url(1, 8_000), "uk")
        for number in range(3):
            assert (await click(daemon, "sale", f"g{number}")).redirected
        async with trio.open_nursery() as nursery:
            nursery.start_soon(click, daemon, "slow")
            yield daemon
            nursery.cancel_scope.cancel()
        await daemon.stop()


async def test_it_is_live_and_asks_nobody_else_and_says_nothing_on_the_console(state_dir: Path, tmp_path: Path) -> None:
    async with watched(state_dir) as daemon:

        def visit() -> None:
            with browser(tmp_path) as page:
                page.driver.get(f"{daemon.control_url}/")
                page.until(lambda: page.text("#live-text") == "live", "the page is live")
                page.until(lambda: page.text("#f-clicks") == "3", "three clicks so far")
                trio.from_thread.run(click, daemon, "sale", "one-more")
                page.until(lambda: page.text("#f-clicks") == "4", "another click shows by itself")
                page.until(lambda: len(page.rows("traces")) >= 5, "its trace as well")
                page.until(lambda: any("slow" in row for row in page.rows("in-flight")), "one is in flight")
                page.run("[...document.querySelectorAll('#traces tbody tr')].at(-1).querySelector('button').click()")
                page.until(lambda: "hops" in page.text("#detail-body"), "a trace opens as a waterfall")
                assert page.complaints() == []
                assert page.hosts() == {daemon.control_url.removeprefix("http://")}

        await trio.to_thread.run_sync(visit)


async def test_every_table_filters(state_dir: Path, tmp_path: Path) -> None:
    async with watched(state_dir) as daemon:

        def visit() -> None:
            with browser(tmp_path) as page:
                page.driver.get(f"{daemon.control_url}/")
                page.run("document.getElementById('ips-details').open = true")
                for table in TABLES:
                    page.until(lambda table=table: page.rows(table), f"{table} has rows")  # type: ignore[misc]
                    search = page.find(f'[data-filters="{table}"]')
                    page.run(f"arguments[0].value = 'no row says this'; {TYPED}", search)
                    page.until(lambda table=table: page.rows(table) == [], f"{table} is filtered")  # type: ignore[misc]
                    page.run(f"arguments[0].value = ''; {TYPED}", search)
                    page.until(lambda table=table: page.rows(table), f"{table} is whole again")  # type: ignore[misc]
                assert page.complaints() == []

        await trio.to_thread.run_sync(visit)


async def test_a_reset_asks_once_and_says_what_it_did(state_dir: Path, tmp_path: Path) -> None:
    async with watched(state_dir) as daemon:

        def visit() -> None:
            with browser(tmp_path) as page:
                page.driver.get(f"{daemon.control_url}/")
                page.until(lambda: any(SICK in row for row in page.rows("sick")), "the unhealthy IP is there")
                page.run("document.querySelector('#sick tbody tr td:last-child button').click()")
                page.until(lambda: page.find("#question").is_displayed(), "it asks")
                page.find("#question-yes").click()
                page.until(lambda: SICK in page.text("#reset-outcome"), "it says what it did")
                page.until(lambda: not any(SICK in row for row in page.rows("sick")), "the IP is no longer unhealthy")
                assert page.complaints() == []

        await trio.to_thread.run_sync(visit)
        assert await daemon.psql(f"select status from ip_rotation_pool where ip_address = '{SICK}'") == [["available"]]


async def test_axe_finds_no_serious_violation_at_any_width_or_colour(state_dir: Path, tmp_path: Path) -> None:
    async with watched(state_dir) as daemon:

        def visit() -> None:
            with browser(tmp_path) as page:
                page.driver.get(f"{daemon.control_url}/")
                page.until(lambda: page.rows("traces"), "the page has figures")
                page.run(AXE.read_text())
                for width in (390, 1600):
                    for scheme in ("light", "dark"):
                        page.resize(width)
                        page.prefer(scheme)
                        assert page.run("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
                        found = page.driver.execute_async_script(
                            "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
                        )
                        serious = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in SERIOUS]
                        assert serious == [], (width, scheme)

        await trio.to_thread.run_sync(visit)


async def test_where_tokens_exist_it_asks_for_one_and_keeps_it_in_the_tab(state_dir: Path, tmp_path: Path) -> None:
    token = "a-token-of-the-settings-that-is-long"
    async with serving(state_dir, {"control": {"token": token}}) as daemon:

        def visit() -> None:
            with browser(tmp_path) as page:
                page.driver.get(f"{daemon.control_url}/")
                page.until(lambda: page.find("#login").is_displayed(), "it asks for a token")
                page.find("#token").send_keys("wrong")
                page.find("#login button").click()
                page.until(lambda: page.text("#login-trouble"), "it says that it is a wrong one")
                page.find("#token").clear()
                page.find("#token").send_keys(token)
                page.find("#login button").click()
                page.until(lambda: page.text("#live-text") == "live", "the page is live")
                assert page.driver.get_cookies() == []

        await trio.to_thread.run_sync(visit)
        await daemon.stop()
