"""Clicks that nobody waits for, through the real daemon: answered at once, traced afterwards, also after a stop."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from tests.acceptance.test_offer_settings import commanded
from tests.support.processes import Serving, click, network_of, offer, provision, serving
from tests.support.waiting import until

ADDRESSES = tuple(f"127.2.7.{number}" for number in range(1, 6))
SETTINGS: Mapping[str, Mapping[str, object]] = {"pool": {"cooldown_s": 0}, "click": {"repeat_s": 30}}
BODY = 2_000_000


async def ended(daemon: Serving, traces: int) -> list[list[str]]:
    """The rows of all background clicks, once so many have ended."""
    rows: list[list[str]] = []

    async def all_ended() -> bool:
        nonlocal rows
        rows = await daemon.psql(
            "select status, final_url, offer_id is not null, t.created_at = h.created_at - h.wait_ms * interval '1 ms'"
            " from active_trace_requests t join hits h using (request_id)"
            " where h.outcome = 'background' and t.status not in ('pending', 'processing')"
        )
        return len(rows) >= traces

    await until(all_ended, f"{traces} traces have ended")
    return rows


async def parts() -> AsyncIterator[bytes]:
    yield b"a" * 70_000
    yield b"b"


async def beacons(daemon: Serving) -> None:
    """POST in the forms in which browsers and programs send it: each is a click of its own."""
    url = f"{daemon.url}/track-hit?offer=behind&gclid="
    forms: list[dict[str, object]] = [
        {},
        {"content": "text"},
        {"data": {"a": "1"}},
        {"files": {"file": b"x"}},
        {"json": {"a": 1}},
        {"content": parts()},  # chunked
        {"content": b"x" * BODY},
        {"content": b"x" * BODY, "headers": {"Expect": "100-continue"}},
    ]
    async with httpx.AsyncClient(trust_env=False, timeout=20) as browser:
        for number, form in enumerate(forms):
            answer = await browser.post(f"{url}p{number}", **form)  # type: ignore[arg-type]
            assert (answer.status_code, answer.content) == (204, b""), form.keys()
            assert {"location", "content-length", "content-type"}.isdisjoint(answer.headers)
            assert answer.headers["cache-control"] == "no-store"
        again = await browser.post(f"{url}p0")
        got = await browser.get(f"{url}g")
        assert (again.status_code, got.status_code) == (204, 302)
        assert got.headers["location"].endswith("&gclid=g"), "the tracking URL"
    with socket.create_connection(("127.0.0.1", daemon.port)) as gone:
        gone.sendall(b"POST /track-hit?offer=behind&gclid=gone HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")


async def test_a_background_click_is_answered_at_once_and_traced_afterwards(state_dir: Path) -> None:
    async with network_of(ADDRESSES) as network, serving(state_dir, SETTINGS) as daemon:
        await provision(daemon, network, ADDRESSES)
        chain = network.chain_url(hops=1, delay_ms=200, landing="www.shop.example")
        await offer(daemon, "waits", chain)
        await commanded(daemon, "offers", "add", "behind", f"{chain}?c={{gclid}}", "--mode", "background")
        await beacons(daemon)
        assert (await click(daemon, "waits")).redirected
        rows = await ended(daemon, 10)
        assert [row[0] for row in rows] == ["completed"] * 10
        assert all(row[1].startswith("http://www.shop.example/landing") and row[2] == "t" for row in rows), rows

        hits = await daemon.psql("select kind, outcome, count(*), count(reason) from hits group by 1, 2 order by 1, 2")
        assert hits == [
            ["click", "background", "10", "0"],
            ["click", "resolved", "1", "0"],
            ["repeat", "background", "1", "0"],
        ]
        minute = daemon.status()["last_minute"]
        assert (minute["clicks"], minute["resolved"], minute["background"], minute["fallbacks"]) == (1, 1, 10, {})
        assert minute["wait_p50_ms"] >= 200
        total = json.loads(await commanded(daemon, "report", "--json"))["total"]
        assert (total["clicks"], total["landed"], total["fallbacks"], total["traces"]) == (1, 1, {}, 11)
        assert (total["background"], total["repeats"]) == (10, 1)
        assert total["wait_p50_ms"] >= 200
        story = await commanded(daemon, "explain", (await daemon.psql("select request_id from hits limit 1"))[0][0])
        assert "background" in story
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def test_background_clicks_before_a_stop_are_traced_after_the_next_start(state_dir: Path) -> None:
    settings = {**SETTINGS, "pool": {"cooldown_s": 0, "background_below_percent": 50}}
    async with network_of(ADDRESSES) as network:
        async with serving(state_dir, settings) as daemon:
            await provision(daemon, network, ADDRESSES)
            chain = network.chain_url(hops=1, delay_ms=1_000, landing="www.shop.example")
            await commanded(daemon, "offers", "add", "behind", chain, "--mode", "background", "--user-agent", "visitor")
            async with httpx.AsyncClient(trust_env=False, timeout=20) as browser:
                for number in range(8):
                    answer = await browser.post(f"{daemon.url}/track-hit?offer=behind&gclid={number}")
                    assert answer.status_code == 204
            await until(lambda: daemon.counts("us")["locked"] > 0, "one is traced")
            assert daemon.counts("us")["locked"] <= 2, "the other IPs are for clicks that wait"
            assert await daemon.stop() == 0
            assert daemon.faults() == []
        async with serving(state_dir, settings) as daemon:
            assert [row[0] for row in await ended(daemon, 8)] == ["completed"] * 8
            assert await daemon.psql("select count(*), count(identity) from active_trace_requests") == [["8", "0"]]
            assert await daemon.stop() == 0
            assert daemon.faults() == []
