"""Three daemons on one database, all under load: one of them is killed, or cut off from PostgreSQL.

There are few IPs, so that each daemon uses every IP that it owns as soon as the IP has rested: the proxies' log would
show an IP that two daemons use.
"""

import signal
import time
from collections.abc import Awaitable, Callable

import trio

from tests.fakes.pooler import PACKAGE, Mode
from tests.fakes.relay import Relay
from tests.faults.beside import (
    all_serve,
    beside,
    claims_held,
    logged,
    name_of,
    owned,
    resolved,
    shared_out,
    until,
    used_by_others,
    uses_by,
    victim,
)
from tests.faults.evidence import rows_came
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Stage
from tests.faults.visible import comes, status_of
from tests.support.processes import run_command

MODES: tuple[Mode, ...] = ("transaction", "session")
TRUST_S, LOCK_S, COOLDOWN_S = 6.0, 4.0, 2.0
QUIET_S = LOCK_S + COOLDOWN_S + 10
RENEWED_EVERY_S = 1.0
CLOCKS_APART_S = 0.5
SETTINGS: dict[str, dict[str, object]] = {
    "node": {"trust_s": TRUST_S},
    "pool": {"lock_s": LOCK_S, "cooldown_s": COOLDOWN_S},
    "trace": {"timeout_s": LOCK_S - 1, "hop_timeout_s": LOCK_S - 1},
}
LONG_TRUST = SETTINGS | {"node": {"trust_s": 600}}
IPS = 15
CLICKS_PER_S = 4.0
"""At each daemon; all together are about twice what the IPs can do."""
STOPPED_WITHIN_S = 20.0
USED_WITHIN_S = 10.0
REMOVED_WITHIN_S = 5.0
BACK_WITHIN_S = 3.0
SAID_WITHIN_S = 10.0
BESIDE_S = 3.0


async def killed(stage: Stage) -> str:
    """In turn one node is killed and removed by an operator, stopped in order, and killed and restarted in place."""
    await all_serve(stage)
    await trio.sleep(stage.rng.uniform(0.2, 1.0))
    match stage.turn() % 3:
        case 0:
            return await _removed(stage)
        case 1:
            return await _stopped(stage)
        case _:
            return await _restarted_in_place(stage)


async def lost(stage: Stage) -> str:
    """A node is cut off and killed for good. When it starts at last, its facts are applied, and its states are not."""
    await all_serve(stage)
    node, _ = await victim(stage)
    assert node.relay is not None
    began_s = time.monotonic()
    node.relay.silence()
    await trio.sleep(stage.rng.uniform(1.0, TRUST_S / 2))
    await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
    await node.relay.open()
    return "cut off, killed, " + await _used_elsewhere(stage, node, began_s, TRUST_S, USED_WITHIN_S)


async def _removed(stage: Stage) -> str:
    node, _ = await victim(stage)
    await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
    began_s = time.monotonic()
    config = str(stage.scene.config)
    done = await run_command("nodes", "remove", name_of(node), "--yes", "--config", config)
    stage.expect(done.returncode == 0, "refused", f"`nodes remove` ended with {done.returncode}: {done.stderr}")
    return "killed and removed, " + await _used_elsewhere(stage, node, began_s, 0.0, REMOVED_WITHIN_S)


async def _restarted_in_place(stage: Stage) -> str:
    scene = stage.scene
    await shared_out(stage)
    node, _ = await victim(stage)
    lost_nodes = logged(scene, "node_lost")
    await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
    had, restarted_s = await owned(scene), time.monotonic()
    mine = had.pop(name_of(node))
    took_s = await node.restart()
    await until(lambda: uses_by(node, restarted_s), "it leases an IP again", BACK_WITHIN_S + stage.knobs.slow_s)
    used_s, used = min((use.began_s, use.address) for use in uses_by(node, restarted_s))
    back_s = used_s - node.served_s
    stage.measured("first IP used after a restart in place", back_s, BACK_WITHIN_S + stage.knobs.slow_s)
    has = await owned(scene)
    kept = has.pop(name_of(node))
    share = len(scene.addresses) // len(scene.daemons)
    left = max(0, len(mine) - share) + 1  # what the balance may move meanwhile
    are_its_own = used in mine and len(kept - mine) <= 1 and len(mine - kept) <= left
    stage.expect(are_its_own, "moved", f"it had {sorted(mine)}, has {sorted(kept)}, and used {used}")
    moved = [address for name, addresses in had.items() for address in addresses - has[name]]
    stage.expect(len(moved) < len(scene.daemons), "moved", f"the others had {had}, and have {has}")
    stage.expect(logged(scene, "node_lost") == lost_nodes, "moved", "a node that restarted in place was found lost")
    return f"killed with {len(mine)} IPs; serves after {took_s:.1f} s, uses the first {back_s:.1f} s later"


async def _stopped(stage: Stage) -> str:
    """Its IPs are the others' as soon as the last of them has rested."""
    scene = stage.scene
    node, _ = await victim(stage)
    status, _ = await node.end(signal.SIGTERM, STOPPED_WITHIN_S)
    stage.expect(status == 0, "status", f"it ended with {status} after SIGTERM")
    began_s = time.monotonic()
    had = (await owned(scene))[name_of(node)]

    async def others_have_all() -> bool:
        found = await owned(scene)
        return not found.get(name_of(node)) and not found.get("")

    within_s = LOCK_S + COOLDOWN_S + USED_WITHIN_S + stage.knobs.slow_s
    await until(others_have_all, "the others have the IPs of a node that stopped", within_s)
    took_s = time.monotonic() - began_s
    stage.measured("IPs of a node that stopped had by others", took_s)
    await node.restart()
    await all_serve(stage)
    return f"stopped with {len(had)} IPs, which others had {took_s:.1f} s later"


async def _used_elsewhere(stage: Stage, node: Scene, began_s: float, trust_s: float, within_s: float) -> str:
    """Expect that the others use its IPs after trust and quiet, not before; then start it again.

    `began_s`: just before its last renewal ended, or its removal. `trust_s`: 0 if an operator removed it.
    """
    scene = stage.scene
    had = (await owned(scene))[name_of(node)]
    within_s += stage.knobs.slow_s
    uses_s = await used_by_others(stage, had, time.monotonic(), trust_s + QUIET_S + within_s)
    lacking = len(had) - len(uses_s)
    stage.expect(not lacking, "not used", f"{lacking} IPs of {len(had)} are not used {within_s:g} s after its quiet")
    earliest_s = max(0.0, trust_s - RENEWED_EVERY_S) + QUIET_S - CLOCKS_APART_S
    early = [round(use_s - began_s, 1) for use_s in uses_s if use_s - began_s < earliest_s]
    stage.expect(not early, "too early", f"its IPs were used after {early} s; {earliest_s:g} s at least")
    for use_s in uses_s[-1:]:
        stage.measured("all its IPs used elsewhere", use_s - began_s)
    await node.restart()
    rows_s, breaches = await rows_came(scene)
    stage.breaches += breaches
    await all_serve(stage)
    return f"with {len(had)} IPs, used elsewhere {trust_s + QUIET_S:g} s later; its rows came {rows_s:.1f} s after all"


def cut_off(*ways: Callable[[Relay], None]) -> Callable[[Stage], Awaitable[str]]:
    async def broke(stage: Stage) -> str:
        """A node loses PostgreSQL beyond its trust, but not beyond its quiet: it falls back, and nobody takes."""
        await all_serve(stage)
        turn = stage.turn()
        way, beyond = ways[turn % len(ways)], turn >= len(ways)
        scene = stage.scene
        node, had = await victim(stage)
        assert node.relay is not None
        lost_nodes, ended = logged(scene, "node_lost"), len(node.log("node_trust_ended"))
        began_s = time.monotonic()
        way(node.relay)
        said = await comes(scene, lambda: len(node.log("node_trust_ended")) > ended, TRUST_S + SAID_WITHIN_S)
        stage.expect(said, "not said", "cut off beyond its trust, and no `node_trust_ended`")
        traced = resolved(node, began_s + RENEWED_EVERY_S, began_s + TRUST_S - RENEWED_EVERY_S)
        stage.expect(traced > 0, "no trace", "cut off within its trust, and no click was resolved")
        leasing = (await trio.to_thread.run_sync(status_of, node)).get("node", {}).get("leasing")
        stage.expect(leasing is False, "not said", f"cut off beyond its trust, and `status` says leasing: {leasing}")
        if beyond:
            await used_by_others(stage, had, began_s + TRUST_S + LOCK_S, QUIET_S + USED_WITHIN_S + stage.knobs.slow_s)
        else:
            await trio.sleep(BESIDE_S)
            stage.expect(
                logged(scene, "node_lost") == lost_nodes, "moved", "it was found lost before its quiet had passed"
            )
        await node.relay.open()
        await all_serve(stage)
        rows_s, breaches = await rows_came(scene)
        stage.measured("rows there", rows_s)
        stage.breaches += breaches
        return f"cut off by {way.__name__}; {traced} clicks resolved meanwhile; rows came {rows_s:.1f} s late"

    return broke


async def stalled(stage: Stage) -> str:
    """A node's statements take 200 ms and at times seconds: it keeps its IPs."""
    await all_serve(stage)
    scene = stage.scene
    node, _ = await victim(stage)
    assert node.relay is not None
    lost_nodes = logged(scene, "node_lost")
    node.relay.delay(stage.rng)
    began_s = time.monotonic()
    await trio.sleep(2 * TRUST_S)
    stage.expect(resolved(node, began_s) > 0, "no trace", "its link to PostgreSQL was slow, and it resolved no click")
    await node.relay.open()
    stage.expect(
        logged(scene, "node_lost") == lost_nodes, "moved", "its link to PostgreSQL was slow, and it was found lost"
    )
    await all_serve(stage)
    return f"a slow link for {2 * TRUST_S:g} s; {resolved(node, began_s)} clicks resolved meanwhile"


async def pooled(stage: Stage) -> str:
    """All use PgBouncer; a killed node restarts with its own IPs."""
    await all_serve(stage)
    result = await _restarted_in_place(stage)
    await all_serve(stage)
    return result


CLAIM = frozenset({"node_claim_lost", "node_trust_ended", "database_unavailable", "loop_exception"})


def of_nodes(name: str, what: str, round_: Callable[[Stage], Awaitable[str]], rounds: int, **more: object) -> Fault:
    values: dict[str, object] = {
        "ips": IPS,
        "clicks_per_s": CLICKS_PER_S,
        "settings": SETTINGS,
        "equip": beside(),
        "finish": claims_held,
        **more,
    }
    return Fault(name, what, round_, rounds, **values)  # type: ignore[arg-type]


FAULTS = (
    of_nodes(
        "node-killed-or-stopped",
        "one of three nodes with a long trust is killed and removed, stopped, killed and restarted",
        killed,
        rounds=2,
        settings=LONG_TRUST,
    ),
    of_nodes(
        "node-lost",
        "one of three nodes is cut off and killed: the others use its IPs after its trust and its quiet, not before",
        lost,
        rounds=1,
        errors=CLAIM,
        equip=beside(relayed=True),
    ),
    of_nodes(
        "node-cut-off",
        "one of three nodes does not reach PostgreSQL: refused, silent; in later rounds until its IPs are others'",
        cut_off(Relay.refuse, Relay.silence),
        rounds=1,
        errors=CLAIM,
        equip=beside(relayed=True),
    ),
    of_nodes(
        "node-on-a-slow-link",
        "one of three nodes reaches PostgreSQL within 200 ms, at times within seconds",
        stalled,
        rounds=1,
        long_form_only=True,
        errors=CLAIM,
        equip=beside(relayed=True),
    ),
    *(
        of_nodes(
            f"nodes-pooled-by-{mode}",
            f"three nodes behind PgBouncer in {mode} mode, one of which is killed; needs pgbouncer",
            pooled,
            rounds=1,
            settings=LONG_TRUST,
            equip=beside(mode=mode),
            needs=(PACKAGE,),
            long_form_only=mode != MODES[0],
        )
        for mode in MODES
    ),
)
