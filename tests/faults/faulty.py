"""Runs `tracepool` in a process with faults built in, given as NAME=VALUE.

    python -m tests.faults.faulty writes=30 report=FILE -- serve --config FILE

- `writes=MOST`: the disk refuses the spool's 1st write, then the 2nd write after that, then the 3rd, up to MOST, and
  then starts again with the 1st.
- `held=FLAG`: the disk refuses every write and read while the file FLAG exists.
- `messages=MOST`: the pools' actors raise on messages counted as under `writes`, every other time after the pool
  changed.
- `traces=MOST`: the trace workers raise in traces counted in the same way, every other time after the walk.
- `clock=FILE`: the wall clock differs from the machine's by the seconds in the file (shift.py), which may change.
- `suspended=FILE`: the monotonic clocks stood still for the seconds in the file, as those of a machine that was
  suspended. The boot clock and the wall clock did not.
- `version=TEXT`: the daemon is of this version.
- `mutant=NAME`: breaks a promise, see mutants.py.

`writes`, `held`, `messages` and `traces` write a line of JSON to `report=FILE` for each fault.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from daemon import pauses
from daemon.__main__ import main
from daemon.clock import Moment
from daemon.journal.spool import Spool
from daemon.pool.messages import Decision, Message
from daemon.pool.pool import Pool
from daemon.trace import local
from tests.faults.mutants import MUTANTS
from tests.faults.shift import Shift

REFUSALS = ("database or disk is full", "attempt to write a readonly database", "disk I/O error")


class Nth:
    """Counts calls: to 1, then to 2, and so on to `most`, then from 1 again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._n = 1
        self._left = 1

    def due(self) -> int:
        """Return n if this is the nth call since the last one that was due, else 0."""
        self._left -= 1
        if self._left:
            return 0
        due, self._n = self._n, self._n % self._most + 1
        self._left = self._n
        return due


class Report:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, **values: object) -> None:
        os.write(self._file, json.dumps(values).encode() + b"\n")


def refuse_writes(nth: Nth | None, flag: Path | None, report: Report) -> None:
    append = Spool.append
    writes = 0

    def refusing(spool: Spool, entries: Sequence[tuple[str, str]], *args: Any) -> int:
        nonlocal writes
        writes += 1
        n = nth.due() if nth else 0
        if not n and not (flag and flag.exists()):
            return append(spool, entries, *args)
        bodies = [json.loads(body) for kind, body in entries if kind == "ip_changed"]
        leases = [body["locked_by_request"] for body in bodies if body["event"] == "lease"]
        report.write(n=n, write=writes, entries=len(entries), leases=leases)
        raise sqlite3.OperationalError(REFUSALS[writes % len(REFUSALS)])

    Spool.append = refusing  # type: ignore[method-assign,assignment]


def refuse_reads(flag: Path) -> None:
    for name in ("read", "bounds", "backlog"):
        ask = getattr(Spool, name)

        def refusing(*args: Any, ask: Callable[..., Any] = ask) -> Any:
            if flag.exists():
                raise sqlite3.OperationalError("disk I/O error")
            return ask(*args)

        setattr(Spool, name, refusing)


def raise_on_messages(nth: Nth, report: Report) -> None:
    """A message that an actor handles again after a crash does not count: else a long queue would never be served."""
    decide = Pool.decide
    decided: dict[int, Message] = {}
    pauses.PAUSE_MAX_S = pauses.PAUSE_MIN_S  # many crashes in a short time: how pauses grow is tested elsewhere

    def raising(pool: Pool, message: Message, now: Moment, decision: Decision) -> None:
        n = 0 if id(message) in decided else nth.due()
        decided[id(message)] = message  # kept, so that its id is not used again
        if n % 2 == 0:  # 0: no fault is due
            decide(pool, message, now, decision)
        if n:
            report.write(n=n, message=type(message).__name__)
            raise RuntimeError(f"on purpose, at message {n}: {type(message).__name__}")

    Pool.decide = raising  # type: ignore[method-assign,assignment]


def raise_in_traces(nth: Nth, report: Report) -> None:
    trace = vars(local)["trace"]
    pauses.PAUSE_MAX_S = pauses.PAUSE_MIN_S

    async def raising(*args: Any, **values: Any) -> Any:
        n = nth.due()
        result = await trace(*args, **values) if n % 2 == 0 else None
        if n:
            report.write(n=n)
            raise RuntimeError(f"on purpose, in trace {n}")
        return result

    setattr(local, "trace", raising)  # noqa: B010 - mypy refuses to set an imported name


def shift_wall_clock(shift: Shift) -> None:
    read = time.time
    time.time = lambda: read() + shift.read_s()


def stop_monotonic_clocks(shift: Shift) -> None:
    """Trio has imported perf_counter by name."""
    monotonic, perf_counter = time.monotonic, time.perf_counter
    time.monotonic = lambda: monotonic() - shift.read_s()
    time.perf_counter = lambda: perf_counter() - shift.read_s()
    trio_clock = sys.modules[trio._core._run.__name__]
    setattr(trio_clock, "perf_counter", time.perf_counter)  # noqa: B010 - mypy refuses to set an imported name


def be_version(text: str) -> None:
    for module in list(sys.modules.values()):
        if module.__name__.startswith("daemon") and "__version__" in vars(module):
            setattr(module, "__version__", text)  # noqa: B010 - as above


def build_in(name: str, value: str, report: Report | None) -> None:
    match name:
        case "clock":
            shift_wall_clock(Shift(Path(value)))
        case "suspended":
            stop_monotonic_clocks(Shift(Path(value)))
        case "version":
            be_version(value)
        case "mutant":
            MUTANTS[value].install()
        case _:
            assert report is not None
            if name == "messages":
                raise_on_messages(Nth(int(value)), report)
            elif name == "traces":
                raise_in_traces(Nth(int(value)), report)
            elif name == "writes":
                refuse_writes(Nth(int(value)), None, report)
            else:
                assert name == "held", name
                refuse_writes(None, Path(value), report)
                refuse_reads(Path(value))


def run(words: list[str]) -> int:
    at = words.index("--")
    given = dict(word.split("=", 1) for word in words[:at])
    report = given.pop("report", None)
    for name, value in given.items():
        build_in(name, value, Report(report) if report else None)
    return main(words[at + 1 :])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
