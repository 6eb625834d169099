"""An offer's parameter rules, URLs and money, as operators set them by the commands while the daemon runs."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import trio

from daemon.demo.history import OriginEvent
from tests.fakes.events import ProxyEvent
from tests.fakes.network import FakeNetwork
from tests.support.processes import ADOPTED_S, Serving, network_of, provision, run_command, serving
from tests.support.waiting import until

ADDRESSES = tuple(f"127.2.1.{number}" for number in range(1, 4))
LANDING = "www.shop.example"
PRICE = 5.0


async def commanded(daemon: Serving, *arguments: str) -> str:
    """Run a command; return its output once the daemon has adopted the change."""
    adopted = len(daemon.log("offers_adopted"))
    done = await run_command(*arguments, TRACEPOOL_STATE_DIR=str(daemon.state_dir))
    assert done.returncode == 0, done.stderr
    if {"add", "update"} & set(arguments):
        await until(lambda: len(daemon.log("offers_adopted")) > adopted, "the offer is adopted", ADOPTED_S)
    return done.stdout


async def visit(daemon: Serving, query: str) -> str:
    """The URL that a visitor with this query is redirected to."""
    async with httpx.AsyncClient(trust_env=False, timeout=20) as visitor:
        answer = await visitor.get(f"{daemon.url}/track-hit?{query}")
    assert answer.status_code == 302
    return str(answer.headers["location"])


def parameters(url: str) -> dict[str, str]:
    assert url.startswith(f"http://{LANDING}/landing?"), url
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def first_hops(network: FakeNetwork) -> list[str]:
    return [event.path for event in network.log.events if isinstance(event, OriginEvent) and event.hop == 0]


async def test_parameters_macros_shares_bytes_and_money_from_the_command_to_the_row(state_dir: Path) -> None:
    settings: Mapping[str, Mapping[str, object]] = {
        "pool": {"cooldown_s": 0},
        "providers.luna": {"price_per_gb": PRICE},
    }
    async with network_of(ADDRESSES) as network, serving(state_dir, settings) as daemon:
        await provision(daemon, network, ADDRESSES)
        chain = network.chain_url(hops=2, delay_ms=10, page_bytes=2_000, landing=LANDING)
        await commanded(daemon, "offers", "add", "sale", f"{chain}?g={{gclid}}&r={{request_id}}&n={{none}}")
        landed = parameters(await visit(daemon, "offer=sale&gclid=a%26b+c&x=1"))
        assert (landed["g"], landed["n"], landed["gclid"], landed["x"]) == ("a&b c", "", "a&b c", "1")
        assert len(landed["r"]) == 36
        assert first_hops(network) == [f"{urlsplit(chain).path}?g=a%26b%20c&r={landed['r']}&n="]

        await commanded(daemon, "offers", "update", "sale", "--keep", "gclid", "--rename", "gclid=sub1")
        landed = parameters(await visit(daemon, "offer=sale&gclid=7&sub1=8&x=1"))
        assert (landed["g"], landed["sub1"], landed.keys() & {"gclid", "x"}) == ("7", "7", set())

        shares = ("--tracking-url", f"3:{chain}?u=1", "--tracking-url", f"1:{chain}?u=2")
        await commanded(daemon, "offers", "update", "sale", "--no-filter", "--no-rename", *shares)
        used = [parameters(await visit(daemon, "offer=sale"))["u"] for _ in range(4)]
        assert set(used) <= {"1", "2"}
        await commanded(daemon, "maintenance")  # it waits until the journal is shipped
        rows = await daemon.psql("select tracking_url from active_trace_requests order by created_at desc limit 4")
        assert [url.rpartition("=")[2] for [url] in rows] == used[::-1]

        await bytes_and_money_agree(daemon, network, traces=6)
        suggested = await commanded(daemon, "offers", "suggest", "--min-traces", "6", "--apply")
        assert "updated sale: stop_at has shop.example\n" in suggested
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def test_the_clicks_of_a_paused_offer_have_somewhere_to_go(state_dir: Path) -> None:
    settings: Mapping[str, Mapping[str, object]] = {"click": {"fallback_url": "https://shop.example/?from={offer}"}}
    async with network_of(ADDRESSES) as network, serving(state_dir, settings) as daemon:
        await provision(daemon, network, ADDRESSES)
        await commanded(daemon, "offers", "add", "sale", network.chain_url(hops=1, landing=LANDING))
        await commanded(daemon, "offers", "add", "old", "https://ads.example/old", "--paused-to", "sale")
        assert await visit(daemon, "offer=odl&gclid=7") == "https://shop.example/?from=odl&gclid=7"
        await commanded(daemon, "offers", "update", "old", "--inactive")
        assert parameters(await visit(daemon, "offer=old&gclid=7"))["gclid"] == "7"
        await commanded(
            daemon, "offers", "update", "old", "--no-paused-to", "--fallback-url", "https://old.example/{x}"
        )
        assert await visit(daemon, "offer=old&x=1") == "https://old.example/1?x=1"
        await daemon.psql("update offers set fallback_url = null, final_url = 'nowhere'")
        await until(lambda: len(daemon.log("offer_unusable")) == 1, "the edit is adopted", ADOPTED_S)
        assert await visit(daemon, "offer=sale") == "https://shop.example/?from=sale"
        await commanded(daemon, "maintenance")
        rows = await daemon.psql("select offer_name, outcome, coalesce(reason, '') from hits order by created_at")
        assert [tuple(row) for row in rows] == [
            ("odl", "fallback", "unknown_offer"),
            ("sale", "resolved", ""),
            ("old", "fallback", "paused"),
            ("sale", "fallback", "bad_offer"),
        ]
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def test_the_same_click_again_a_preview_and_a_prefetch_use_no_ip(state_dir: Path) -> None:
    async with network_of(ADDRESSES) as network, serving(state_dir, {"click": {"repeat_s": 30}}) as daemon:
        await provision(daemon, network, ADDRESSES)
        await commanded(daemon, "offers", "add", "sale", network.chain_url(hops=2, delay_ms=300, landing=LANDING))
        locations: list[str] = []

        async def click() -> None:
            locations.append(await visit(daemon, "offer=sale&gclid=7"))

        async with trio.open_nursery() as visitors:
            for _ in range(3):
                visitors.start_soon(click)
        await click()
        assert len(set(locations)) == 1, locations
        assert parameters(locations[0])["gclid"] == "7"
        async with httpx.AsyncClient(trust_env=False, timeout=20) as visitor:
            url = f"{daemon.url}/track-hit?offer=sale&gclid=8"
            refused = await visitor.get(url, headers={"Sec-Purpose": "prefetch"})
            assert (refused.status_code, refused.headers["cache-control"]) == (503, "no-store")
            assert (await visitor.head(url)).status_code == 302
            assert (await visitor.get(url, headers={"User-Agent": "Twitterbot/1.0"})).status_code == 302
        assert parameters(await visit(daemon, "offer=sale&gclid=8"))["gclid"] == "8"
        await commanded(daemon, "maintenance")
        rows = await daemon.psql("select kind, count(*), count(distinct location) from hits group by 1 order by 1")
        assert [tuple(row) for row in rows] == [("click", "2", "2"), ("preview", "2", "1"), ("repeat", "3", "1")]
        assert await daemon.psql("select count(*) from active_trace_requests") == [["2"]]
        assert await daemon.stop() == 0
        assert daemon.faults() == []


async def bytes_and_money_agree(daemon: Serving, network: FakeNetwork, traces: int) -> None:
    """Traffic in the day's table, IPs, traces, hops and status equals the proxies' own count."""

    async def numbers(what: str) -> list[float]:
        [row] = await daemon.psql(f"select {what}")
        return [float(value) for value in row]

    received, sent, cost = await numbers(
        "sum(bytes_received), sum(bytes_sent), sum(cost) from traffic where provider = 'luna' and offer_name = 'sale'"
        f" and day = (now() at time zone 'utc')::date having sum(traces) = {traces}"
    )
    assert cost == pytest.approx((received + sent) / 1e9 * PRICE)
    assert await numbers("sum(bytes_received), sum(bytes_sent) from ip_rotation_pool") == [received, sent]
    of_traces = await numbers("sum(bytes_received), sum(bytes_sent), sum(cost) from active_trace_requests")
    assert of_traces == pytest.approx([received, sent, cost])
    of_hops = await numbers(
        "sum((hop ->> 'bytes_received')::int), sum((hop ->> 'bytes_sent')::int)"
        " from active_trace_requests, jsonb_array_elements(redirect_chain) hop"
    )
    assert of_hops == pytest.approx([received, sent], rel=0.05)
    assert await numbers(
        "bytes_1h, cost_1h from ip_pool_statistics order by recorded_at desc limit 1"
    ) == pytest.approx([received + sent, cost])
    seen = [event for event in network.log.events if isinstance(event, ProxyEvent)]
    of_proxies = [sum(event.bytes_out for event in seen), sum(event.bytes_in for event in seen)]
    assert of_proxies == pytest.approx([received, sent], rel=0.05)
    today = daemon.status()["traffic_today"]["luna"]
    assert today == {"traces": traces, "bytes_received": received, "bytes_sent": sent, "cost": round(cost, 6)}
    assert f"today (UTC): luna {(received + sent) / 1_000:.3g} KB in 6 traces, $0.0" in await commanded(
        daemon, "status"
    )
