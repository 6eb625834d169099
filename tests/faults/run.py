"""Runs one fault: starts its scene, runs its rounds, waits for clicks and rows, and checks the history."""

import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import asyncpg
import trio

from daemon.demo.history import Event
from tests.fakes.events import read_log
from tests.faults import (
    announcements,
    clocks,
    crashes,
    crowd,
    disks,
    edited,
    evidence,
    failover,
    links,
    locks,
    moves,
    nodes,
    outages,
    pages,
    paused,
    promoted,
    read_only,
    restored,
    schemas,
    shared,
    signals,
    spellings,
    upgrades,
    wall_clock,
)
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.outcome import Outcome
from tests.faults.records import Breach, History, Rules
from tests.faults.scene import HOPS, NETWORK_LOG, OFFERS, Scene, staged, undressed, until
from tests.faults.stage import Fault, Knobs, Stage
from tests.faults.uses import rests_of, uses_of
from tests.faults.visible import comes
from tests.support.servers import SceneBroke

MODULES = (
    crashes,
    edited,
    spellings,
    wall_clock,
    outages,
    failover,
    locks,
    disks,
    signals,
    schemas,
    announcements,
    links,
    pages,
    restored,
    nodes,
    paused,
    moves,
    shared,
    clocks,
    promoted,
    crowd,
    read_only,
    upgrades,
)
FAULTS: dict[str, Fault] = {fault.name: fault for module in MODULES for fault in module.FAULTS}
SETTLE_S = 0.5
REUSED_WITHIN_S = 5.0
USED_S = 1.0
"""A use of an IP with the waits before and after it."""
CLICKS_END_WITHIN_S = 70.0
STOP_WITHIN_S = 40.0
MUTANT_ROWS_WITHIN_S = 4.0
COOLDOWN_FACTOR_MAX = 4
NOTICED_PART = 0.9
"""A cooldown shorter than this part must be noticed in every fault."""

Say = Callable[[str], None]
Ended = Callable[[Outcome], None]


def mutants_of(fault: Fault) -> list[Mutant]:
    """The mutants that a fault must notice."""
    possible = (mutant for mutant in MUTANTS.values() if not mutant.in_faults or fault.name in mutant.in_faults)
    return [mutant for mutant in possible if fault.restarts or not mutant.at_start]


async def run(fault: Fault, rounds: int, seed: int, knobs: Knobs, say: Say) -> Outcome:
    rng = random.Random(f"{seed} {fault.name}")
    began_s = time.monotonic()
    cooldown_s = fault.cooldown_s * knobs.cooldown_factor
    pool = {**fault.settings.get("pool", {}), "cooldown_s": cooldown_s}
    async with staged(
        rng,
        own_postgres=fault.own_postgres,
        ips=fault.ips,
        faulty=(*fault.faulty, *([f"mutant={knobs.mutant}"] if knobs.mutant else [])),
        settings={**fault.settings, "pool": pool},
        dress=disks.mounted if fault.on_tmpfs else undressed,
        equip=lambda scene: fault.equip(scene, knobs),
        clicks_per_s=fault.clicks_per_s,
    ) as scene:
        stage = Stage(scene, rng, knobs, cooldown_s)
        history: History | None = None
        try:
            for number in range(1, rounds + 1):
                say(f"{fault.name} {number}/{rounds}: {await fault.round(stage)}")
            history = await _settled(fault, stage)
        except (SceneBroke, asyncpg.PostgresError, TimeoutError) as broke:
            stage.breaches.append(Breach("broke", str(broke) or repr(broke)))
            history = await _what_there_is(scene)
        for daemon in scene.daemons:
            stage.breaches += _unexpected_errors(daemon, fault)
        shortest_s = _shortest_rest_s(history.events)
        if not knobs.mutant:
            what = f"no IP was used again before {shortest_s:.2f} s, so a cooldown of 90 % would not be noticed"
            stage.expect(shortest_s * NOTICED_PART < cooldown_s, "blind", what)
        if stage.breaches or knobs.keep:
            evidence.write(scene, history, stage.breaches)
    kept = knobs.keep or bool(stage.breaches and not knobs.mutant)
    if not kept:
        await trio.to_thread.run_sync(shutil.rmtree, scene.directory)  # the visitors of other lanes go on
    return Outcome(
        fault=fault.name,
        mutant=knobs.mutant,
        rounds=rounds,
        took_s=time.monotonic() - began_s,
        clicks=sum((daemon.visitors.counts() for daemon in scene.daemons), Counter()),
        fallbacks=Counter(hit.reason for hit in history.hits if hit.reason),
        uses=len(uses_of(history.events)),
        shortest_rest_s=shortest_s,
        cooldown_s=cooldown_s,
        hits=len(history.hits),
        traces=len(history.traces),
        figures=dict(stage.figures),
        breaches=stage.breaches,
        evidence=scene.directory if kept else None,
    )


async def run_all(jobs: Sequence[tuple[Fault, int, Knobs]], seed: int, lanes: int, say: Say, ended: Ended) -> None:
    """Run (fault, rounds, knobs), `lanes` of them at a time: most of a fault's time is waiting.

    A mutant `at_start` is tried again with longer cooldowns if it goes unnoticed: the start may have outlasted them.
    """
    queue = iter(jobs)

    async def lane() -> None:
        for fault, rounds, knobs in queue:
            outcome = await run(fault, rounds, seed, knobs, say)
            while (
                (mutant := MUTANTS.get(knobs.mutant or ""))
                and mutant.at_start
                and not outcome.noticed(mutant.noticed_as)
            ):
                if knobs.cooldown_factor >= COOLDOWN_FACTOR_MAX:
                    break
                knobs = replace(knobs, cooldown_factor=2 * knobs.cooldown_factor)
                outcome = await run(fault, rounds, seed, knobs, say)
            ended(outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(min(lanes, len(jobs))):
            nursery.start_soon(lane)


async def _settled(fault: Fault, stage: Stage) -> History:
    """Let the clicks end and the rows arrive, check the history, and stop the daemons."""
    scene = stage.scene
    await _each_ip_used_again(stage)
    everyone = [daemon.visitors for daemon in scene.daemons]
    for visitors in everyone:
        visitors.stop.set()
    await until(lambda: not any(v.under_way for v in everyone), "every click has ended", CLICKS_END_WITHIN_S)
    if fault.finish is not None:
        await fault.finish(stage)
    rules = Rules(
        cooldown_s=stage.cooldown_s,
        deadline_s=fault.deadline_s,
        late_s=stage.knobs.late_s,
        addresses=scene.addresses,
        chain_s=(HOPS + 1) * max(OFFERS.values()) / 1000,
        all_resolved=fault.all_resolved,
        late_hits=frozenset(evidence.late_hits(scene)),
        unleasable=stage.memory.get("unleasable", frozenset()),
        may_fall_back=fault.may_fall_back,
        forgotten=tuple(stage.memory.get("forgotten", ())),
        clock_shifts_s=tuple(stage.memory.get("clock_shifts_s", (0.0,))),
    )
    rows_within_s = MUTANT_ROWS_WITHIN_S if stage.knobs.mutant else evidence.ROWS_WITHIN_S
    history, breaches = await evidence.judged(scene, rules, rows_within_s)
    stage.breaches += breaches
    for daemon in scene.daemons:
        if daemon.process is not None and daemon.process.poll() is None:
            status, _ = await daemon.end(signal.SIGTERM, STOP_WITHIN_S)
            stage.expect(status == 0, "status", f"it ended with {status} after the last SIGTERM")
    return history


async def _each_ip_used_again(stage: Stage) -> None:
    """Let the clicks go on until each IP may have been used again since the last start, and twice since the first.

    After a slow start each IP has rested for long, so its second use is the first one that shows a rest.
    """
    scene = stage.scene
    await trio.sleep(SETTLE_S)
    first_s, last_s = scene.first_served_s, max(daemon.served_s for daemon in scene.daemons)
    until_s = max(first_s + 2 * (stage.cooldown_s + USED_S), last_s + stage.cooldown_s + USED_S)
    await trio.sleep(max(0.0, until_s - time.monotonic()))
    await comes(scene, lambda: _shows_a_rest(scene, stage.cooldown_s), stage.cooldown_s + REUSED_WITHIN_S)


def _shows_a_rest(scene: Scene, cooldown_s: float) -> bool:
    """Whether a shorter cooldown would be noticed: an IP was used again as soon as it had rested."""
    return _shortest_rest_s(read_log(scene.directory / NETWORK_LOG)) * NOTICED_PART < cooldown_s


def _shortest_rest_s(events: Iterable[Event]) -> float:
    return min(rests_of(uses_of(events)), default=float("inf"))


async def _what_there_is(scene: Scene) -> History:
    """The history of a scene that broke, as far as its records can be read."""
    try:
        return await evidence.history_of(scene)
    except (SceneBroke, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return evidence.of_clicks(scene)


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
