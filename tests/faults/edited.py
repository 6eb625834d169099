"""An operator edits ip_rotation_pool by SQL across a restart. No edit may cut a rest short.

The cooldown outlasts a restart, and there are few IPs, so that an IP without its rest would be leased at once.
"""

import signal

import trio

from tests.faults.stage import Fault, Stage
from tests.faults.use_of_ips import stopped, used

STOPPED_WITHIN_S = 40.0
AWAY_S = 0.3
COOLDOWN_S = 8.0
ENDPOINTS = "select ip_address, ip_port from ip_rotation_pool"
MADE_AVAILABLE = "update ip_rotation_pool set status = 'available', locked_until = null, locked_by_request = null"
UNUSED = f"{MADE_AVAILABLE}, last_used_at = null"
MOVED_AWAY = "update ip_rotation_pool set ip_port = (ip_port::int + 1)::text"
MOVED_BACK = "update ip_rotation_pool set ip_port = (ip_port::int - 1)::text"


async def deleted_then_inserted(stage: Stage) -> str:
    """DELETE while the daemon runs, a restart, INSERT of the same endpoints."""
    scene = stage.scene
    rows = await scene.sql(ENDPOINTS)
    await scene.run_sql("delete from ip_rotation_pool")
    await trio.sleep(stage.rng.uniform(0.0, 2 * AWAY_S))
    await _ended(stage)
    await scene.restart()
    await scene.run_sql(_inserted(rows))
    return "all IPs deleted, restarted, inserted again"


async def replaced_meanwhile(stage: Stage) -> str:
    """DELETE and INSERT while the daemon is down."""
    scene = stage.scene
    await _ended(stage)
    rows = await scene.sql(ENDPOINTS)
    await scene.run_sql(f"delete from ip_rotation_pool; {_inserted(rows)}")
    await scene.restart()
    return "all IPs deleted and inserted while it was down"


async def made_available(stage: Stage) -> str:
    """UPDATE … status = 'available' while the daemon is down; every other time without the time of the last use."""
    scene = stage.scene
    await _ended(stage)
    statement = UNUSED if stage.rng.random() < 0.5 else MADE_AVAILABLE
    await scene.run_sql(statement)
    await scene.restart()
    return "all IPs made available while it was down" + (", as never used" if statement == UNUSED else "")


async def edited_away_and_back(stage: Stage) -> str:
    """The endpoints are edited to others and back, before and while the daemon is down."""
    scene = stage.scene
    await scene.run_sql(MOVED_AWAY)
    await trio.sleep(stage.rng.uniform(0.0, 2 * AWAY_S))
    await _ended(stage)
    await scene.run_sql(MOVED_BACK)
    await scene.restart()
    return "all IPs edited to other ports, and back while it was down"


WAYS = (deleted_then_inserted, replaced_meanwhile, made_available, edited_away_and_back)


async def edited(stage: Stage) -> str:
    await used(stage)
    return await WAYS[stage.turn() % len(WAYS)](stage)


async def _ended(stage: Stage) -> None:
    if stage.rng.random() < 0.5:
        await stopped(stage)
    else:
        await stage.scene.end(signal.SIGKILL, STOPPED_WITHIN_S)


def _inserted(rows: list[dict[str, str]]) -> str:
    values = ", ".join(f"('{row['ip_address']}', '{row['ip_port']}')" for row in rows)
    return f"insert into ip_rotation_pool (ip_address, ip_port) values {values}"


SETTINGS = {"pool": {"cooldown_s": COOLDOWN_S}, "click": {"deadline_s": 1.0}}
FAULTS = (
    Fault(
        "ips-edited-across-a-restart",
        "IPs deleted and inserted, made available, or edited away and back, around a stop or a kill",
        edited,
        rounds=len(WAYS),
        restarts=True,
        settings=SETTINGS,
    ),
)
