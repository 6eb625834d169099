"""A rolling upgrade of three nodes: neighbouring versions run side by side, while IPs move between them.

By default both versions are this code, and only their numbers differ. `--before DIRECTORY` names a checkout of an
earlier version, which all nodes run at first. A node of the earlier version that starts after a newer one has migrated
the database is refused, and the others go on.
"""

import signal
import time

import trio

from tests.faults.beside import all_serve, beside, claims_held, logged, name_of, owned, resolved
from tests.faults.evidence import rows_came
from tests.faults.nodes import CLICKS_PER_S, IPS, LONG_TRUST
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Stage
from tests.support.processes import REPOSITORY, run_command

BEFORE, AFTER = "0.0.9", "0.1.0"
UNFIT = 78
"""EX_CONFIG of sysexits.h: systemd does not restart such a unit."""
BESIDE_S = 6.0
STOPPED_WITHIN_S = 20.0
NEWER = "9999_of_a_newer_version.sql"
VERSIONS = "select version from nodes where state = 'active'"


async def upgraded(stage: Stage) -> str:
    """One node after another; in the middle an older node drains, and in the end a newer schema is refused."""
    scene = stage.scene
    before = stage.knobs.before
    for daemon in scene.daemons:
        await _run_as(stage, daemon, BEFORE)
    await all_serve(stage)
    lost = _lost(scene)
    seen = []
    for daemon in scene.daemons:
        await _run_as(stage, daemon, AFTER)
        await all_serve(stage)
        await trio.sleep(BESIDE_S)
        seen.append(len({row["version"] for row in await scene.sql(VERSIONS)}))
        await all_serve(stage)
        if daemon is scene.beside[0]:
            await _drained(stage, scene.beside[1])
    stage.expect(before is not None or seen == [2, 2, 1], "blind", f"so many versions ran at once: {seen}")
    what = f"{_lost(scene) - lost} nodes were lost, or their claim, in an upgrade in order"
    stage.expect(_lost(scene) == lost, "moved", what)
    sentence = await _newer_refused(stage, scene.beside[1])
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    return f"all upgraded, one after another; an older node after that: {sentence!r}"


def _lost(scene: Scene) -> int:
    """How often a node was lost that had not stopped, or has lost its claim."""
    found = [line for daemon in scene.daemons for line in daemon.log("node_lost")]
    return len([line for line in found if line["state"] != "left"]) + logged(scene, "node_claim_lost")


async def _run_as(stage: Stage, daemon: Scene, version: str) -> None:
    before = stage.knobs.before
    if version == AFTER or before is None:
        daemon.code, daemon.faulty = REPOSITORY, (f"version={version}",)
    else:
        daemon.code, daemon.faulty = before, ()
    await daemon.end(signal.SIGTERM, STOPPED_WITHIN_S)
    await daemon.restart()


async def _drained(stage: Stage, node: Scene) -> None:
    """A node of the earlier version gives its IPs to nodes of both, and gets some again."""
    scene = stage.scene
    for word in ("drain", "undrain"):
        done = await run_command("nodes", word, name_of(node), "--config", str(scene.config))
        stage.expect(done.returncode == 0, "refused", f"`nodes {word}` ended with {done.returncode}: {done.stderr}")
        await trio.sleep(BESIDE_S)
        has = len((await owned(scene))[name_of(node)])
        stage.expect(bool(has) == (word == "undrain"), "moved", f"{name_of(node)} has {has} IPs after {word}")
    await all_serve(stage)


async def _newer_refused(stage: Stage, node: Scene) -> str:
    """A newer version has migrated the database: nodes of the earlier one go on, and a new start is refused."""
    scene = stage.scene
    await scene.run_sql(f"insert into schema_migrations (name) values ('{NEWER}')")
    await node.end(signal.SIGKILL, STOPPED_WITHIN_S)
    done = await run_command("serve", "--config", str(node.config))
    status, lines = done.returncode, done.stderr.splitlines()
    stage.expect(status == UNFIT, "status", f"a database of a newer version, and the daemon ended with {status}")
    sentence = next((line for line in lines if NEWER in line), "")
    stage.expect("upgrade tracepool" in sentence, "not said", f"the daemon's last lines: {lines[-3:]}")
    began_s = time.monotonic()
    await trio.sleep(BESIDE_S)
    for one in scene.daemons:
        stage.expect(one is node or resolved(one, began_s) > 0, "no trace", f"{name_of(one)} resolved no click")
    await scene.run_sql(f"delete from schema_migrations where name = '{NEWER}'")
    await node.restart()
    await all_serve(stage)
    return sentence


FAULTS = (
    Fault(
        "nodes-upgraded-one-by-one",
        "three nodes upgraded one after another; versions side by side, and a database of a newer version",
        upgraded,
        rounds=1,
        long_form_only=True,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
)
