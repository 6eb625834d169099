"""One of three nodes is paused by SIGSTOP, or its machine is suspended, with traces in flight.

When it goes on, it sends no hop outside of its leases. A suspended machine differs from a paused process: its monotonic
clock stands still, while its boot clock and its wall clock jump.
"""

import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from tests.faults.beside import all_serve, logged, until, used_by_others, victim
from tests.faults.nodes import CLAIM, LOCK_S, QUIET_S, SAID_WITHIN_S, TRUST_S, USED_WITHIN_S, of_nodes
from tests.faults.records import Down
from tests.faults.shift import Shift
from tests.faults.stage import Stage
from tests.faults.visible import comes

STOOD_STILL = "stood-still"
"""The file with the time for which a node's monotonic clock stood still."""


def stopped(*, suspended: bool = False) -> Callable[[Stage], Awaitable[str]]:
    """`suspended`: as the machine of the node. Then its monotonic clock stands still, and its boot clock does not."""

    async def broke(stage: Stage) -> str:
        return await _paused(stage, suspended)

    return broke


async def _paused(stage: Stage, suspended: bool) -> str:
    """A node is paused beyond trust and quiet, just beyond its trust, and for half of it, with traces in flight."""
    pauses_s = (TRUST_S + QUIET_S + USED_WITHIN_S, TRUST_S + 1.5, TRUST_S / 2)
    pause_s = pauses_s[stage.turn() % len(pauses_s)]
    await all_serve(stage)
    scene = stage.scene
    node, had = await victim(stage)
    assert node.process is not None
    lost_nodes, lost_claims = logged(scene, "node_lost"), len(node.log("node_claim_lost"))
    await until(lambda: node.visitors.under_way, "a click is in flight", SAID_WITHIN_S)
    began_s = time.monotonic()
    node.process.send_signal(signal.SIGSTOP)
    node.downs.append(Down(began_s, began_s, float("inf"), time.time(), False, node.visitors.port, paused=True))
    beyond = pause_s > TRUST_S + QUIET_S
    uses_s = await used_by_others(stage, had, began_s + LOCK_S, pause_s + stage.knobs.slow_s) if beyond else []
    await trio.sleep(max(0.0, began_s + pause_s - time.monotonic()))
    if suspended:
        clock = Shift(node.directory / STOOD_STILL)
        clock.set(clock.read_s() + time.monotonic() - began_s)
    node.process.send_signal(signal.SIGCONT)
    node.downs[-1] = replace(node.downs[-1], ended_s=time.monotonic())
    if beyond:
        stage.expect(len(uses_s) == len(had), "not used", f"{len(uses_s)} of its {len(had)} IPs are used elsewhere")
        said = await comes(scene, lambda: len(node.log("node_claim_lost")) > lost_claims, SAID_WITHIN_S)
        stage.expect(said, "not said", "its IPs are others', and the log has no `node_claim_lost`")
    else:
        stage.expect(logged(scene, "node_lost") == lost_nodes, "moved", "it was found lost before its quiet had passed")
    await all_serve(stage)
    how = "suspended" if suspended else "paused"
    return f"{how} for {pause_s:.1f} s with {len(had)} IPs, {len(uses_s)} of which others used"


FAULTS = (
    of_nodes(
        "node-paused",
        "one of three nodes is paused beyond trust and quiet, just beyond its trust, and for half of it",
        stopped(),
        rounds=2,
        # by a transaction of the paused node; and its engine, if it was starting, was not ready in time
        errors=CLAIM | {"statement_blocked", "engine_failed"},
    ),
    of_nodes(
        "node-suspended",
        "the machine of one of three nodes is suspended, as long as under node-paused: its boot clock jumps",
        stopped(suspended=True),
        rounds=3,
        long_form_only=True,
        faulty=(f"suspended={{directory}}/{STOOD_STILL}",),
        errors=CLAIM | {"statement_blocked"},
    ),
)
