"""Two processes compared with one: CPU per click, and fallbacks per second. A part of the benchmark `nodes`.

The load generator, PostgreSQL and other programs take from the same cores. So the variants are measured in turns, each
figure is the median of the turns' ratios, and a turn during which other programs used more than OTHERS_MAX of a core
does not count, unless that holds for all turns.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median

import psutil

from tests.bench.cpu import COOLDOWN_S, DELAY_MS, REQUESTS, SETTLE_S, WARM_S
from tests.bench.figures import Figure, shown
from tests.bench.redirects import CONNECTIONS, redirects_per_s
from tests.bench.scene import Daemon, Scene, add_ips, add_offer, loaded, start_load

PROCESSES = 2
RATE = 50.0
PROXIES = 500
OTHERS_MAX = 0.15
ONE, SAME_IN_SUM, SAME_EACH = "one process", f"{PROCESSES} processes, the same in sum", f"{PROCESSES}, the same each"
VARIANTS = {ONE: (1, 1), SAME_IN_SUM: (PROCESSES, 1), SAME_EACH: (PROCESSES, PROCESSES)}
"""By name: (processes, load as a multiple of one process's)."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one variant did: answers, and CPU seconds by program. `others`: cores that further programs used."""

    answers: float
    length_s: float
    daemon_s: float
    server_s: float
    load_s: float
    others: float

    @property
    def per_s(self) -> float:
        return self.answers / self.length_s

    @property
    def daemon_ms(self) -> float:
        return 1000 * self.daemon_s / self.answers

    @property
    def per_cpu_s(self) -> float:
        """Answers per CPU second of daemon and PostgreSQL."""
        return self.answers / (self.daemon_s + self.server_s)

    def __str__(self) -> str:
        server, load = (shown(1000 * cpu_s / self.answers, "ms") for cpu_s in (self.server_s, self.load_s))
        return (
            f"{self.per_s:,.0f} /s, CPU each: daemon {shown(self.daemon_ms, 'ms')}, PostgreSQL {server}, load {load}; "
            f"{self.per_cpu_s:,.0f} per CPU second of daemon and PostgreSQL"
        )


Turns = list[dict[str, _Turn]]


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> Iterator[Figure]:
    yield from _cpu(scene, quick, say)
    yield from _redirects(scene, quick, say)


def _measured(scene: Scene, daemon: Daemon, network_pid: int | None, answered: Callable[[], float]) -> _Turn:
    """`answered()` puts load on the daemon, and returns the number of answers."""
    network = None if network_pid is None else psutil.Process(network_pid)

    def used() -> tuple[float, ...]:
        load = resource.getrusage(resource.RUSAGE_CHILDREN)
        all_cores, own = psutil.cpu_times(), sum(os.times()[:2])
        of_network = sum(network.cpu_times()[:2]) if network else 0.0
        busy_s = sum(all_cores) - all_cores.idle - all_cores.iowait - all_cores.guest - all_cores.guest_nice
        load_s = load.ru_utime + load.ru_stime + of_network + own
        return time.monotonic(), daemon.cpu_s(), scene.server_cpu_s(), load_s, busy_s

    before = used()
    answers = answered()
    length_s, daemon_s, server_s, load_s, busy_s = (b - a for a, b in zip(before, used(), strict=True))
    others = (busy_s - daemon_s - server_s - load_s) / length_s
    return _Turn(max(1.0, answers), length_s, daemon_s, server_s, load_s, others)


def _cpu(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """CPU time of the whole daemon, divided by the resolved clicks: what each process costs per second counts."""
    count, turn_s = (1, 5.0) if quick else (3, 8.0)
    with scene.network(PROXIES) as network, ExitStack() as running:
        daemons = {}
        for processes in (1, PROCESSES):
            url = scene.database()
            add_ips(url, network)
            add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
            sections = {"pool": {"cooldown_s": COOLDOWN_S}}
            daemon = daemons[processes] = running.enter_context(scene.daemon(url, sections, processes=processes))
            loaded(start_load("clicks", daemon.click_url("plain"), str(RATE), str(WARM_S)))

        def resolved(daemon: Daemon, rate: float) -> float:
            found = loaded(start_load("clicks", daemon.click_url("plain"), str(rate), str(turn_s)))
            time.sleep(SETTLE_S)
            return float(found["outcomes"].get("resolved", 0))

        turns: Turns = []
        for number in range(1, count + 1):
            say(f"CPU, turn {number} of {count}: {RATE:g} clicks/s for {turn_s:g} s, with {' and '.join(VARIANTS)}")
            turns.append(
                {
                    name: _measured(scene, daemons[of], network.pid, partial(resolved, daemons[of], RATE * by))
                    for name, (of, by) in VARIANTS.items()
                }
            )
    kept, others = _undisturbed(turns)
    return [
        Figure(
            f"CPU per click, {name}, in parts of one process's",
            median(turn[name].daemon_ms / turn[ONE].daemon_ms for turn in kept),
            "",
            1.05,
            reference=1.0,
            beside=f"one process: {_middle(kept, ONE)}",
            note=f"{RATE:g} clicks/s for one process: {_middle(kept, name)}; {others}",
        )
        for name in (SAME_EACH, SAME_IN_SUM)
    ]


def _redirects(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Fallbacks without a trace, as many as the cores allow."""
    count, turn_s = (1, 2) if quick else (6, 3)
    with ExitStack() as running:
        daemons = {}
        for processes in (1, PROCESSES):
            url = scene.database()
            add_offer(url, "empty", "http://track.example/a", country="zz")
            daemons[processes] = running.enter_context(scene.daemon(url, processes=processes))

        def redirected(daemon: Daemon, connections: int) -> float:
            return turn_s * redirects_per_s(daemon.click_url("empty") + "&gclid=g1", turn_s, connections)

        turns: Turns = []
        for number in range(1, count + 1):
            say(f"redirects, turn {number} of {count}: {turn_s} s each with {' and '.join(VARIANTS)}")
            turns.append(
                {
                    name: _measured(scene, daemons[of], None, partial(redirected, daemons[of], CONNECTIONS * by))
                    for name, (of, by) in VARIANTS.items()
                }
            )
    kept, others = _undisturbed(turns)
    figures = [
        Figure(
            f"redirects without a trace, {name}, in parts of one process's",
            median(turn[name].per_s / turn[ONE].per_s for turn in kept),
            "",
            1.6,
            at_least=True,
            reference=1.0,
            beside=f"one process: {_middle(kept, ONE)}",
            note=f"{CONNECTIONS} connections of wrk for one process: {_middle(kept, name)}; {others}",
        )
        for name in (SAME_EACH, SAME_IN_SUM)
    ]
    per_cpu_s = median(turn[SAME_EACH].per_cpu_s / turn[ONE].per_cpu_s for turn in kept)
    return [
        *figures,
        Figure(
            f"redirects per CPU second of daemon and PostgreSQL, {SAME_EACH}, in parts of one process's",
            per_cpu_s,
            "",
            at_least=True,
            reference=1.0,
            beside="one process",
            note=f"with {PROCESSES} cores of its own the daemon would answer {PROCESSES * per_cpu_s:.2f} × as many",
        ),
    ]


def _undisturbed(turns: Turns) -> tuple[Turns, str]:
    """The turns that count, and in words how many they are and what other programs used meanwhile."""
    kept = [turn for turn in turns if max(its.others for its in turn.values()) <= OTHERS_MAX]
    used = median(its.others for turn in kept or turns for its in turn.values())
    said = f"{len(kept)} of {len(turns)} turns undisturbed" if kept else f"none of {len(turns)} turns undisturbed"
    return kept or turns, f"{said}; other programs used {max(0.0, used):.2f} of {os.cpu_count()} cores"


def _middle(turns: Turns, name: str) -> _Turn:
    """The turn with the middle rate per CPU second."""
    return sorted((turn[name] for turn in turns), key=lambda its: its.per_cpu_s)[len(turns) // 2]
