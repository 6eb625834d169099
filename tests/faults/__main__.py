"""Breaks tracepool on purpose and checks that its promises hold; exits with 1 on any breach.

    python -m tests.faults --rounds 20 --seed 1
    python -m tests.faults --rounds 5 --fault daemon-killed --fault sigterm

Prints a line for each round. After a breach it keeps the directory with all logs, rows and answers, and prints where.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import trio

from tests.faults.disks import tmpfs_refused
from tests.faults.run import FAULTS, run
from tests.faults.stage import Knobs
from tests.support.needs import program_path


def say(line: str) -> None:
    print(line, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help="rounds of each fault; default: those of the short form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", action="append", choices=sorted(FAULTS), help="run only this fault; may be repeated")
    parser.add_argument("--outage-s", type=float, default=Knobs().outage_s, help="how long PostgreSQL stays away")
    parser.add_argument("--keep", action="store_true", help="keep the logs, rows and answers without a breach too")
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    options = parser.parse_args(words)
    if options.list:
        for fault in FAULTS.values():
            say(f"{fault.name:26} {fault.what}")
        return 0
    outcomes = []
    for name in options.fault or FAULTS:
        fault = FAULTS[name]
        if fault.on_tmpfs and (why := tmpfs_refused()):
            say(f"{name}: left out: {why}")
            continue
        if missing := [package for package in fault.needs if program_path(package) is None]:
            say(f"{name}: left out: needs the package {', '.join(missing)}")
            continue
        began_s = time.monotonic()
        knobs = Knobs(outage_s=options.outage_s, keep=options.keep)
        outcomes.append(trio.run(run, fault, options.rounds or fault.rounds, options.seed, knobs, say))
        say(f"{name}: took {time.monotonic() - began_s:.1f} s, {len(outcomes[-1].breaches)} breaches")
    say("\n".join(["", *(outcome.summary() for outcome in outcomes)]))
    return 1 if any(outcome.breaches for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
