"""Several nodes on one database, compared with one node in the same run: CPU, redirects, pool efficiency, waits.

Its other parts are processes.py (two processes compared with one) and ownership.py (the costs at PostgreSQL).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

from daemon.nodes.balance import SETTLED_S
from tests.bench import ownership, processes
from tests.bench.cpu import SETTLE_S
from tests.bench.efficiency import landings_of
from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import Daemon, Network, Scene, add_ips, add_offer, fetch, loaded, seconds, start_load

REQUESTS, DELAY_MS, COOLDOWN_S = 5, 200, 2.0
TRACE_S = REQUESTS * DELAY_MS / 1000
IPS = 30
MOST_PER_S = IPS / (TRACE_S + COOLDOWN_S)
NODES = 3
EVEN, UNEVEN = (1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1)
EARLY_S = 15.0
CALM_RATE, CALM_PROXIES = 30.0, 300
COUNTRIES = 20
APART_S = 0.1
IDLE = "select country, name from ip_rotation_pool join nodes using (node_id) where status = 'available'"
MOVED_S = 4.0
LEASED = """
select 1000 * extract(epoch from ip_locked_at - started_at)::float8 as wait_ms
from active_trace_requests where ip_locked_at is not null and started_at > to_timestamp($1)
"""


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> Iterator[Figure]:
    yield from processes.run(scene, quick, say)
    yield from _efficiency(scene, quick, say)
    yield _lease(scene, quick, say)
    yield _extra_wait(scene, quick, say)
    yield from ownership.run(scene, quick, say)


@contextmanager
def _nodes(scene: Scene, url: str, count: int, sections: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Daemon]]:
    """So many daemons on one database."""
    with ExitStack() as running:
        named = ({**sections, "node": {"name": f"node-{number}"}} for number in range(1, count + 1))
        yield [running.enter_context(scene.daemon(url, its)) for its in named]


def _efficiency(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Of a saturated pool with one node, and with three at even and at uneven load."""
    length_s, warm_s = (6.0, 15.0) if quick else (20.0, 20.0)
    single, early, _ = _traces(scene, (1.0,), length_s, warm_s, say)
    figures = []
    for name, parts, target in (("even load", EVEN, 0.97), ("80:10:10", UNEVEN, 0.93)):
        several, its_early, note = _traces(scene, parts, length_s, warm_s, say)
        figures.append(
            Figure(
                f"pool efficiency, {NODES} nodes, {name}, in parts of one node's",
                several / single,
                "",
                target,
                at_least=True,
                reference=1.0,
                beside=f"one node: {shown(single, 'traces/s')}, which is an efficiency of {single / MOST_PER_S:.3f}",
                note=f"in the first {EARLY_S:g} s {its_early / early:.2f}, then {note}",
            )
        )
    return figures


def _traces(
    scene: Scene, parts: Sequence[float], length_s: float, warm_s: float, say: Callable[[str], None]
) -> tuple[float, float, str]:
    """Traces per second, how many traces were made in the first EARLY_S, and outcomes in words."""
    url = scene.database()
    with scene.network(IPS) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
        with _nodes(scene, url, len(parts), {"pool": {"cooldown_s": COOLDOWN_S}}) as daemons:
            say(f"efficiency: {len(parts)} nodes, load {':'.join(f'{100 * part:.0f}' for part in parts)}")
            rate = 1.25 * MOST_PER_S
            began_s = time.monotonic()
            loads = [
                start_load("clicks", daemon.click_url("plain"), str(rate * part), str(warm_s + length_s))
                for daemon, part in zip(daemons, parts, strict=True)
            ]
            time.sleep(warm_s)
            from_s = time.monotonic()
            time.sleep(length_s)
            to_s = time.monotonic()
            clicks = [click for load in loads for click in loaded(load)["clicks"]]
            landings, _ = landings_of(network.log, from_s, to_s)
            of_all, _ = landings_of(network.log, began_s, to_s)
    fallbacks = sum(outcome == "fallback" for _, _, outcome in clicks)
    per_s = sum((len(at) - 1) / seconds(at) for at in landings.values() if len(at) > 1)
    all_at = sorted(chain.from_iterable(of_all.values()))
    early = sum(at < all_at[0] + EARLY_S for at in all_at)
    note = f"{shown(per_s, 'traces/s')} over {len(landings)} IPs; {fallbacks} of {len(clicks)} clicks fell back"
    return per_s, early, note


def _lease(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """The time from a click's arrival until its lease is durable, where each node has idle IPs."""
    turns, turn_s = (1, 4.0) if quick else (3, 5.0)
    waits_ms: dict[int, list[float]] = {1: [], NODES: []}
    clicks_ms: dict[int, list[float]] = {1: [], NODES: []}
    with scene.network(CALM_PROXIES) as network, ExitStack() as running:
        urls, daemons = dict[int, str](), dict[int, list[Daemon]]()
        for count in waits_ms:
            url = urls[count] = scene.database()
            add_ips(url, network)
            add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
            daemons[count] = running.enter_context(_nodes(scene, url, count, {"pool": {"cooldown_s": COOLDOWN_S}}))
        time.sleep(SETTLED_S + MOVED_S)
        for turn in range(1, turns + 1):
            for count, its in daemons.items():
                say(f"durable leases, turn {turn} of {turns}: {count} nodes, {CALM_RATE:g} clicks/s for {turn_s:g} s")
                began_s = time.time()
                rate = str(CALM_RATE / count)
                loads = [start_load("clicks", daemon.click_url("plain"), rate, str(turn_s)) for daemon in its]
                clicks_ms[count] += [wait_ms for load in loads for wait_ms in loaded(load)["waits_ms"]]
                time.sleep(SETTLE_S)
                waits_ms[count] += [row["wait_ms"] for row in fetch(urls[count], LEASED, began_s)]
    one_ms, several_ms = (quantile(waits, 0.5) for waits in waits_ms.values())
    beyond = (f"{quantile(clicks, 0.5) - 1000 * TRACE_S:.1f} ms" for clicks in clicks_ms.values())
    return Figure(
        f"from a click to its durable lease, {NODES} nodes, p50",
        several_ms,
        "ms",
        one_ms,
        reference=one_ms,
        beside=f"one node; p95 {shown(quantile(waits_ms[1], 0.95), 'ms')}",
        note=f"{CALM_RATE:g} clicks/s for all nodes; p95 {shown(quantile(waits_ms[NODES], 0.95), 'ms')}; a whole click "
        f"beyond its chain, p50, one node and {NODES}: {' and '.join(beyond)}",
    )


def _extra_wait(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """Each country has one IP; its clicks come to the node that does not own it."""
    rounds = 1 if quick else 4
    url = scene.database()
    names = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(26 * 26)]
    with scene.network(COUNTRIES) as network:
        countries = [name for name in names if name not in ("gb", "uk")][:COUNTRIES]
        for address, country in zip(network.addresses, countries, strict=True):
            add_ips(url, Network((address,), network.proxy_port, network.log, network.pid), country)
            add_offer(url, country, network.chain_url(REQUESTS, DELAY_MS), country)
        with _nodes(scene, url, 2, {"pool": {"cooldown_s": COOLDOWN_S}}) as daemons:
            by_name = {f"node-{number}": daemon for number, daemon in enumerate(daemons, 1)}
            time.sleep(SETTLED_S + MOVED_S)
            found: dict[bool, list[float]] = {False: [], True: []}
            outcomes: dict[bool, list[str]] = {False: [], True: []}
            for turn in range(1, 2 * rounds + 1):
                elsewhere = turn % 2 == 0
                say(
                    f"waits, turn {turn} of {2 * rounds}: clicks {'without' if elsewhere else 'with'} an IP at the node"
                )
                owners = fetch(url, IDLE)
                loads = []
                for row in owners:
                    daemon = next(d for name, d in by_name.items() if (name != row["name"]) == elsewhere)
                    loads.append(start_load("click", daemon.click_url(row["country"])))
                    time.sleep(APART_S)
                for figures in map(loaded, loads):
                    found[elsewhere] += figures["waits_ms"]
                    outcomes[elsewhere] += figures["outcomes"]
                time.sleep(MOVED_S)
    own_ms, other_ms = quantile(found[False], 0.5), quantile(found[True], 0.95)
    reasons = fetch(url, "select reason, count(*) as clicks from hits where reason is not null group by reason")
    resolved = outcomes[True].count("resolved")
    others = "".join(f", {row['clicks']} {row['reason']}" for row in reasons)
    return Figure(
        "a click on a node without an IP, while another has idle ones: extra wait, p95",
        (other_ms - own_ms) / 1000,
        "s",
        1.5,
        reference=(quantile(found[False], 0.95) - own_ms) / 1000,
        beside="a click on the node with the IP: p95 beyond its median",
        note=f"{resolved} of {len(found[True])} clicks resolved; median {quantile(found[True], 0.5) - own_ms:.0f} ms"
        + others,
    )
