"""Sessions with PostgreSQL turn read-only (SQLSTATE 25006) under three nodes, which trace on and lose no fact.

Behind PgBouncer in transaction mode another client sets its session read-only, and leaves that to the next client. Or
the server is read-only as a whole for a time, as hosting services make it when a disk is full.
"""

import time

import asyncpg
import trio
import trio_asyncio

from tests.fakes.pooler import PACKAGE
from tests.faults.beside import all_serve, beside, claims_held, logged, resolved
from tests.faults.evidence import rows_came
from tests.faults.nodes import CLAIM, CLICKS_PER_S, IPS, LONG_TRUST
from tests.faults.stage import Fault, Stage
from tests.faults.visible import said

SESSIONS = 20
"""PgBouncer's default_pool_size: so many sessions at the server."""
SPOILS_FOR_S = 6.0
SPOILT_EACH_S = 0.3
SERVER_FOR_S = 8.0
PART_MIN = 0.5
READ_ONLY = "set session characteristics as transaction read only"


async def turned(stage: Stage) -> str:
    """In turn sessions behind the pooler, and the server as a whole."""
    await all_serve(stage)
    scene = stage.scene
    lost = logged(scene, "node_lost") + logged(scene, "node_claim_lost")
    calm_s = time.monotonic()
    await trio.sleep(SPOILS_FOR_S)
    began_s = time.monotonic()
    what = await (_server_read_only(stage) if stage.turn() % 2 else _sessions_spoilt(stage))
    ended_s = time.monotonic()
    before = sum(resolved(daemon, calm_s, began_s) for daemon in scene.daemons) / (began_s - calm_s)
    during = sum(resolved(daemon, began_s, ended_s) for daemon in scene.daemons) / (ended_s - began_s)
    rates = f"{during:.1f} clicks/s resolved meanwhile, {before:.1f} before"
    stage.expect(during >= PART_MIN * before, "fewer traces", f"{what}: {rates}")
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    await all_serve(stage)
    now = logged(scene, "node_lost") + logged(scene, "node_claim_lost")
    stage.expect(now == lost, "moved", f"{now - lost} nodes were lost, or their claim, although each renewed in time")
    return f"{what}; {rates}; rows there {rows_s:.1f} s later"


async def _sessions_spoilt(stage: Stage) -> str:
    """Each session of the server that is idle at that moment, again and again; in the end all stay so."""
    scene = stage.scene
    assert scene.url is not None
    url, spoilt, ends_s = scene.url, 0, time.monotonic() + SPOILS_FOR_S
    while time.monotonic() < ends_s:
        async with trio_asyncio.open_loop():
            spoilt += await trio_asyncio.aio_as_trio(_spoil)(url)
        await trio.sleep(SPOILT_EACH_S)
    return f"{spoilt} times a session behind the pooler turned read-only"


async def _spoil(url: str) -> int:
    """Hold as many sessions as there are, each in a transaction of its own, so that each is spoilt."""
    connections = []
    try:
        for _ in range(SESSIONS):
            connections.append(await asyncpg.connect(url, statement_cache_size=0, timeout=1.0))
            await connections[-1].execute("begin", timeout=1.0)
    except TimeoutError:
        connections, late = connections[:-1], connections[-1:]
        for one in late:
            one.terminate()
    for one in connections:
        await one.execute(f"{READ_ONLY}; commit")
        await one.close()
    return len(connections)


async def _server_read_only(stage: Stage) -> str:
    await _configured(stage, "set default_transaction_read_only = on")
    began_s = time.monotonic()
    await said(stage, "read-only", "database_unavailable", SERVER_FOR_S)
    await trio.sleep(max(0.0, began_s + SERVER_FOR_S - time.monotonic()))
    await _configured(stage, "reset default_transaction_read_only")
    return f"the server was read-only for {time.monotonic() - began_s:.1f} s"


async def _configured(stage: Stage, setting: str) -> None:
    for statement in (f"alter system {setting}", "select pg_reload_conf()"):
        await stage.scene.run_sql(statement)


FAULTS = (
    Fault(
        "sessions-turn-read-only",
        "sessions behind PgBouncer turn read-only, then the whole server, under three nodes; needs pgbouncer",
        turned,
        rounds=2,
        long_form_only=True,
        errors=CLAIM,
        ips=IPS,
        settings=LONG_TRUST,
        equip=beside(mode="transaction"),
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
        needs=(PACKAGE,),
    ),
)
