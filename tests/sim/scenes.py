"""From a seed to a world and its faults, and the result of one run."""

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from tests.sim.checker import Breach
from tests.sim.faults import SCRIPTS
from tests.sim.loop import Task
from tests.sim.world import MOVING_S, Size, World

STARTED_S = 8.0
KINDS = ("small", "flapping", "turned", "large")
EFFICIENCY_MIN = {"flapping": 0.9, "turned": 0.93}
MEASURED_S = 360.0
MOVES_MAX = 2.0
NO_IP_MAX, NO_IP_FREE = 2.0, 0.005  # times a single node's, and this share of the clicks


@dataclass(frozen=True, slots=True)
class Result:
    """`scripts`: the faults, in order. `figures`: what was measured, by name."""

    seed: int
    kind: str
    scripts: tuple[str, ...]
    breaches: tuple[Breach, ...]
    events: int
    clicks: int
    attempts: int
    moves: int
    cpu_s: float
    only: str | None = None
    mutant: str | None = None
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def command(self) -> str:
        options = f" --only {self.only}" if self.only else ""
        options += f" --mutant {self.mutant}" if self.mutant else ""
        return f"python -m tests.sim --seed {self.seed} --kind {self.kind}{options}"


def kind_of(seed: int) -> str:
    """Of 500 seeds one is large, and four measure efficiency."""
    place = seed % 500
    return {499: "large", 100: "turned", 350: "turned", 0: "flapping", 250: "flapping"}.get(place, "small")


def run(seed: int, kind: str, only: str | None = None, mutant: str | None = None) -> Result:
    """Plays one world."""
    began_s = time.process_time()
    faults = frozenset({mutant} if mutant else ())
    world, names, figures = _PLAYS[kind](seed, faults, only)
    checker = world.checker
    return Result(
        seed, kind, names, tuple(checker.breaches), world.loop.events, checker.clicks, checker.attempts,
        world.tables.moves, time.process_time() - began_s, only, mutant, figures,
    )  # fmt: skip


Played = tuple[World, tuple[str, ...], dict[str, float]]


def _small(seed: int, faults: AbstractSet[str], only: str | None) -> Played:
    """Three to five nodes, and times so short that everything happens within two minutes."""
    chance = Random(f"scene {seed}")
    size = Size(
        nodes=chance.choice([3, 3, 3, 4, 5]),
        countries=chance.choice([1, 1, 2]),
        ips=chance.randint(6, 16),
        load=chance.uniform(0.4, 1.2),
        trust_s=chance.uniform(6.0, 15.0),
        lock_s=chance.uniform(3.0, 6.0),
        cooldown_s=chance.uniform(1.0, 4.0),
        hop_s=chance.uniform(0.2, 0.6),
    )
    world, names = World(seed, size, faults), _chosen(chance, only)
    if "restored" in names:
        world.spawn(world.keep_backups())
    _start(world, chance)
    world.loop.run_until(STARTED_S + chance.uniform(0.0, 4.0))
    world.spawn(world.expect_usable("after the start"))
    world.loop.run_until(world.loop.now_s + 2 * MOVING_S)
    _break(world, names, at_once=chance.random() < 0.3 and "restored" not in names)
    world.finish()
    return world, tuple(names), {}


def _chosen(chance: Random, only: str | None) -> list[str]:
    """One fault or two."""
    names = list(SCRIPTS)
    first = only or chance.choice(names)
    return [first] if chance.random() < 0.5 else [first, chance.choice(names)]


def _start(world: World, chance: Random) -> None:
    for home in world.homes:
        world.loop.after(chance.uniform(0.0, 0.5), partial(world.start, home))
    world.spawn(world.visitors())


def _break(world: World, names: list[str], *, at_once: bool) -> None:
    running: list[str] = []
    world.has_other_faults = at_once and len(names) > 1
    for name in names:
        running.append(name)
        world.spawn(_done(name, SCRIPTS[name](world), running))
        while running and not at_once:
            world.loop.run_until(world.loop.now_s + 1.0)
    while running:
        world.loop.run_until(world.loop.now_s + 1.0)


def _done(name: str, script: Task, running: list[str]) -> Task:
    yield from script
    running.remove(name)


def _large(seed: int, faults: AbstractSet[str], only: str | None) -> Played:
    """50 nodes, 100,000 IPs in 200 countries, and one fault of a node."""
    chance = Random(f"large {seed}")
    size = Size(50, 200, 100_000, load=0.003, trust_s=8.0, lock_s=4.0, cooldown_s=2.0)
    world = World(seed, size, faults)
    names = [only or chance.choice(["killed_and_restarted", "killed_for_good", "stopped", "cut_off", "clocks_jump"])]
    for home in world.homes:
        world.start(home)
    world.spawn(world.visitors())
    world.loop.run_until(20.0)
    world.spawn(world.expect_usable("after the start"))
    world.loop.run_until(world.loop.now_s + 2 * MOVING_S)
    _break(world, names, at_once=False)
    world.finish()
    return world, (f"large: {names[0]}",), {}


def _flapping(seed: int, faults: AbstractSet[str], only: str | None) -> Played:
    """8 nodes start at once, and one of them is killed and started 20 times a minute."""
    size = Size(8, 1, 160, load=1.1, trust_s=60.0, lock_s=20.0, cooldown_s=15.0, deadline_s=10.0)

    def flap(world: World) -> Task:
        home = world.homes[-1]
        while True:
            yield 1.5
            world.run_of(size.nodes - 1).kill()
            yield 1.5
            world.start(home)

    return _measured(seed, size, faults, "flapping", flap)


def _turned(seed: int, faults: AbstractSet[str], only: str | None) -> Played:
    """Three nodes; one has 80% of the clicks, and after minutes another one."""
    size = Size(3, 1, 120, load=1.1, trust_s=60.0, lock_s=20.0, cooldown_s=15.0, deadline_s=10.0)

    def turn(world: World) -> Task:
        for busy in (0, 1, 2):
            world.weights = lambda place, busy=busy: 8.0 if place == busy else 1.0  # type: ignore[misc]
            yield 120.0

    return _measured(seed, size, faults, "turned", turn)


def _measured(seed: int, size: Size, faults: AbstractSet[str], kind: str, script: Callable[[World], Task]) -> Played:
    """The same clicks at many nodes and at one node that owns all IPs: attempts and refusals are compared."""
    worlds = []
    for nodes in (size.nodes, 1):
        world = World(seed, replace(size, nodes=nodes), faults)
        for home in world.homes:
            world.start(home)
        world.spawn(world.visitors())
        if nodes > 1:
            world.spawn(script(world))
        world.loop.run_until(MEASURED_S)
        worlds.append(world)
    many, one = worlds
    efficiency = many.checker.attempts / one.checker.attempts
    refused, refused_by_one = many.checker.outcomes["no_ip"], one.checker.outcomes["no_ip"]
    moves_per_minute = many.tables.moves / size.ips / (MEASURED_S / 60)
    if efficiency < EFFICIENCY_MIN[kind]:
        many.checker.breach("efficiency", many.loop.now_s, f"{efficiency:.3f} of a single node's attempts")
    if kind == "turned" and refused > NO_IP_MAX * refused_by_one + NO_IP_FREE * many.checker.clicks:
        what = f"{refused} clicks without an IP; {refused_by_one} at a single node"
        many.checker.breach("refused", many.loop.now_s, what)
    if moves_per_minute > MOVES_MAX:
        what = f"each IP moved {moves_per_minute:.1f} times a minute"
        many.checker.breach("moves", many.loop.now_s, what)
    figures = {
        f"{kind}: efficiency": efficiency,
        f"{kind}: no_ip, share of clicks": refused / many.checker.clicks,
        f"{kind}: no_ip of a single node": refused_by_one / one.checker.clicks,
        f"{kind}: moves per IP and minute": moves_per_minute,
    }
    return many, (kind,), figures


_PLAYS: dict[str, Callable[[int, AbstractSet[str], str | None], Played]] = {
    "small": _small, "flapping": _flapping, "turned": _turned, "large": _large,
}  # fmt: skip
