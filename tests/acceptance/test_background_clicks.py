"""Clicks that nobody waits for, through the real daemon: answered at once, traced afterwards, also after a stop."""

import socket
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.support.processes import ADOPTED_S, Serving, click, control_request, network_of, provision, serving
from tests.support.waiting import until

ADDRESSES = tuple(f"127.2.7.{number}" for number in range(1, 13))
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "pool": {"cooldown_s": 0, "background_below_percent": 50},
    "click": {"repeat_s": 30},
}
BODY = 2_000_000


async def asked(daemon: Serving, path: str, method: str = "GET") -> Any:
    answer = await trio.to_thread.run_sync(partial(control_request, daemon, path, method=method))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended(daemon: Serving, traces: int) -> list[list[str]]:
    """The rows of the background clicks' traces, once the daemon has ended so many traces."""
    await daemon.logged("trace", traces)
    await asked(daemon, "/api/maintenance", "POST")  # it waits until the journal is shipped
    return await daemon.psql(
        "select status, final_url, t.offer_id is not null, identity is null"
        " from active_trace_requests t join hits using (request_id) where outcome = 'background'"
    )


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


async def test_a_background_click_is_answered_at_once_and_traced_afterwards_also_after_a_stop(state_dir: Path) -> None:
    async with network_of(ADDRESSES) as network:
        chain = network.chain_url(hops=1, delay_ms=200, landing="www.shop.example")
        async with serving(state_dir, SETTINGS) as daemon:
            await provision(daemon, network, ADDRESSES)
            await daemon.psql(
                f"""insert into offers (offer_name, final_url, mode, user_agent) values ('waits', '{chain}', 'wait',
                    'default'), ('behind', '{chain}?c={{gclid}}', 'background', 'visitor')"""
            )
            await until(lambda: daemon.log("offers_adopted"), "the offers are adopted", ADOPTED_S)
            await beacons(daemon)
            assert (await click(daemon, "waits")).redirected
            rows = await ended(daemon, 11)
            assert [row[0] for row in rows] == ["completed"] * 10
            assert all(row[1].startswith("http://www.shop.example/landing") for row in rows), rows
            assert {(row[2], row[3]) for row in rows} == {("t", "t")}
            await figures_tell_them_apart(daemon)

            async with httpx.AsyncClient(trust_env=False, timeout=20) as browser:
                for number in range(15):
                    answer = await browser.post(f"{daemon.url}/track-hit?offer=behind&gclid={number}")
                    assert answer.status_code == 204
            await until(lambda: daemon.counts("us")["locked"] > 0, "one is traced")
            assert daemon.counts("us")["locked"] <= 5, "the other IPs are for clicks that wait"
            await until(lambda: any(one["background"] for one in daemon.status()["traces_waiting"]), "the queue shows")
            assert await daemon.stop() == 0
            assert daemon.faults() == []
            before = len(daemon.log("trace")) - 11
        async with serving(state_dir, SETTINGS) as daemon:
            assert [row[0] for row in await ended(daemon, 15 - before)] == ["completed"] * 25
            assert await daemon.stop() == 0
            assert daemon.faults() == []


async def figures_tell_them_apart(daemon: Serving) -> None:
    hits = await daemon.psql("select kind, outcome, count(*), count(reason) from hits group by 1, 2 order by 1, 2")
    assert hits == [
        ["click", "background", "10", "0"],
        ["click", "resolved", "1", "0"],
        ["repeat", "background", "1", "0"],
    ]
    minute = daemon.status()["last_minute"]
    assert (minute["clicks"], minute["resolved"], minute["background"], minute["fallbacks"]) == (1, 1, 10, {})
    assert minute["wait_p50_ms"] >= 200
    total = (await asked(daemon, "/api/reports"))["total"]
    assert (total["clicks"], total["landed"], total["fallbacks"], total["traces"]) == (1, 1, {}, 11)
    assert (total["background"], total["repeats"]) == (10, 1)
    assert total["wait_p50_ms"] >= 200
    offers = {row["offer"]: row for row in (await asked(daemon, "/api/reports/offers"))["items"]}
    assert (offers["behind"]["clicks"], offers["behind"]["background"], offers["behind"]["wait_p95_ms"]) == (
        0,
        10,
        None,
    )
