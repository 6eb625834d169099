"""`Fault`, the description of a fault, and `Stage`, the state that its rounds share."""

import json
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.records import Breach
from tests.faults.scene import COOLDOWN_S, DEADLINE_S, IPS, Scene, unequipped, until
from tests.faults.visitors import CLICKS_PER_S

SWEEP_S = 120.0
REPORT = "report={directory}/report.jsonl"


@dataclass(frozen=True, slots=True)
class Knobs:
    """Differences between the long and the short form. `keep`: keep the evidence without a breach too.

    `mutant`: one of mutants.MUTANTS, built in. `cooldown_factor`: above 1 where a start outlasts a cooldown.
    `slow_s`: what a loaded machine may add to a time limit. `before`: a checkout of an earlier version.
    """

    outage_s: float = 32.0
    serving_within_s: float = 10.0
    late_s: float = 2.0
    slow_s: float = 0.0
    keep: bool = False
    mutant: str | None = None
    cooldown_factor: int = 1
    before: Path | None = None


@dataclass(slots=True)
class Stage:
    """A running scene. `figures`: measured seconds by name. `breaches`: those that rounds found themselves."""

    scene: Scene
    rng: random.Random
    knobs: Knobs
    cooldown_s: float
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    breaches: list[Breach] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    def expect(self, holds: bool, kind: str, what: str) -> None:
        if not holds:
            self.breaches.append(Breach(kind, what))

    def turn(self) -> int:
        """Return 0 in the first round, 1 in the second, and so on; to be called once a round."""
        self.memory["turn"] = turn = self.memory.get("turn", -1) + 1
        return int(turn)

    async def sweep(self, nth_max: int) -> str:
        """Wait until faulty.py has made its fault for every n up to `nth_max` once more."""
        self.memory["sweeps"] = sweeps = self.memory.get("sweeps", 0) + 1
        began_s = time.monotonic()
        await until(lambda: len(self.reported()) >= sweeps * nth_max, f"every n to {nth_max} had its fault", SWEEP_S)
        return f"every n to {nth_max} within {time.monotonic() - began_s:.1f} s"

    def reported(self) -> list[dict[str, Any]]:
        """The faults that faulty.py has made so far."""
        report = self.scene.directory / "report.jsonl"
        return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []

    def measured(self, name: str, took_s: float, at_most_s: float = float("inf")) -> None:
        self.figures[name].append(took_s)
        self.expect(took_s <= at_most_s, "slow", f"{name}: {took_s:.2f} s; at most {at_most_s:g} s")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `round` breaks something once and returns a description; `rounds` is their number in the short form.

    - `errors`: events that the daemon may log as errors; any other error is a breach.
    - `all_resolved`: every click must be resolved while an IP is free, except those of the offers in `may_fall_back`.
    - `ips`: fewer than the clicks ask for, so that each IP is leased as soon as it has rested, and a lease during a
      cooldown is noticed.
    - `restarts`: pools are loaded anew, within a cooldown of the last use of an IP.
    - `finish`: checks made when all clicks have ended.
    - `equip`: adds further processes to the scene.
    - `needs`: packages of programs.
    - `long_form_only`: only `python -m tests.faults` runs it.
    """

    name: str
    what: str
    round: Callable[[Stage], Awaitable[str]]
    rounds: int
    errors: frozenset[str] = frozenset()
    own_postgres: bool = True
    ips: int = IPS
    all_resolved: bool = False
    faulty: tuple[str, ...] = ()
    restarts: bool = False
    on_tmpfs: bool = False
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    finish: Callable[[Stage], Awaitable[None]] | None = None
    equip: Callable[[Scene, Knobs], AbstractAsyncContextManager[None]] = lambda scene, _: unequipped(scene)
    clicks_per_s: float = CLICKS_PER_S
    needs: tuple[str, ...] = ()
    may_fall_back: frozenset[str] = frozenset()
    long_form_only: bool = False

    @property
    def cooldown_s(self) -> float:
        return float(str(self.settings.get("pool", {}).get("cooldown_s", COOLDOWN_S)))

    @property
    def deadline_s(self) -> float:
        return float(str(self.settings.get("click", {}).get("deadline_s", DEADLINE_S)))
