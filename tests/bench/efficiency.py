"""Traces per second of a saturated pool, as a share of N / (T + C): N IPs, trace time T, cooldown C.

T is the chain's nominal time, the sum of the origin's delays, so that connecting, journaling and answering count as
loss. The rate is the sum over all IPs, each measured from the IP's first to its last landing within the window, so that
traces that the window cuts do not count as loss.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from daemon.demo.history import OriginEvent
from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import Scene, add_ips, add_offer, loaded, seconds, start_load
from tests.fakes.events import read_log

IPS, REQUESTS, DELAY_MS, COOLDOWN_S = 40, 5, 100, 1.0
TRACE_S = REQUESTS * DELAY_MS / 1000
MOST_PER_S = IPS / (TRACE_S + COOLDOWN_S)
RATE = 1.25 * MOST_PER_S
WARM_S = 4.0
TARGET = 0.98


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    url = scene.database()
    length_s = 8.0 if quick else 25.0
    with scene.network(IPS) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
        with scene.daemon(url, {"pool": {"cooldown_s": COOLDOWN_S}}) as daemon:
            say(f"{IPS} IPs, T {TRACE_S:g} s, C {COOLDOWN_S:g} s: {RATE:.1f} clicks/s for {length_s + WARM_S:g} s")
            process = start_load("clicks", daemon.click_url("plain"), str(RATE), str(length_s + WARM_S))
            time.sleep(WARM_S)
            from_s = time.monotonic()
            time.sleep(length_s)
            to_s = time.monotonic()
            loaded(process)
        landings, traces_s = landings_of(network.log, from_s, to_s)
    per_s = sum((len(at) - 1) / seconds(at) for at in landings.values() if len(at) > 1)
    seen_s = quantile(traces_s, 0.5)
    return [
        Figure(
            "pool efficiency",
            per_s / MOST_PER_S,
            "",
            TARGET,
            at_least=True,
            reference=1.0,
            beside=f"N / (T + C) = {shown(MOST_PER_S, 'traces/s')}, T nominal",
            note=f"{shown(per_s, 'traces/s')} over {len(landings)} IPs; with T as the origin saw it "
            f"({shown(seen_s * 1000, 'ms')}): {per_s * (seen_s + COOLDOWN_S) / IPS:.4f}",
        )
    ]


def landings_of(log: Path, from_s: float, to_s: float) -> tuple[dict[str, list[float]], list[float]]:
    """Times of the landings in the window, by address; and seconds from a chain's first request to its last answer."""
    landings: dict[str, list[float]] = defaultdict(list)
    began_s: dict[int, float] = {}
    traces_s = []
    for event in read_log(log):
        if not isinstance(event, OriginEvent) or event.cid is None:
            continue
        if event.hop == 0:
            began_s[event.cid] = event.began_s
        if event.hop == event.hops and event.status == 200 and from_s <= event.ended_s <= to_s:
            landings[event.address].append(event.ended_s)
            if event.cid in began_s:
                traces_s.append(event.ended_s - began_s[event.cid])
    return landings, traces_s
