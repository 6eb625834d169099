"""Runs one fault: starts its scene, runs its rounds, waits for clicks and rows, and checks the history."""

import json
import random
import shutil
import signal
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import trio

from tests.faults import (
    announcements,
    crashes,
    disks,
    evidence,
    links,
    nodes,
    outages,
    pages,
    restored,
    schemas,
    signals,
)
from tests.faults.records import Breach, History, Rules
from tests.faults.scene import Scene, staged, undressed, until
from tests.faults.stage import Fault, Knobs, Stage
from tests.support.servers import SceneBroke

MODULES = (crashes, outages, disks, signals, schemas, announcements, links, pages, restored, nodes)
FAULTS: dict[str, Fault] = {fault.name: fault for module in MODULES for fault in module.FAULTS}
SETTLE_S = 0.5
CLICKS_END_WITHIN_S = 70.0
STOP_WITHIN_S = 40.0
BREACHES_SHOWN = 10

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault led to. `evidence`: the directory with all records, after a breach. `figures`: seconds by name."""

    fault: str
    rounds: int
    clicks: Counter[str]
    fallbacks: Counter[str]
    figures: dict[str, list[float]]
    breaches: list[Breach] = field(default_factory=list)
    evidence: Path | None = None

    def summary(self) -> str:
        clicks = ", ".join(f"{count} {what}" for what, count in self.clicks.items())
        lines = [f"{self.fault}: {self.rounds} rounds; clicks: {clicks}"]
        if self.fallbacks:
            lines.append("  fallbacks: " + ", ".join(f"{count} {reason}" for reason, count in self.fallbacks.items()))
        for name, seconds in self.figures.items():
            lines.append(f"  {name}: median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")
        lines += [f"  BREACH {breach}" for breach in self.breaches[:BREACHES_SHOWN]]
        if self.evidence:
            lines.append(f"  {len(self.breaches)} breaches; everything is in {self.evidence}")
        return "\n".join(lines)


async def run(fault: Fault, rounds: int, seed: int, knobs: Knobs, say: Say) -> Outcome:
    rng = random.Random(f"{seed} {fault.name}")
    async with staged(
        rng,
        own_postgres=fault.own_postgres,
        ips=fault.ips,
        faulty=fault.faulty,
        settings=fault.settings,
        dress=disks.mounted if fault.on_tmpfs else undressed,
        equip=lambda scene: fault.equip(scene, knobs),
        clicks_per_s=fault.clicks_per_s,
    ) as scene:
        stage = Stage(scene, rng, knobs)
        history: History | None = None
        try:
            for number in range(1, rounds + 1):
                say(f"{fault.name} {number}/{rounds}: {await fault.round(stage)}")
            history = await _settled(fault, stage)
        except (SceneBroke, asyncpg.PostgresError) as broke:
            stage.breaches.append(Breach("broke", str(broke)))
        for daemon in scene.daemons:
            stage.breaches += _unexpected_errors(daemon, fault)
        if stage.breaches or knobs.keep:
            history = history or evidence.of_clicks(scene)
            evidence.write(scene, history, stage.breaches)
    if not stage.breaches and not knobs.keep:
        shutil.rmtree(scene.directory)
    return Outcome(
        fault=fault.name,
        rounds=rounds,
        clicks=sum((daemon.visitors.counts() for daemon in scene.daemons), Counter()),
        fallbacks=Counter(hit.reason for hit in history.hits if hit.reason) if history else Counter(),
        figures=dict(stage.figures),
        breaches=stage.breaches,
        evidence=scene.directory if stage.breaches or knobs.keep else None,
    )


async def _settled(fault: Fault, stage: Stage) -> History:
    """Let the clicks end and the rows arrive, check the history, and stop the daemons."""
    scene = stage.scene
    await trio.sleep(SETTLE_S)
    everyone = [daemon.visitors for daemon in scene.daemons]
    for visitors in everyone:
        visitors.stop.set()
    await until(lambda: not any(v.under_way for v in everyone), "every click has ended", CLICKS_END_WITHIN_S)
    if fault.finish is not None:
        await fault.finish(stage)
    rules = Rules(
        cooldown_s=fault.cooldown_s,
        deadline_s=fault.deadline_s,
        late_s=stage.knobs.late_s,
        all_resolved=fault.all_resolved,
        dropped=stage.memory.get("dropped", 0),
        late_hits=frozenset(evidence.late_hits(scene)),
        unleasable=stage.memory.get("unleasable", frozenset()),
        may_fall_back=fault.may_fall_back,
        forgotten=tuple(stage.memory.get("forgotten", ())),
    )
    history, breaches = await evidence.judged(scene, rules)
    stage.breaches += breaches
    for daemon in scene.daemons:
        if daemon.process is not None and daemon.process.poll() is None:
            status, _ = await daemon.end(signal.SIGTERM, STOP_WITHIN_S)
            stage.expect(status == 0, "status", f"it ended with {status} after the last SIGTERM")
    return history


def _unexpected_errors(scene: Scene, fault: Fault) -> Iterator[Breach]:
    """A breach for each kind of error in the daemon's log that the fault does not list."""
    seen: Counter[str] = Counter()
    log = scene.directory / "daemon.log"
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        try:
            parsed = json.loads(line)
            event, level = parsed["event"], parsed["level"]
        except (ValueError, KeyError, TypeError):
            event, level = f"a line that is not JSON: {line[:200]}", "error"
        if level in ("error", "critical") and event not in fault.errors:
            seen[event] += 1
    for event, count in seen.items():
        yield Breach("log", f"{count} x {event}")
