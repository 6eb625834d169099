"""The database loses rows: it is made anew while the daemon is stopped, or replaced by an older copy of itself.

Cooldowns must survive that. There are few IPs and the cooldown is long, so that an IP without its cooldown would be
leased at once.
"""

import time

import trio

from daemon.database import cluster
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Stage
from tests.faults.use_of_ips import stopped, used
from tests.faults.visible import comes, well_again
from tests.support.servers import furnished

MAINTENANCE_DATABASE = "postgres"
COOLDOWN_S = 8.0
DEADLINE_S = 1.0
"""Short, so that a stop, which waits for the clicks in flight, ends long before the cooldowns do."""
IPS = 4
POSITION = "select coalesce(max(seq), 0) as seq from journal_position"


async def made_anew(stage: Stage) -> str:
    """The same IPs and offers are inserted again, as new rows."""
    scene = stage.scene
    await used(stage)
    await stopped(stage)
    had = await _position(scene)
    ips = await scene.sql("select ip_address, ip_port from ip_rotation_pool")
    offers = {
        row["offer_name"]: row["final_url"] for row in await scene.sql("select offer_name, final_url from offers")
    }
    _forget(stage, float("-inf"))
    await _drop(scene)
    await _at_server(scene, f"create database {cluster.DATABASE}")
    addresses, port = [row["ip_address"] for row in ips], int(ips[0]["ip_port"])
    await trio.to_thread.run_sync(furnished, scene.postgres.server.url, addresses, port, offers)
    return "made anew; " + await _served_again(stage, had)


async def older_copy(stage: Stage) -> str:
    """The database is restored from a backup that is some seconds old."""
    scene = stage.scene
    await used(stage)
    await stopped(stage)
    copied_s = time.monotonic()
    await _at_server(scene, f"create database older template {cluster.DATABASE}")
    copied = await _position(scene)
    await scene.restart()
    await used(stage)
    await stopped(stage)
    had = await _position(scene)
    _forget(stage, copied_s)
    await _drop(scene)
    await _at_server(scene, f"alter database older rename to {cluster.DATABASE}")
    return "replaced by an older copy; " + await _served_again(stage, had - copied)


def _forget(stage: Stage, from_s: float) -> None:
    """Note that rows of clicks and traces that ended between `from_s` and now may be missing."""
    stage.memory["forgotten"] = [*stage.memory.get("forgotten", ()), (from_s, time.monotonic())]


async def _served_again(stage: Stage, missing: int) -> str:
    """Start the daemon with a database that lacks so many entries; expect its report and that it serves."""
    scene = stage.scene
    told = len(scene.log("database_is_older"))
    took_s = await scene.restart()
    stage.measured("serving again", took_s, stage.knobs.serving_within_s)
    await comes(scene, lambda: len(scene.log("database_is_older")) > told, 1.0)
    entries = [int(line["entries"]) for line in scene.log("database_is_older")[told:]]
    # The spool records PostgreSQL's position with its next commit, so the last batch of a run may not be counted.
    counted = len(entries) == 1 and 0 < entries[0] <= missing
    stage.expect(counted, "not said", f"{missing} entries were lost; `database_is_older` has {entries}")
    await used(stage)
    await well_again(stage)
    return f"{missing} entries were missing; served again after {took_s:.2f} s"


async def _position(scene: Scene) -> int:
    return int((await scene.sql(POSITION))[0]["seq"])


async def _drop(scene: Scene) -> None:
    await _at_server(scene, f"drop database {cluster.DATABASE} with (force)")


async def _at_server(scene: Scene, statement: str) -> None:
    await trio.to_thread.run_sync(lambda: scene.postgres.run(statement, database=MAINTENANCE_DATABASE))


SETTINGS = {"pool": {"cooldown_s": COOLDOWN_S}, "click": {"deadline_s": DEADLINE_S}}
OLDER = frozenset({"database_is_older"})
FAULTS = (
    Fault(
        "database-made-anew",
        "the database dropped and made anew, with the same IPs and offers, while the daemon is stopped",
        made_anew,
        rounds=1,
        errors=OLDER,
        ips=IPS,
        restarts=True,
        settings=SETTINGS,
    ),
    Fault(
        "database-made-anew-nothing-kept",
        "the same with journal.keep_s = 0: rows may be lost, cooldowns may not",
        made_anew,
        rounds=1,
        errors=OLDER,
        ips=IPS,
        restarts=True,
        settings={**SETTINGS, "journal": {"keep_s": 0}},
    ),
    Fault(
        "older-database",
        "the database replaced by an older copy while the daemon is stopped",
        older_copy,
        rounds=1,
        errors=OLDER,
        ips=IPS,
        restarts=True,
        settings=SETTINGS,
    ),
)
