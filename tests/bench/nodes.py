"""Several nodes on one database, compared with one node in the same run: CPU, redirects, pool efficiency, waits.

The costs at PostgreSQL are in ownership.py, whose figures are part of this benchmark.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from daemon.nodes.balance import SETTLED_S
from tests.bench import ownership
from tests.bench.cpu import COOLDOWN_S as CPU_COOLDOWN_S
from tests.bench.cpu import WARM_S, Measured
from tests.bench.efficiency import landings_of
from tests.bench.figures import Figure, quantile, shown
from tests.bench.redirects import CONNECTIONS, redirects_per_s
from tests.bench.scene import Daemon, Network, Scene, add_ips, add_offer, fetch, loaded, seconds, start_load

REQUESTS, DELAY_MS, COOLDOWN_S = 5, 200, 2.0
TRACE_S = REQUESTS * DELAY_MS / 1000
IPS = 30
MOST_PER_S = IPS / (TRACE_S + COOLDOWN_S)
NODES = 3
EVEN, UNEVEN = (1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1)
CALM_RATE = 3.0
PROCESSES = 2
LOW_RATE, HIGH_RATE = 20.0, 80.0
CPU_PROXIES = 500
COUNTRIES = 20
APART_S = 0.1
IDLE = "select country, name from ip_rotation_pool join nodes using (node_id) where status = 'available'"
MOVED_S = 4.0


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    return [
        _cpu(scene, quick, say),
        _redirects(scene, quick, say),
        *_efficiency(scene, quick, say),
        _extra_wait(scene, quick, say),
        *ownership.run(scene, quick, say),
    ]


def _cpu(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """By the slope between two rates, so that costs per second, which each process has, do not count."""
    turns, turn_s = (1, 6.0) if quick else (3, 10.0)
    measured: dict[int, Measured] = {}
    with scene.network(CPU_PROXIES) as network, ExitStack() as running:
        for processes in (1, PROCESSES):
            url = scene.database()
            add_ips(url, network)
            add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
            sections = {"pool": {"cooldown_s": CPU_COOLDOWN_S}}
            daemon = running.enter_context(scene.daemon(url, sections, processes=processes))
            measured[processes] = Measured(daemon.click_url("plain"), daemon.cpu_s)
            loaded(start_load("clicks", daemon.click_url("plain"), str(HIGH_RATE), str(WARM_S)))
        for turn in range(1, turns + 1):
            for rate in (LOW_RATE, HIGH_RATE):
                for processes, one in measured.items():
                    say(f"CPU, turn {turn} of {turns}: {processes} processes, {rate:g} clicks/s for {turn_s:g} s")
                    one.turn(rate, turn_s)
    one, several = measured[1], measured[PROCESSES]
    return Figure(
        f"CPU per click with {PROCESSES} processes, in parts of one process's",
        several.slope_ms / one.slope_ms,
        "",
        1.05,
        reference=1.0,
        beside=f"one process: {shown(one.slope_ms, 'ms')}; {one}",
        note=f"slope between {LOW_RATE:g} and {HIGH_RATE:g} clicks/s: {shown(several.slope_ms, 'ms')}; {several}",
    )


def _redirects(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """Fallbacks without a trace; the load generator takes a part of the cores as well."""
    turns, turn_s = (1, 3) if quick else (4, 5)
    rates: dict[int, list[float]] = {1: [], PROCESSES: []}
    cpu_s = {1: 0.0, PROCESSES: 0.0}
    with ExitStack() as running:
        daemons = {}
        for processes in rates:
            url = scene.database()
            add_offer(url, "empty", "http://track.example/a", country="zz")
            daemons[processes] = running.enter_context(scene.daemon(url, processes=processes))
        for turn in range(1, turns + 1):
            for processes, daemon in daemons.items():
                say(f"redirects, turn {turn} of {turns}: {processes} processes for {turn_s} s")
                before_s = daemon.cpu_s()
                rates[processes].append(redirects_per_s(daemon.click_url("empty") + "&gclid=g1", turn_s))
                cpu_s[processes] += daemon.cpu_s() - before_s
    one, several = (sum(found) / turns for found in rates.values())
    one_ms, several_ms = (1000 * cpu_s[of] / max(1.0, sum(rates[of]) * turn_s) for of in rates)
    return Figure(
        f"redirects without a trace with {PROCESSES} processes, in parts of one process's",
        several / one,
        "",
        1.6,
        at_least=True,
        reference=1.0,
        beside=f"one process: {one:,.0f} /s, {shown(one_ms, 'ms')} of CPU each",
        note=f"{several:,.0f} /s, {shown(several_ms, 'ms')} of CPU each; {CONNECTIONS} connections of wrk, on the same "
        f"{os.cpu_count()} cores",
    )


@contextmanager
def _nodes(scene: Scene, url: str, count: int, sections: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Daemon]]:
    """So many daemons on one database."""
    with ExitStack() as running:
        named = ({**sections, "node": {"name": f"node-{number}"}} for number in range(1, count + 1))
        yield [running.enter_context(scene.daemon(url, its)) for its in named]


def _efficiency(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Of a saturated pool, and the waits at few clicks, with one node, and with three at even and at uneven load."""
    length_s, warm_s = (8.0, 30.0) if quick else (25.0, 40.0)
    single, calm_ms, _ = _traces(scene, (1.0,), length_s, warm_s, say)
    even, several_calm_ms, even_note = _traces(scene, EVEN, length_s, warm_s, say)
    uneven, _, uneven_note = _traces(scene, UNEVEN, length_s, warm_s, say)
    beside = f"one node, of which {single / MOST_PER_S:.3f} is the efficiency: {shown(single, 'traces/s')}"
    return [
        Figure(f"pool efficiency, {NODES} nodes, even load, in parts of one node's", even / single, "", 0.97,
               at_least=True, reference=1.0, beside=beside, note=even_note),
        Figure(f"pool efficiency, {NODES} nodes, 80:10:10, in parts of one node's", uneven / single, "", 0.93,
               at_least=True, reference=1.0, beside=beside, note=uneven_note),
        Figure(f"a click beyond its chain at {CALM_RATE:g}/s, median, {NODES} nodes", several_calm_ms, "ms", calm_ms,
               reference=calm_ms, beside="one node", note="with a durable lease, an answer and a durable hit"),
    ]  # fmt: skip


def _traces(
    scene: Scene, parts: Sequence[float], length_s: float, warm_s: float, say: Callable[[str], None]
) -> tuple[float, float, str]:
    """Traces per second, the median of a click's wait beyond its chain at few clicks in ms, and outcomes."""
    url = scene.database()
    with scene.network(IPS) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
        with _nodes(scene, url, len(parts), {"pool": {"cooldown_s": COOLDOWN_S}}) as daemons:
            say(f"efficiency: {len(parts)} nodes, load {':'.join(f'{100 * part:.0f}' for part in parts)}")
            rate = 1.25 * MOST_PER_S
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
            time.sleep(TRACE_S + COOLDOWN_S)
            calm = [
                start_load("clicks", daemon.click_url("plain"), str(CALM_RATE / len(daemons)), str(length_s))
                for daemon in daemons
            ]
            waits_ms = [wait_ms for load in calm for wait_ms in loaded(load)["waits_ms"]]
    fallbacks = sum(outcome == "fallback" for _, _, outcome in clicks)
    per_s = sum((len(at) - 1) / seconds(at) for at in landings.values() if len(at) > 1)
    note = f"{shown(per_s, 'traces/s')} over {len(landings)} IPs; {fallbacks} of {len(clicks)} clicks fell back"
    return per_s, quantile(waits_ms, 0.5) - 1000 * TRACE_S, note


def _extra_wait(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """Each country has one IP; its clicks come to the node that does not own it."""
    rounds = 2 if quick else 6
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
