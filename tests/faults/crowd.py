"""Eight nodes start at once; then one of them flaps: it is killed and started 20 times a minute.

Counted from outside: the use of all IPs, as a share of what they can do, by the proxies' log, and how often IPs change
their owner, by the rows.
"""

import signal
import time

import trio

from tests.fakes.events import read_log
from tests.faults.beside import all_serve, beside, claims_held, owned, until
from tests.faults.nodes import COOLDOWN_S, LONG_TRUST
from tests.faults.scene import HOPS, OFFERS
from tests.faults.stage import Fault, Stage
from tests.faults.uses import uses_of

NAMES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
IPS = 64
TRACE_S = (HOPS + 1) * sum(OFFERS.values()) / len(OFFERS) / 1000
MOST_PER_S = IPS / (TRACE_S + COOLDOWN_S)
CLICKS_PER_S = 1.25 * MOST_PER_S / len(NAMES)
SPREAD_WITHIN_S = 60.0
SPREAD_MIN = 0.5
"""The part of an even share that each node has in the end, at least."""
UP_S, DOWN_S = 1.8, 0.2
"""A start takes about a second of the rest of FLAP_S."""
FLAP_S = 3.0
FLAPS_FOR_S = 60.0
LOOK_EVERY_S = 0.2
STOPPED_WITHIN_S = 10.0
EFFICIENCY_MIN = 0.9
MOVES_MAX = 2.0
"""How often each IP may change its owner in a minute, on average; as in tests/sim."""


class Moves:
    """Counts how often IPs change their owner."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.count = 0

    async def run(self) -> None:
        before: dict[str, str] = {}
        while True:
            found = await owned(self._stage.scene)
            now = {address: node for node, addresses in found.items() for address in addresses}
            self.count += sum(before.get(address, node) != node for address, node in now.items())
            before = now
            await trio.sleep(LOOK_EVERY_S)


async def flapped(stage: Stage) -> str:
    scene = stage.scene
    began = Moves(stage)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(began.run)
        await all_serve(stage)
        await until(lambda: _spread(stage), "each node has IPs", SPREAD_WITHIN_S)
        nursery.cancel_scope.cancel()
    spread_s = time.monotonic() - scene.served_s
    stage.expect(
        began.count <= MOVES_MAX * IPS, "moves", f"{began.count} moves of {IPS} IPs until each node had its share"
    )
    calm, calm_moves = await _measured(stage, FLAPS_FOR_S / 2, flaps=False)
    rough, moves = await _measured(stage, FLAPS_FOR_S, flaps=True)
    await all_serve(stage)
    what = f"{rough:.3f} of what all IPs can do while one of {len(NAMES)} nodes flaps, {calm:.3f} before"
    stage.expect(rough >= EFFICIENCY_MIN * calm, "efficiency", what)
    per_minute = moves / IPS / (FLAPS_FOR_S / 60)
    stage.expect(per_minute <= MOVES_MAX, "moves", f"each IP moved {per_minute:.1f} times a minute")
    start = f"{began.count} moves of {IPS} IPs until {spread_s:.1f} s after the start"
    return f"{start}; {what}; {calm_moves} moves in {FLAPS_FOR_S / 2:g} s, then {moves} in {FLAPS_FOR_S:g} s"


async def _spread(stage: Stage) -> bool:
    found = await owned(stage.scene)
    return not found.get("") and all(len(found[name]) >= SPREAD_MIN * IPS / len(NAMES) for name in NAMES)


async def _measured(stage: Stage, for_s: float, *, flaps: bool) -> tuple[float, int]:
    """(uses of all IPs in parts of what they can do, how often IPs changed their owner)."""
    moves, from_s = Moves(stage), time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(moves.run)
        if flaps:
            await _flap(stage, from_s + for_s)
        await trio.sleep(max(0.0, from_s + for_s - time.monotonic()))
        nursery.cancel_scope.cancel()
    to_s = time.monotonic()
    uses = uses_of(read_log(stage.scene.network_log))
    rate = sum(from_s <= use.began_s < to_s for use in uses) / (to_s - from_s)
    return rate / MOST_PER_S, moves.count


async def _flap(stage: Stage, until_s: float) -> None:
    node = stage.scene.beside[-1]
    while (now_s := time.monotonic()) < until_s:
        await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
        await trio.sleep(DOWN_S)
        await node.restart()
        await trio.sleep(max(0.0, now_s + FLAP_S - time.monotonic()))


FAULTS = (
    Fault(
        "nodes-start-at-once-and-one-flaps",
        "eight nodes start at once; then one is killed and started 20 times a minute",
        flapped,
        rounds=1,
        long_form_only=True,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(NAMES),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
)
