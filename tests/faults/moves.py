"""IPs move between three nodes, because the load is uneven and changes, while operators edit rows and settings."""

import signal
import time
from collections.abc import Sequence

import trio

from tests.faults.beside import all_serve, beside, claims_held, name_of, owned, resolved, until
from tests.faults.evidence import rows_came
from tests.faults.nodes import IPS, LOCK_S, LONG_TRUST
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Stage

FEW, MANY = 1.5, 9.0
"""Clicks per second of two nodes, and of the third, whose turn it is."""
EDITS_FOR_S = 8.0
EDITED_EACH_S = 0.4
ADOPTED_WITHIN_S = 10.0
MOVES_FOR_S = 45.0
SHARE_MIN = 0.4
"""The part of all IPs that the node with 3/4 of the clicks has in the end, at least: the others need theirs as well."""
STOPPED_WITHIN_S = 20.0
LONGER_COOLDOWN_S = 4.0
ENDPOINTS = "select id::text, ip_address, ip_port from ip_rotation_pool order by ip_address"


def _loaded(stage: Stage) -> Scene:
    """Send most clicks to the next node in turn, and return it."""
    daemons = stage.scene.daemons
    busy = daemons[stage.turn() % len(daemons)]
    for daemon in daemons:
        daemon.visitors.clicks_per_s = MANY if daemon is busy else FEW
    return busy


async def edited(stage: Stage) -> str:
    """Operators delete, insert, replace, swap and update IPs while these move. Each is adopted once."""
    await all_serve(stage)
    scene, busy = stage.scene, _loaded(stage)
    edits, ends_s = 0, time.monotonic() + EDITS_FOR_S
    while time.monotonic() < ends_s:
        await scene.run_sql(_edit(stage, await scene.sql(ENDPOINTS)))
        edits += 1
        await trio.sleep(stage.rng.uniform(0.0, 2 * EDITED_EACH_S))
    began_s = time.monotonic()

    async def all_are_owned() -> bool:
        found = await owned(scene)
        return not found.get("") and sum(map(len, found.values())) == len(scene.addresses)

    await until(all_are_owned, "each IP has an owner", ADOPTED_WITHIN_S + LOCK_S + stage.cooldown_s)
    stage.measured("all IPs adopted", time.monotonic() - began_s)
    return f"{edits} edits, with most clicks at {name_of(busy)}"


def _edit(stage: Stage, rows: Sequence[dict[str, str]]) -> str:
    """Statements that leave the same endpoints in the table."""
    rng = stage.rng
    one, other = rng.sample(rows, 2)
    inserted = "insert into ip_rotation_pool (ip_address, ip_port) values ('{ip_address}', '{ip_port}')"
    set_port = "update ip_rotation_pool set ip_port = '{port}' where id = '{id}'"
    match rng.randrange(4):
        case 0:
            return f"delete from ip_rotation_pool where id = '{one['id']}'; {inserted.format(**one)}"
        case 1:
            # The endpoints of two rows change places; the port of one differs for a moment.
            swapped = "update ip_rotation_pool set ip_address = '{ip_address}' where id = '{id}'"
            return "; ".join(
                (
                    set_port.format(port=1, id=one["id"]),
                    swapped.format(ip_address=one["ip_address"], id=other["id"]),
                    swapped.format(ip_address=other["ip_address"], id=one["id"]),
                    set_port.format(port=one["ip_port"], id=one["id"]),
                )
            )
        case 2:
            return f"update ip_rotation_pool set status = 'available', locked_until = null where id = '{one['id']}'"
        case _:
            return f"update ip_rotation_pool set provider = 'edited-{rng.randrange(9)}' where id = '{one['id']}'"


async def load_reversed(stage: Stage) -> str:
    """Most clicks come to one node, then to another: IPs follow them."""
    await all_serve(stage)
    scene, busy = stage.scene, _loaded(stage)
    began_s = time.monotonic()
    await trio.sleep(MOVES_FOR_S)
    found = await owned(scene)
    has = len(found[name_of(busy)])
    stage.expect(has >= SHARE_MIN * len(scene.addresses), "not moved", f"{name_of(busy)} has {has} IPs of {IPS}")
    return f"{name_of(busy)} has {has} IPs of {IPS}; it resolved {resolved(busy, began_s)} clicks"


async def cooldown_changed(stage: Stage) -> str:
    """A rolling change of pool.cooldown_s: while the nodes differ, the owner's value counts for its IPs."""
    await all_serve(stage)
    scene = stage.scene
    busy = _loaded(stage)
    cooldown_s = LONGER_COOLDOWN_S if stage.memory["turn"] % 2 == 0 else stage.cooldown_s
    for daemon in scene.daemons:
        daemon.settings = {**daemon.settings, "pool": {**daemon.settings["pool"], "cooldown_s": cooldown_s}}
        daemon.write_settings()
        await daemon.end(signal.SIGTERM, STOPPED_WITHIN_S)
        await daemon.restart()
        await trio.sleep(stage.rng.uniform(0.0, 2.0))
    await all_serve(stage)
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    return f"pool.cooldown_s is {cooldown_s:g} on all nodes, with most clicks at {name_of(busy)}"


FAULTS = (
    Fault(
        "ips-edited-while-they-move",
        "operators delete, insert, replace, swap and update IPs while these move between three nodes",
        edited,
        rounds=1,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=FEW,
    ),
    Fault(
        "load-reversed",
        "80 % of the clicks come to one of three nodes, then to another",
        load_reversed,
        rounds=2,
        long_form_only=True,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=FEW,
    ),
    Fault(
        "cooldown-changed-node-by-node",
        "three nodes restarted one after another with another pool.cooldown_s",
        cooldown_changed,
        rounds=1,
        long_form_only=True,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(),
        finish=claims_held,
        clicks_per_s=FEW,
    ),
)
