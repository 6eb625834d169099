"""Pages that are expensive to read, several at a time, beside healthy clicks, none of which may fall back."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.fakes.events import EventLog
from tests.fakes.hostile import KINDS, HostileOrigin, hostile_origin
from tests.faults.scene import NETWORK_LOG, Scene
from tests.faults.stage import Fault, Knobs, Stage
from tests.faults.visible import well_again

AT_A_TIME = 5
LASTS_S = 2.5
EACH_S = 0.3
"""Between two clicks of one task, so that the pages cause the load, not the clicks."""


async def read(stage: Stage) -> str:
    """Request one kind of page for LASTS_S, AT_A_TIME traces at any time."""
    scene, kind = stage.scene, KINDS[stage.turn() % len(KINDS)]
    began_s = time.monotonic()

    async def again_and_again() -> None:
        while time.monotonic() < began_s + LASTS_S:
            next_s = trio.current_time() + EACH_S
            await scene.visitors.click(kind)
            await trio.sleep_until(next_s)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(again_and_again)
    visits = [visit for visit in scene.visitors.visits if visit.sent_s >= began_s]
    hostile = sum(visit.offer == kind for visit in visits)
    slowest_s = max((visit.ended_s - visit.sent_s for visit in visits if visit.offer not in KINDS), default=0.0)
    stage.measured(f"slowest healthy click beside {kind}", slowest_s)
    await well_again(stage)
    return f"{kind}: {hostile} clicks; beside them the slowest healthy click took {slowest_s:.2f} s"


@asynccontextmanager
async def beside_a_hostile_origin(scene: Scene, _: Knobs) -> AsyncIterator[None]:
    """An offer for each kind of page, whose requests are recorded in the network's log."""
    with EventLog(scene.directory / NETWORK_LOG, kept_max=0) as log:
        async with hostile_origin(log) as origin:
            await scene.run_sql(_offers(origin))
            yield


def _offers(origin: HostileOrigin) -> str:
    rows = ", ".join(f"('{kind}', '{origin.url(kind)}')" for kind in KINDS)
    return f"insert into offers (offer_name, final_url) values {rows}"


FAULTS = (
    Fault(
        "hostile-pages",
        "chains that end on pages which cost seconds to read, 5 at a time beside healthy clicks",
        read,
        rounds=len(KINDS),
        all_resolved=True,
        may_fall_back=frozenset(KINDS),
        ips=2 * AT_A_TIME,
        equip=beside_a_hostile_origin,
    ),
)
