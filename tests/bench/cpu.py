"""CPU of the daemon's process for a click along a plain five-hop chain, and of the daemon when nothing comes."""

import os
import time
from collections.abc import Callable

from tests.bench.figures import Figure, shown
from tests.bench.scene import Scene, add_ips, add_offer, loaded, start_load

REQUESTS, DELAY_MS = 5, 200
RATE = 50.0
PROXIES = 200
WARM_S = 4.0
TARGET_MS = 3.0


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    url = scene.database()
    length_s = 6.0 if quick else 30.0
    with scene.network(PROXIES) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
        with scene.daemon(url, {"pool": {"cooldown_s": 1}}) as daemon:
            loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(WARM_S)))
            time.sleep(3.0)
            say("idle")
            idle_s = -daemon.cpu_s()
            time.sleep(length_s / 3)
            idle_s += daemon.cpu_s()
            say(f"{RATE:g} clicks/s for {length_s:g} s")
            busy_s = -daemon.cpu_s()
            found = loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(length_s)))
            time.sleep(2.0)  # the last rests end, the last rows are shipped
            busy_s += daemon.cpu_s()
    clicks = found["outcomes"].get("resolved", 0)
    share = idle_s / (length_s / 3)
    return [
        Figure(
            f"CPU per click, {REQUESTS} plain hops at {RATE:g} clicks/s",
            busy_s / clicks * 1000,
            "ms",
            TARGET_MS,
            reference=share * 1000 / RATE,
            beside=f"of it the daemon's idle CPU, {100 * share:.2f}% of a core",
            note=f"{clicks} resolved of {len(found['waits_ms'])} clicks; {os.cpu_count()} cores; "
            f"{shown(busy_s, 's')} of CPU",
        )
    ]
