"""Ten times the load that the pool can trace, with default settings; and 5,000 clicks that wait at the same time.

The pool can trace N / (T + C) clicks a second: N IPs, trace time T, cooldown C. The first seconds, while the queues
fill, are not counted.
"""

import time
from collections.abc import Callable

from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import Scene, add_ips, add_offer, loaded, start_load

IPS, REQUESTS, DELAY_MS, COOLDOWN_S = 40, 5, 100, 2.0
CAPACITY = IPS / (REQUESTS * DELAY_MS / 1000 + COOLDOWN_S)
NORMAL = 0.4 * CAPACITY
FILLING_S = 5.0
FALLBACK_TARGET_MS, NORMAL_TARGET_S = 250.0, 5.0
WAITING, WAITING_TARGET_MB = 5_000, 400.0
BURST_S = 3.0
DEADLINE_S = 10.0


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    return [*_overload(scene, 20.0 if quick else 60.0, say), *_waiting(scene, say)]


def _overload(scene: Scene, length_s: float, say: Callable[[str], None]) -> list[Figure]:
    url = scene.database()
    with scene.network(IPS) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
        with scene.daemon(url, {"pool": {"cooldown_s": COOLDOWN_S}}) as daemon:
            say(f"{10 * CAPACITY:g} clicks/s for {length_s:g} s where {CAPACITY:g} can be traced")
            began_s = time.monotonic()
            load = start_load("clicks", daemon.click_url("plain"), str(10 * CAPACITY), str(length_s))
            time.sleep(length_s)
            ended_s = time.monotonic()
            say(f"then {NORMAL:g} clicks/s")
            after = loaded(start_load("clicks", daemon.click_url("plain"), str(NORMAL), "20"))
            during = loaded(load)
    fallbacks_ms = [ms for sent_s, ms, what in during["clicks"] if what == "fallback" and sent_s > began_s + FILLING_S]
    last_s = max((sent_s - ended_s for sent_s, _, what in after["clicks"] if what != "resolved"), default=0.0)
    resolved = during["outcomes"].get("resolved", 0)
    return [
        Figure(
            "fallback under ten times the load, p99",
            quantile(fallbacks_ms, 0.99),
            "ms",
            FALLBACK_TARGET_MS,
            reference=quantile(fallbacks_ms, 0.5),
            beside="their median",
            note=f"{len(during['clicks'])} clicks: {during['outcomes']}; {shown(resolved / length_s, 'resolved/s')}",
        ),
        Figure(
            "the last fallback after that load",
            last_s,
            "s",
            NORMAL_TARGET_S,
            beside="after the end of the load; 0 if there was none",
            note=f"{after['outcomes']}; waits p50 {shown(quantile(after['waits_ms'], 0.5), 'ms')}",
        ),
    ]


def _waiting(scene: Scene, say: Callable[[str], None]) -> list[Figure]:
    """All clicks wait for their deadline: the chain takes longer, and every IP is leased."""
    url = scene.database()
    with scene.network(IPS) as network:
        add_ips(url, network)
        add_offer(url, "slow", network.chain_url(1, int(1000 * (DEADLINE_S + 30))))
        settings = {"trace": {"workers": IPS, "queue_max": 2 * WAITING}}
        with scene.daemon(url, settings) as daemon:
            time.sleep(1.0)
            empty_mb = daemon.resident_mb()
            say(f"{WAITING:,} clicks in {BURST_S:g} s, each of which waits for its deadline")
            load = start_load("clicks", daemon.click_url("slow"), str(WAITING / BURST_S), str(BURST_S))
            most_mb, ends_s = 0.0, time.monotonic() + BURST_S + DEADLINE_S
            while time.monotonic() < ends_s:
                most_mb = max(most_mb, daemon.resident_mb())
                time.sleep(0.2)
            found = loaded(load)
    return [
        Figure(
            f"memory of {WAITING:,} clicks that wait",
            most_mb,
            "MB",
            WAITING_TARGET_MB,
            reference=empty_mb,
            beside="resident, no clicks",
            note=f"{found['outcomes']}",
        ),
        Figure(
            "the latest of their answers, at a deadline of 10 s",
            max(found["waits_ms"]) / 1000,
            "s",
            DEADLINE_S,
            reference=quantile(found["waits_ms"], 0.5) / 1000,
            beside="their median",
        ),
    ]
