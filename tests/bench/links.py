"""10,000 fuzzed links that must end in a redirect, and 1,000 requests of 100 clicks that must use 100 leases.

Both run against a real daemon. A prefetch is answered with 503, which makes a browser drop it; the same request without
the header, as the browser sends it when the visitor clicks, must end in a redirect like all others.
"""

from collections.abc import Callable, Iterator

import trio

from tests.bench.figures import Figure
from tests.bench.scene import Scene, add_ips, add_offer, execute, fetch
from tests.support.links import Links, Repeated, repeats_of

FALLBACK = "https://shop.example/all"
IPS = 150
SHOWN_MAX = 20


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> Iterator[Figure]:
    yield from _links(scene, 1_000 if quick else 10_000, say)
    yield from _repeats(scene, 20 if quick else 100, 200 if quick else 1_000, say)


def _links(scene: Scene, count: int, say: Callable[[str], None]) -> Iterator[Figure]:
    url = scene.database()
    for name in ("summer-sale", "paused", "broken", "Été 2"):
        add_offer(url, name, "http://track.example/a", country="zz")
    execute(
        url,
        "update offers set is_active = false where offer_name = 'paused'",
        "update offers set final_url = 'x' where offer_name = 'broken'",
    )
    sent = Links()
    with scene.daemon(url, {"click": {"fallback_url": FALLBACK, "trusted_proxies": ["127.0.0.1"]}}) as daemon:
        say(f"{count:,} fuzzed links")
        trio.run(sent.send, daemon.port, count, 1)
    for asked, status in sent.dead_ends[:SHOWN_MAX]:
        say(f"dead end: {status} {asked}")
    answers = ", ".join(f"{status}: {number:,}" for status, number in sorted(sent.statuses.items()))
    note = f"answers {answers}; {sent.prefetches_refused:,} prefetches refused with 503, each followed by its click"
    yield Figure(f"dead ends of {count:,} fuzzed links", len(sent.dead_ends), "requests", 0, note=note)


def _repeats(scene: Scene, clicks: int, requests: int, say: Callable[[str], None]) -> Iterator[Figure]:
    url = scene.database()
    sent = Repeated()
    settings = {"click": {"repeat_s": 600, "trusted_proxies": ["127.0.0.1"]}}
    with scene.network(IPS) as network:
        add_ips(url, network)
        add_offer(url, "sale", network.chain_url(requests=3, delay_ms=50))
        with scene.daemon(url, settings) as daemon:
            say(f"{requests:,} requests of {clicks} clicks")
            trio.run(sent.send, daemon.port, repeats_of("sale", clicks, requests, 1))
    # The daemon has stopped: PostgreSQL has all of its rows.
    [leases] = fetch(url, "select sum(total_uses)::int as n from ip_rotation_pool")
    kinds = {row["kind"]: row["n"] for row in fetch(url, "select kind, count(*)::int as n from hits group by 1")}
    note = ", ".join(f"{kind} {number:,}" for kind, number in sorted(kinds.items()))
    of = f"{requests:,} requests of {clicks} clicks"
    yield Figure(f"leases beside {clicks}, of {of}", abs(leases["n"] - clicks), "leases", 0, note=f"hits: {note}")
    yield Figure(f"hits of the kind click beside {clicks}", abs(kinds.get("click", 0) - clicks), "hits", 0)
    yield Figure("clicks whose visitors got different answers", len(sent.unequal), "clicks", 0)
