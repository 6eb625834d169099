"""`python -m tests.sim --seeds N`: worlds of many nodes in virtual time, one for each seed; `--seed S` plays one again.

Most worlds are small: three to five nodes and all kinds of faults. Some measure the pool's efficiency beside a single
node's (node flaps, load that turns), and some are large (50 nodes, 100,000 IPs). A breach of an invariant prints its
seed, its faults, the command that reproduces it, and the last events of the endpoint.
"""

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.sim.faults import SCRIPTS
from tests.sim.mutants import MUTANTS
from tests.sim.scenes import KINDS, Result, kind_of, run

SHOWN_MAX = 5
EACH_S = 2.0


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.seed is not None:
        result = run(options.seed, options.kind or kind_of(options.seed), options.only, options.mutant)
        _show(result)
        _summary([result])
        return 1 if result.breaches else 0
    results = []
    began_s = said_s = time.monotonic()
    for result in _results(options):
        results.append(result)
        if result.breaches and sum(bool(r.breaches) for r in results) <= SHOWN_MAX:
            _show(result)
        if time.monotonic() - said_s >= EACH_S:
            said_s = time.monotonic()
            breached = sum(bool(r.breaches) for r in results)
            print(
                f"{len(results)} of {options.seeds} seeds in {said_s - began_s:.0f} s, {breached} with breaches",
                file=sys.stderr,
                flush=True,
            )
    _summary(results)
    return 1 if any(result.breaches for result in results) else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default: 100)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one seed, with its history")
    parser.add_argument("--only", choices=SCRIPTS, help="small worlds with this fault")
    parser.add_argument("--kind", choices=KINDS, help="worlds of this kind, instead of a mixture")
    parser.add_argument("--mutant", choices=MUTANTS, help="with this deliberate fault of the protocol")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    return parser.parse_args(arguments)


def _results(options: argparse.Namespace) -> Iterator[Result]:
    seeds = range(options.first, options.first + options.seeds)
    kind = "small" if options.only else options.kind
    values = [(seed, kind or kind_of(seed), options.only, options.mutant) for seed in seeds]
    values.sort(key=lambda value: list(KINDS).index(value[1]), reverse=True)  # the longest first
    if options.jobs == 1:
        yield from (run(*value) for value in values)
        return
    with ProcessPoolExecutor(options.jobs) as processes:
        for played in as_completed([processes.submit(run, *value) for value in values]):  # a large one takes minutes
            yield played.result()


def _show(result: Result) -> None:
    for breach in result.breaches[:SHOWN_MAX]:
        print(f"\nBREACH {breach.kind} at {breach.at_s:.3f} s, seed {result.seed}, faults: {', '.join(result.scripts)}")
        print(f"  {breach.what}")
        for line in breach.history:
            print(f"    {line}")
    if result.breaches:
        print(f"  again: {result.command}", flush=True)


def _summary(results: list[Result]) -> None:
    """Tables on standard output: totals, each kind of fault with its breaches, and the efficiency."""
    print(f"\n{'seeds':>8} {'events':>12} {'clicks':>10} {'attempts':>10} {'moves':>9} {'CPU s':>8}")
    totals = [sum(getattr(result, name) for result in results) for name in ("events", "clicks", "attempts", "moves")]
    cpu_s = sum(result.cpu_s for result in results)
    print(f"{len(results):>8} {totals[0]:>12,} {totals[1]:>10,} {totals[2]:>10,} {totals[3]:>9,} {cpu_s:>8.0f}")
    seeds: Counter[str] = Counter()
    breaches: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        for name in {*result.scripts}:
            seeds[name] += 1
            breaches[name].update({breach.kind for breach in result.breaches})
    print(f"\n{'fault':<24} {'seeds':>6}  seeds with breaches, by invariant")
    for name, count in sorted(seeds.items()):
        found = ", ".join(f"{kind} {seeds_}" for kind, seeds_ in sorted(breaches[name].items()))
        print(f"{name:<24} {count:>6}  {found or '-'}")
    measured = [(name, value) for result in results for name, value in result.figures.items()]
    if measured:
        print(f"\n{'figure':<40} {'worst':>8} {'mean':>8}")
    for name in sorted({name for name, _ in measured}):
        values = [value for found, value in measured if found == name]
        worst = min(values) if "efficiency" in name else max(values)
        print(f"{name:<40} {worst:>8.3f} {sum(values) / len(values):>8.3f}")


if __name__ == "__main__":
    sys.exit(main())
