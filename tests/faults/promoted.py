"""An asynchronous failover under three nodes: a streaming replica that lacks the last second takes over.

The nodes reach PostgreSQL through relays, which then lead to the replica. What the nodes committed in the last second
is lost: renewals, and owners of IPs that moved. They notice, join again, and send their entries again.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from daemon.database import cluster
from tests.fakes.relay import open_relay
from tests.faults.beside import all_serve, beside, claims_held, logged, name_of, owned, until, victim
from tests.faults.evidence import rows_came
from tests.faults.failover import copied
from tests.faults.nodes import CLAIM, CLICKS_PER_S, IPS, SETTINGS
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Knobs, Stage
from tests.faults.visible import comes
from tests.support.processes import run_command
from tests.support.servers import SceneBroke, launch
from tests.support.state_dirs import drop_server

REPLICA = "replica"
LAG_S = 1.0
STREAMS_WITHIN_S = 20.0
SAID_WITHIN_S = 20.0
LAG = """select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 1e9)::float8 as bytes
    from pg_stat_replication where state = 'streaming'"""


@asynccontextmanager
async def equip(scene: Scene, knobs: Knobs) -> AsyncIterator[None]:
    """Three nodes, and a replica that streams through a relay."""
    server = scene.postgres.server
    copy = server.data_dir.parents[1] / REPLICA / "data"
    async with open_relay(server.socket_dir / cluster.SOCKET_NAME) as stream:
        scene.to_replica = stream
        await trio.to_thread.run_sync(_replicate, scene, copy, stream.port)
        try:
            async with beside(relayed=True)(scene, knobs):
                yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(drop_server, copy)


def _replicate(scene: Scene, copy: Path, port: int) -> None:
    """Start a replica from a copy of the stopped server; it streams from the primary at this port."""
    server = scene.postgres.server
    scene.postgres.kill(whole=True)
    owner = server.data_dir.stat()
    for directory in (copy.parent, copy.parent / "run"):
        directory.mkdir(mode=0o700)
        os.chown(directory, owner.st_uid, owner.st_gid)
    copied(server.data_dir, copy)
    scene.postgres.start()
    (copy / "standby.signal").touch()
    primary = f"primary_conninfo=host=127.0.0.1 port={port} user={cluster.SUPERUSER} sslmode=disable"
    launch(copy, copy.parent / "run", primary)


async def failed_over(stage: Stage) -> str:
    """A node gives its IPs away in the second that the replica lacks."""
    await all_serve(stage)
    scene = stage.scene
    primary = scene.postgres.server
    copy = primary.data_dir.parents[1] / REPLICA / "data"

    async def caught_up() -> bool:
        return bool((await scene.sql(LAG))[0]["bytes"] < 1e6)

    await until(caught_up, "the replica has all but the last changes", STREAMS_WITHIN_S)
    node, before = await victim(stage)
    said, lost = logged(scene, "node_claim_lost"), logged(scene, "node_lost")
    assert scene.to_replica is not None
    scene.to_replica.silence()
    done = await run_command("nodes", "drain", name_of(node), "--config", str(scene.config))
    stage.expect(done.returncode == 0, "refused", f"`nodes drain` ended with {done.returncode}: {done.stderr}")
    began_s = time.monotonic()
    moved = 0
    while not moved or time.monotonic() < began_s + LAG_S:
        moved = len(before - (await owned(scene))[name_of(node)])
        if time.monotonic() > began_s + SAID_WITHIN_S:
            raise SceneBroke("a node drains, and none of its IPs moves")
    lag_s = time.monotonic() - began_s
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.to_thread.run_sync(_take_over, scene, copy)
    heard = await comes(scene, lambda: logged(scene, "node_claim_lost") >= said + len(scene.daemons), SAID_WITHIN_S)
    lines = logged(scene, "node_claim_lost") - said
    stage.expect(heard, "not said", f"the replica lacked rows, and {lines} of {len(scene.daemons)} nodes say so")
    stage.expect(logged(scene, "node_lost") == lost, "moved", "a replica took over, and a node was found lost")
    await all_serve(stage)
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    return f"a replica {lag_s:.1f} s behind took over; {moved} IPs had moved since; rows there {rows_s:.1f} s later"


def _take_over(scene: Scene, copy: Path) -> None:
    """Promote the replica; from now on it is the scene's PostgreSQL, on the old one's socket."""
    scene.postgres.moved_to(copy)
    assert scene.postgres.sql("select pg_promote() as done")[0]["done"], "the replica is not promoted"
    for daemon in scene.daemons:
        assert daemon.relay is not None
        daemon.relay.lead_to(copy.parent / "run" / cluster.SOCKET_NAME)


FAULTS = (
    Fault(
        "replica-takes-over",
        "PostgreSQL killed, and a streaming replica that lacks the last second promoted, while IPs move",
        failed_over,
        rounds=1,
        long_form_only=True,
        errors=CLAIM | {"database_is_older"},
        ips=IPS,
        settings=SETTINGS,
        equip=equip,
        finish=claims_held,
        clicks_per_s=CLICKS_PER_S,
    ),
)
