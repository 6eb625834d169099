"""Breaks tracepool on purpose and checks that its promises hold; exits with 1 on any breach.

    python -m tests.faults --rounds 20 --seed 1
    python -m tests.faults --rounds 5 --fault daemon-killed --fault sigterm
    python -m tests.faults --lies

Prints a line for each round and each fault. After a breach it keeps the directory with all logs, rows and answers, and
prints where. With `--lies` the daemon breaks a promise itself, one at a time (see lies.py), and each fault must notice
each lie; this takes more than half an hour.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import trio

from tests.faults.disks import tmpfs_refused
from tests.faults.lies import LIES
from tests.faults.outcome import NAME_WIDTH, Outcome
from tests.faults.run import FAULTS, Ended, Say, lies_of, run_all
from tests.faults.stage import Fault, Knobs
from tests.support.needs import program_path

LANES = 2
OUTAGE_OF_LIES_S = 8.0


def say(line: str) -> None:
    print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help="rounds of each fault; default: those of the short form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", action="append", choices=sorted(FAULTS), help="run only this fault; may be repeated")
    parser.add_argument("--lies", action="store_true", help="check that each fault notices each lie of the daemon")
    parser.add_argument("--lie", action="append", choices=sorted(LIES), help="only this lie; may be repeated")
    parser.add_argument("--lanes", type=int, help=f"faults at a time; default: 1, with --lies {LANES}")
    parser.add_argument("--outage-s", type=float, help="how long PostgreSQL stays away; default: 32, with --lies 8")
    parser.add_argument("--keep", action="store_true", help="keep the logs, rows and answers without a breach too")
    parser.add_argument("--list", action="store_true", help="list the faults and lies, and exit")
    options = parser.parse_args(words)
    if options.list:
        for fault in FAULTS.values():
            say(f"{fault.name:{NAME_WIDTH}} {fault.what}")
        for lie in LIES.values():
            say(f"{lie.name:{NAME_WIDTH}} {lie.what}")
        return 0
    faults = [FAULTS[name] for name in options.fault or FAULTS if _possible(FAULTS[name])]
    knobs = Knobs(keep=options.keep)
    if options.outage_s is not None:
        knobs = replace(knobs, outage_s=options.outage_s)
    if options.lies or options.lie:
        if options.outage_s is None:
            knobs = replace(knobs, outage_s=OUTAGE_OF_LIES_S)
        wanted = set(options.lie or LIES)
        lies = [(fault, lie.name) for fault in faults for lie in lies_of(fault) if lie.name in wanted]
        jobs = [(fault, options.rounds or 1, replace(knobs, lie=lie)) for fault, lie in lies]
        return _lies(jobs, options.seed, options.lanes or LANES)
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


def _lies(jobs: Sequence[tuple[Fault, int, Knobs]], seed: int, lanes: int) -> int:
    unseen: list[str] = []
    count = 0

    def ended(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        seen_as = LIES[outcome.lie or ""].seen_as
        say(f"{count:3}/{len(jobs)} {outcome.lie_line(seen_as)}")
        if not outcome.noticed(seen_as):
            unseen.append(outcome.lie_line(seen_as))

    _timed(jobs, seed, lanes, lambda line: None, ended)
    say("\n".join([f"{count} lies, {len(unseen)} not seen", *unseen]))
    return 1 if unseen else 0


def _timed(jobs: Sequence[tuple[Fault, int, Knobs]], seed: int, lanes: int, say_round: Say, ended: Ended) -> None:
    began_s = time.monotonic()
    trio.run(run_all, jobs, seed, lanes, say_round, ended)
    say(f"{len(jobs)} runs took {(time.monotonic() - began_s) / 60:.1f} minutes")


if __name__ == "__main__":
    sys.exit(main())
