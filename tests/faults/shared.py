"""What three nodes share fails, or lies: PostgreSQL away or restored, a state directory copied, clocks."""

import shutil
import signal
import time
from pathlib import Path

import trio

from tests.faults.beside import all_serve, beside, claims_held, logged, name_of, owned, resolved, until, victim
from tests.faults.evidence import rows_came
from tests.faults.failover import LOST_S, copied, replaced
from tests.faults.nodes import CLAIM, CLICKS_PER_S, IPS, LOCK_S, LONG_TRUST, SETTINGS
from tests.faults.shift import Shift
from tests.faults.stage import Fault, Stage
from tests.faults.visible import comes
from tests.support.processes import run_command

STOPPED_WITHIN_S = 20.0
SAID_WITHIN_S = 20.0
BEFORE_S = 3.0
PART_MIN = 0.5
HOUR_S = 3600.0
COPY = "copy"
BESIDE_S = 6.0
JOINED = "select count(*) as nodes from nodes where state = 'active'"
AWAY = frozenset({"database_unavailable", "loop_exception"})


async def postgres_away(stage: Stage) -> str:
    """In turn killed and frozen: all nodes trace on, each by its own IPs."""
    await all_serve(stage)
    scene = stage.scene
    from_s = time.monotonic()
    await trio.sleep(BEFORE_S)
    began_s, frozen = time.monotonic(), stage.turn() % 2 == 1
    if frozen:
        await trio.to_thread.run_sync(scene.postgres.freeze)
    else:
        await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.sleep(stage.knobs.outage_s)
    ended_s = time.monotonic()
    await trio.to_thread.run_sync(scene.postgres.thaw if frozen else scene.postgres.start)
    before = sum(resolved(daemon, from_s, began_s) for daemon in scene.daemons) / (began_s - from_s)
    during = sum(resolved(daemon, began_s, ended_s) for daemon in scene.daemons) / (ended_s - began_s)
    what = f"{during:.1f} clicks/s resolved without PostgreSQL, {before:.1f} before"
    stage.expect(during >= PART_MIN * before, "fewer traces", what)
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    stage.expect(logged(scene, "node_lost") == 0, "moved", "PostgreSQL was away, and a node was found lost")
    await all_serve(stage)
    return f"{'frozen' if frozen else 'killed'} for {ended_s - began_s:.0f} s; {what}; rows {rows_s:.1f} s later"


async def restored(stage: Stage) -> str:
    """PostgreSQL is replaced by its state of some seconds before, when a node that drains had its IPs still."""
    await all_serve(stage)
    scene = stage.scene
    data = Path(scene.postgres.server.data_dir)
    copy = data.with_name("copy")
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.to_thread.run_sync(copied, data, copy)
    await trio.to_thread.run_sync(scene.postgres.start)
    daemons = scene.daemons
    node, before = await victim(stage)
    done = await run_command("nodes", "drain", name_of(node), "--config", str(scene.config))
    stage.expect(done.returncode == 0, "refused", f"`nodes drain` ended with {done.returncode}: {done.stderr}")
    await trio.sleep(LOST_S + stage.rng.uniform(0.0, 4.0))
    moved = len(before - (await owned(scene))[name_of(node)])
    stage.expect(moved > 0, "blind", "no IP has moved since the backup, so no IP that two nodes use would be seen")
    lost = logged(scene, "node_claim_lost")
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.to_thread.run_sync(replaced, data, copy)
    await trio.to_thread.run_sync(scene.postgres.start)
    said = await comes(scene, lambda: logged(scene, "node_claim_lost") >= lost + len(daemons), SAID_WITHIN_S)
    lines = logged(scene, "node_claim_lost") - lost
    stage.expect(said, "not said", f"the database lost rows, and {lines} of {len(daemons)} nodes say so")
    await all_serve(stage)
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    return f"{moved} IPs had moved since the backup; rows there {rows_s:.1f} s later"


async def state_copied(stage: Stage) -> str:
    """A killed node's state directory is copied, and both are started: the copy becomes a node of its own."""
    await all_serve(stage)
    scene = stage.scene
    node, copy = scene.beside[0], scene.beside[-1]
    await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
    sockets = shutil.ignore_patterns("*.sock")
    await trio.to_thread.run_sync(
        lambda: shutil.copytree(node.state_dir, copy.state_dir, ignore=sockets, dirs_exist_ok=True)
    )
    await node.spawn()
    await copy.spawn()
    await all_serve(stage)
    await trio.sleep(BESIDE_S)
    nodes = (await scene.sql(JOINED))[0]["nodes"]
    stage.expect(nodes == len(scene.daemons), "not a node", f"{len(scene.daemons)} daemons run as {nodes} nodes")
    status, _ = await copy.end(signal.SIGTERM, STOPPED_WITHIN_S)
    stage.expect(status == 0, "status", f"the copy ended with {status} after SIGTERM")
    return f"both ran, as {nodes} nodes"


async def clocks_apart(stage: Stage) -> str:
    """One node's wall clock is an hour ahead, another's an hour behind; then IPs move."""
    await all_serve(stage)
    scene = stage.scene
    stage.memory["clock_shifts_s"] = (0.0, HOUR_S, -HOUR_S)
    for node, shift_s in zip(scene.beside, (HOUR_S, -HOUR_S), strict=True):
        await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
        Shift(node.directory / "clock").set(shift_s)
        node.faulty, node.clock_shift_s = (*scene.faulty, f"clock={node.directory / 'clock'}"), shift_s
        await node.restart()
    await all_serve(stage)
    for daemon in scene.daemons:
        daemon.visitors.clicks_per_s = 2 * CLICKS_PER_S if daemon is scene.beside[-1] else CLICKS_PER_S / 2
        began_s = time.monotonic()
    await trio.sleep(BESIDE_S)
    await until(lambda: resolved(scene.beside[-1], began_s), "the node resolves clicks", LOCK_S + BESIDE_S)
    return f"clocks of two nodes an hour ahead and behind; {resolved(scene.beside[-1], began_s)} clicks resolved"


FAULTS = (
    Fault(
        "nodes-without-postgres",
        "PostgreSQL killed, then frozen, under three nodes, which trace on",
        postgres_away,
        rounds=1,
        errors=AWAY,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
    Fault(
        "older-database-under-nodes",
        "PostgreSQL replaced by its state of some seconds before, while IPs move between three nodes",
        restored,
        rounds=1,
        errors=AWAY | CLAIM | {"database_is_older"},
        ips=IPS,
        settings=SETTINGS,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
    Fault(
        "state-directory-copied",
        "the state directory of one of three nodes copied; both run",
        state_copied,
        rounds=1,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(spare=COPY),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
    Fault(
        "clocks-of-nodes-apart",
        "the wall clocks of three nodes an hour apart from each other, while IPs move between them",
        clocks_apart,
        rounds=1,
        long_form_only=True,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
)
