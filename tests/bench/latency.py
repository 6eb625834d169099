"""A click's wait beyond its chain's own time, compared with `curl -L` through the same proxies at the same rate.

They are measured alternately, because starting 20 curl processes a second takes a large part of a core.
"""

import math
import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

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
    turns, turn_s = (1, 5.0) if quick else (3, 10.0)
    way = "curl" if shutil.which("curl") else "walk"
    with scene.network(PROXIES) as network:
        chain = network.chain_url(REQUESTS, DELAY_MS)
        add_ips(url, network)
        add_offer(url, "plain", chain)
        with scene.daemon(url, {"pool": {"cooldown_s": 1}}) as daemon:
            loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(WARM_S)))
            proxies = ",".join(f"{address}:{network.proxy_port}" for address in network.addresses)
            ours: list[dict[str, Any]] = []
            theirs: list[dict[str, Any]] = []
            for turn in range(1, turns + 1):
                say(f"turn {turn} of {turns}: {RATE:g}/s for {turn_s:g} s each, {way}, then clicks")
                theirs.append(loaded(start_load(way, chain, str(RATE), str(turn_s), proxies)))
                ours.append(loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(turn_s))))
    click_waits_ms, other_waits_ms = _waits_ms(ours), _waits_ms(theirs)
    name = "curl -L" if way == "curl" else "a walk by sockets (curl is not installed)"
    figures = []
    for share, word, target_ms in TARGETS:
        click_ms = quantile(click_waits_ms, share) - CHAIN_MS
        other_ms = quantile(other_waits_ms, share) - CHAIN_MS
        figures.append(
            Figure(
                f"a click beyond its chain of {CHAIN_MS:,} ms, {word}, over {name}",
                click_ms - other_ms if other_waits_ms else math.nan,
                "ms",
                target_ms,
                reference=other_ms,
                beside=f"{name} itself, beyond the chain",
                note=f"the click {shown(click_ms, 'ms')}; {_said(ours)}",
            )
        )
    return figures


def _waits_ms(turns: list[dict[str, Any]]) -> list[float]:
    return [wait_ms for turn in turns for wait_ms in turn["waits_ms"]]


def _said(turns: list[dict[str, Any]]) -> str:
    outcomes: Counter[str] = Counter()
    for turn in turns:
        outcomes.update(turn["outcomes"])
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
