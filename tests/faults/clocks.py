"""Wall clocks are set under running nodes: that of one node, and that of PostgreSQL's machine.

No node is lost, none loses its claim, no rest is cut short, and clicks are resolved as before.
"""

import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio

from tests.faults.beside import all_serve, beside, claims_held, logged, resolved
from tests.faults.nodes import CLAIM, CLICKS_PER_S, COOLDOWN_S, IPS, LOCK_S, SETTINGS, TRUST_S
from tests.faults.scene import Scene
from tests.faults.shift import Shift
from tests.faults.stage import Fault, Knobs, Stage

HOUR_S = 3600.0
SHIFTS_S = (HOUR_S, -HOUR_S, 0.0)
"""The clock is set by these, one after another, from the machine's clock."""
BETWEEN_S = LOCK_S + COOLDOWN_S + TRUST_S
"""Between two settings: a rest or a trust that never ends, or ends at once, shows within this time."""
PART_MIN = 0.5
SOURCE = Path(__file__).parents[1] / "support" / "wrong_clock.c"
FILE = "wrong-clock"
HIT_AT = "select extract(epoch from created_at)::float8 as at_s from hits where request_id = '{}'"
LAST_CLICKS = 10
"""The hit of the last click but these is in PostgreSQL by now."""


def with_wrong_clock() -> Callable[[Scene, Knobs], AbstractAsyncContextManager[None]]:
    """As beside, with a server whose wall clock can be set by the file FILE."""
    others = beside()

    @asynccontextmanager
    async def equip(scene: Scene, knobs: Knobs) -> AsyncIterator[None]:
        await trio.to_thread.run_sync(_restart_preloaded, scene)
        async with others(scene, knobs):
            yield

    return equip


def _restart_preloaded(scene: Scene) -> None:
    library, file = scene.directory / "wrong-clock.so", scene.directory / FILE
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    Shift(file)
    scene.postgres.kill(whole=True)
    scene.postgres.start_with(LD_PRELOAD=str(library), WRONG_CLOCK=str(file))


async def of_postgres(stage: Stage) -> str:
    async def reads_s() -> float:
        return float((await stage.scene.sql("select extract(epoch from now())::float8 as at_s"))[0]["at_s"])

    return await _set(stage, Shift(stage.scene.directory / FILE), "PostgreSQL", reads_s)


async def of_a_node(stage: Stage) -> str:
    stage.memory["clock_shifts_s"] = SHIFTS_S
    node = stage.scene.beside[0]

    async def reads_s() -> float:
        clicks = [visit.request_id for visit in node.visitors.visits if visit.answered]
        rows = await stage.scene.sql(HIT_AT.format(clicks[-LAST_CLICKS]))
        return float(rows[0]["at_s"])

    return await _set(stage, Shift(node.directory / "clock"), "a node", reads_s)


async def _set(stage: Stage, clock: Shift, whose: str, reads_s: Callable[[], Awaitable[float]]) -> str:
    await all_serve(stage)
    scene = stage.scene
    lost = logged(scene, "node_lost") + logged(scene, "node_claim_lost")
    rates = []
    for shift_s in (None, *SHIFTS_S):
        if shift_s is not None:
            clock.set(shift_s)
        began_s = time.monotonic()
        await trio.sleep(BETWEEN_S)
        rates.append(sum(resolved(daemon, began_s) for daemon in scene.daemons) / (time.monotonic() - began_s))
        what = (
            f"the clock of {whose} is {shift_s or 0:+g} s off: {rates[-1]:.1f} clicks/s resolved, {rates[0]:.1f} before"
        )
        is_off = abs(await reads_s() - time.time() - (shift_s or 0.0)) < BETWEEN_S
        stage.expect(is_off, "blind", f"the clock of {whose} is not {shift_s} s off")
        stage.expect(rates[-1] >= PART_MIN * rates[0], "fewer traces", what)
    now = logged(scene, "node_lost") + logged(scene, "node_claim_lost")
    stage.expect(
        now == lost, "moved", f"the clock of {whose} was set, and {now - lost} nodes were lost, or their claim"
    )
    await all_serve(stage)
    return f"the clock of {whose} set twice by an hour; clicks/s resolved: {', '.join(f'{rate:.1f}' for rate in rates)}"


FAULTS = (
    Fault(
        "clock-set-under-a-node",
        "the wall clock of one of three running nodes set by an hour forwards, two hours backwards, and right again",
        of_a_node,
        rounds=1,
        long_form_only=True,
        faulty=("clock={directory}/clock",),
        ips=IPS,
        settings=SETTINGS,
        errors=CLAIM,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
    Fault(
        "clock-set-under-postgres",
        "the wall clock of PostgreSQL's machine set in the same way under three nodes; needs gcc",
        of_postgres,
        rounds=1,
        long_form_only=True,
        ips=IPS,
        settings=SETTINGS,
        errors=CLAIM,
        equip=with_wrong_clock(),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
        needs=("gcc",),
    ),
)
