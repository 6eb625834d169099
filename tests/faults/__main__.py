"""Breaks tracepool on purpose and checks that its promises hold; exits with 1 on any breach.

    python -m tests.faults --rounds 20 --seed 1
    python -m tests.faults --rounds 5 --fault daemon-killed --fault sigterm
    python -m tests.faults --mutants

Prints a line for each round and each fault. After a breach it keeps the directory with all logs, rows and answers, and
prints where. With `--mutants` the daemon itself breaks one promise at a time (mutants.py): each fault must notice it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from tests.faults.disks import tmpfs_refused
from tests.faults.mutants import MUTANTS
from tests.faults.outcome import NAME_WIDTH, Outcome
from tests.faults.run import FAULTS, Ended, Say, mutants_of, run_all
from tests.faults.stage import Fault, Knobs
from tests.support.needs import program_path

LANES = 2
OUTAGE_OF_MUTANTS_S = 8.0


def say(line: str) -> None:
    print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help="rounds of each fault; default: those of the short form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", action="append", choices=sorted(FAULTS), help="run only this fault; may be repeated")
    parser.add_argument(
        "--mutants", action="store_true", help="check that each fault notices each mutant of the daemon (an hour)"
    )
    parser.add_argument("--mutant", action="append", choices=sorted(MUTANTS), help="only this mutant; may be repeated")
    parser.add_argument("--lanes", type=int, help=f"faults at a time; default: 1, with --mutants {LANES}")
    parser.add_argument("--outage-s", type=float, help="how long PostgreSQL stays away; default: 32, with --mutants 8")
    parser.add_argument("--before", type=Path, help="checkout of an earlier version, for nodes-upgraded-one-by-one")
    parser.add_argument("--keep", action="store_true", help="keep the logs, rows and answers without a breach too")
    parser.add_argument("--list", action="store_true", help="list the faults and mutants, and exit")
    options = parser.parse_args(words)
    if options.list:
        for fault in FAULTS.values():
            say(f"{fault.name:{NAME_WIDTH}} {fault.what}")
        for mutant in MUTANTS.values():
            where = "each fault with a new start" if mutant.at_start else "each fault"
            where = ", ".join(sorted(mutant.in_faults)) or where
            say(f"{mutant.name:{NAME_WIDTH}} {mutant.what}; {where} must notice it")
        return 0
    faults = [FAULTS[name] for name in options.fault or FAULTS if _possible(FAULTS[name])]
    knobs = Knobs(keep=options.keep, before=options.before and options.before.resolve())
    if options.outage_s is not None:
        knobs = replace(knobs, outage_s=options.outage_s)
    if options.mutants or options.mutant:
        if options.outage_s is None:
            knobs = replace(knobs, outage_s=OUTAGE_OF_MUTANTS_S)
        wanted = set(options.mutant or MUTANTS)
        mutants = [(fault, mutant.name) for fault in faults for mutant in mutants_of(fault) if mutant.name in wanted]
        jobs = [(fault, options.rounds or 1, replace(knobs, mutant=mutant)) for fault, mutant in mutants]
        return _mutants(jobs, options.seed, options.lanes or LANES)
    jobs = [(fault, options.rounds or fault.rounds, knobs) for fault in faults]
    return _faults(jobs, options.seed, options.lanes or 1)


def _possible(fault: Fault) -> bool:
    why = tmpfs_refused() if fault.on_tmpfs else None
    if missing := [package for package in fault.needs if program_path(package) is None]:
        why = f"needs the package {', '.join(missing)}"
    if why:
        say(f"{fault.name}: left out: {why}")
    return not why


def _faults(jobs: Sequence[tuple[Fault, int, Knobs]], seed: int, lanes: int) -> int:
    outcomes: list[Outcome] = []

    def ended(outcome: Outcome) -> None:
        outcomes.append(outcome)
        say("\n".join([outcome.line(), *outcome.details()]))

    _timed(jobs, seed, lanes, say, ended)
    say("\n".join(["", *(outcome.line() for outcome in outcomes)]))
    return 1 if any(outcome.breaches for outcome in outcomes) else 0


def _mutants(jobs: Sequence[tuple[Fault, int, Knobs]], seed: int, lanes: int) -> int:
    unnoticed: list[str] = []
    count = 0

    def ended(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        noticed_as = MUTANTS[outcome.mutant or ""].noticed_as
        say(f"{count:3}/{len(jobs)} {outcome.mutant_line(noticed_as)}")
        if not outcome.noticed(noticed_as):
            unnoticed.append(outcome.mutant_line(noticed_as))

    _timed(jobs, seed, lanes, lambda line: None, ended)
    say("\n".join([f"{count} mutants, {len(unnoticed)} unnoticed", *unnoticed]))
    return 1 if unnoticed else 0


def _timed(jobs: Sequence[tuple[Fault, int, Knobs]], seed: int, lanes: int, say_round: Say, ended: Ended) -> None:
    began_s = time.monotonic()
    trio.run(run_all, jobs, seed, lanes, say_round, ended)
    say(f"{len(jobs)} runs took {(time.monotonic() - began_s) / 60:.1f} minutes")


if __name__ == "__main__":
    sys.exit(main())
