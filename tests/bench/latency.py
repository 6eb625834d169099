"""What a click waits beyond its chain, beside `curl -L` through the same proxies at the same time and rate."""

import math
import shutil
from collections.abc import Callable

from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import Scene, add_ips, add_offer, loaded, start_load

REQUESTS, DELAY_MS = 5, 200
RATE = 20.0
PROXIES = 120
CHAIN_MS = REQUESTS * DELAY_MS
WARM_S = 3.0
TARGETS = ((0.5, "median", 10.0), (0.99, "p99", 40.0))


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    url = scene.database()
    length_s = 5.0 if quick else 25.0
    way = "curl" if shutil.which("curl") else "walk"
    with scene.network(PROXIES) as network:
        chain = network.chain_url(REQUESTS, DELAY_MS)
        add_ips(url, network)
        add_offer(url, "plain", chain)
        with scene.daemon(url, {"pool": {"cooldown_s": 1}}) as daemon:
            loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(WARM_S)))
            say(f"{RATE:g} clicks/s and as many by {way} for {length_s:g} s")
            proxies = ",".join(f"{address}:{network.proxy_port}" for address in network.addresses)
            clicks = start_load("clicks", daemon.click_url("plain"), str(RATE), str(length_s))
            others = start_load(way, chain, str(RATE), str(length_s), proxies)
            ours, theirs = loaded(clicks), loaded(others)
            say("the same without the other beside it")
            alone = loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(length_s / 2)))
    name = "curl -L" if way == "curl" else "a walk by sockets (curl is not installed)"
    figures = []
    for share, word, target_ms in TARGETS:
        click_ms = quantile(ours["waits_ms"], share) - CHAIN_MS
        other_ms = quantile(theirs["waits_ms"], share) - CHAIN_MS
        figures.append(
            Figure(
                f"a click beyond its chain of {CHAIN_MS:,} ms, {word}, over {name}",
                click_ms - other_ms if theirs["waits_ms"] else math.nan,
                "ms",
                target_ms,
                reference=other_ms,
                beside=f"{name} itself, beyond the chain",
                note=f"the click {shown(click_ms, 'ms')}; alone "
                f"{shown(quantile(alone['waits_ms'], share) - CHAIN_MS, 'ms')}; {_said(ours)}",
            )
        )
    return figures


def _said(found: dict[str, dict[str, int]]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
