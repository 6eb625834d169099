"""Mutants of the daemon: each breaks one promise a little. They test whether the faults notice a broken promise.

`install` patches the daemon's code in its process, before it starts. `noticed_as`: the kinds of breach that reveal it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import uuid4

from daemon.journal.spool import Spool
from daemon.nodes import member
from daemon.nodes.membership import Sighting
from daemon.pool import stock
from daemon.pool.rests import Rests
from daemon.pool.states import NEVER_USED, Event, Ip, Occurrence, Rules, Status

ONE_IN = 7
USED_TWICE = frozenset({"overlap", "cooldown"})


@dataclass(frozen=True, slots=True)
class Mutant:
    """`at_start`: it breaks the promise only when pools are loaded, so only a fault with a new start reveals it.

    `in_faults`: the faults that reveal it; empty: all.
    """

    name: str
    what: str
    install: Callable[[], None]
    noticed_as: frozenset[str]
    at_start: bool = False
    in_faults: frozenset[str] = frozenset()


def rest_shorter(part: float) -> None:
    move = vars(stock)["move"]

    def moves(ip: Ip, occurrence: Occurrence, rules: Rules) -> None:
        move(ip, occurrence, rules)
        if occurrence.event is not Event.RESET and ip.status is Status.COOLDOWN and ip.locked_until_s is not None:
            ip.locked_until_s = occurrence.now_s + part * (ip.locked_until_s - occurrence.now_s)

    setattr(stock, "move", moves)  # noqa: B010 - mypy refuses to set an imported name


def lease_without_lock() -> None:
    """The trace gets its IP, and the pool has it as available."""
    move, leases = vars(stock)["move"], count(1)

    def moves(ip: Ip, occurrence: Occurrence, rules: Rules) -> None:
        move(ip, occurrence, rules)
        if occurrence.event is Event.LEASE and next(leases) % ONE_IN == 0:
            ip.status = Status.AVAILABLE

    setattr(stock, "move", moves)  # noqa: B010 - mypy refuses to set an imported name


def forget_rests() -> None:
    """A pool that is loaded has all IPs as available and never used."""

    def settle(rests: Rests, row: Ip, *_: object) -> None:
        if row.status in (Status.LOCKED, Status.COOLDOWN):
            row.status, row.locked_until_s, row.locked_by = Status.AVAILABLE, None, None
        row.last_used_s = NEVER_USED

    def settle_again(rests: Rests, rows: Iterable[Ip], *_: object) -> None:
        for row in rows:
            settle(rests, row)
        rests.__init__()  # type: ignore[misc]

    Rests.learn = lambda *_: None  # type: ignore[method-assign]
    Rests.settle = settle  # type: ignore[method-assign,assignment]
    Rests.settle_again = settle_again  # type: ignore[method-assign,assignment]


def free_without_quiet() -> None:
    """A lost node's IPs are free once its trust has ended, as if nothing that it began could still run."""
    sighting_of = vars(member)["sighting_of"]

    def sees(row: Mapping[str, Any]) -> Sighting:
        seen: Sighting = sighting_of(row)
        quiet_s = row["quiet_s"]
        return replace(seen, lasts_s=seen.lasts_s - quiet_s, free_in_s=seen.free_in_s - quiet_s)

    setattr(member, "sighting_of", sees)  # noqa: B010 - mypy refuses to set an imported name


def trust_without_end() -> None:
    """A node that does not reach PostgreSQL goes on leasing when its trust has ended."""
    setattr(member, "trusts_itself_until", lambda *_: float("inf"))  # noqa: B010 - as above


def change_entries(change: Callable[[str, str], Sequence[tuple[str, str]]]) -> None:
    """What the spool gets instead of each entry (kind, body)."""
    append = Spool.append

    def appends(spool: Spool, entries: Sequence[tuple[str, str]], *args: Any) -> int:
        return append(spool, [changed for entry in entries for changed in change(*entry)], *args)

    Spool.append = appends  # type: ignore[method-assign,assignment]


def lose_hits() -> None:
    hits = count(1)

    def change(kind: str, body: str) -> Sequence[tuple[str, str]]:
        return () if kind == "hit" and next(hits) % ONE_IN == 0 else ((kind, body),)

    change_entries(change)


def double_hits() -> None:
    hits = count(1)

    def change(kind: str, body: str) -> Sequence[tuple[str, str]]:
        if kind != "hit" or next(hits) % ONE_IN:
            return ((kind, body),)
        again = json.dumps(json.loads(body) | {"request_id": str(uuid4())})
        return (kind, body), (kind, again)

    change_entries(change)


def lose_traces() -> None:
    traces, lost = count(1), set[str]()

    def change(kind: str, body: str) -> Sequence[tuple[str, str]]:
        if not kind.startswith("trace_"):
            return ((kind, body),)
        request_id = json.loads(body)["request_id"]
        if kind == "trace_pending" and next(traces) % ONE_IN == 0:
            lost.add(request_id)
        return () if request_id in lost else ((kind, body),)

    change_entries(change)


MUTANTS = {
    mutant.name: mutant
    for mutant in (
        Mutant("rest-0.9", "cooldowns last 90 %", lambda: rest_shorter(0.9), USED_TWICE),
        Mutant("rest-0.5", "cooldowns last 50 %", lambda: rest_shorter(0.5), USED_TWICE),
        Mutant("lease-without-lock", "one lease in seven does not lock its IP", lease_without_lock, USED_TWICE),
        Mutant("rest-forgotten", "a start forgets locks and cooldowns", forget_rests, USED_TWICE, at_start=True),
        Mutant("hit-lost", "one hit in seven is lost", lose_hits, frozenset({"no hit", "rows late"})),
        Mutant("hit-doubled", "one hit in seven is there twice", double_hits, frozenset({"twice"})),
        Mutant("trace-lost", "one trace's row in seven is lost", lose_traces, frozenset({"unfinished", "no trace"})),
        Mutant(
            "freed-without-quiet",
            "IPs of a lost node are free when its trust ends",
            free_without_quiet,
            USED_TWICE | {"too early"},
            in_faults=frozenset({"node-lost"}),
        ),
        Mutant(
            "trust-without-end",
            "a node without PostgreSQL leases for ever",
            trust_without_end,
            USED_TWICE | {"not said"},
            in_faults=frozenset({"node-cut-off"}),
        ),
    )
}
