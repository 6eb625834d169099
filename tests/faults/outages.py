"""PostgreSQL is killed or frozen, or it ends the daemon's sessions. Every click must still be resolved."""

import os
import signal
import time

import trio

from daemon.database import cluster
from tests.faults.evidence import rows_came
from tests.faults.scene import until
from tests.faults.stage import Fault, Stage

BACK_WITHIN_S = 30.0
SESSIONS_ENDED_FOR_S = 0.5
END_SESSIONS = """select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()"""


async def postgres_killed(stage: Stage) -> str:
    scene = stage.scene
    await trio.sleep(stage.rng.uniform(0.2, 1.0))
    whole = stage.rng.random() < 0.5
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=whole))
    await trio.sleep(stage.knobs.outage_s)
    await trio.to_thread.run_sync(scene.postgres.start)
    rows_s = await _rows_are_back(stage)
    what = "all of it" if whole else "its postmaster"
    return f"killed {what} for {stage.knobs.outage_s:g} s; rows there {rows_s:.2f} s after its return"


async def postgres_frozen(stage: Stage) -> str:
    scene = stage.scene
    await trio.sleep(stage.rng.uniform(0.2, 1.0))
    await trio.to_thread.run_sync(scene.postgres.freeze)
    await trio.sleep(stage.knobs.outage_s)
    await trio.to_thread.run_sync(scene.postgres.thaw)
    rows_s = await _rows_are_back(stage)
    return f"frozen for {stage.knobs.outage_s:g} s; rows there {rows_s:.2f} s after its return"


async def embedded_killed(stage: Stage) -> str:
    """The daemon restarts its embedded server."""
    scene = stage.scene
    await trio.sleep(stage.rng.uniform(0.2, 1.0))
    data = scene.postgres.server.data_dir
    found = cluster.running(data)
    assert found is not None, "the daemon serves, so its embedded server runs"
    began_s = time.monotonic()
    os.kill(found[0], signal.SIGKILL)

    def back() -> bool:
        now = cluster.running(data)
        return now is not None and now[0] != found[0] and scene.postgres_answers()

    await until(back, "the embedded PostgreSQL is back", BACK_WITHIN_S)
    took_s = time.monotonic() - began_s
    stage.measured("embedded PostgreSQL back", took_s)
    rows_s = await _rows_are_back(stage)
    return f"its postmaster killed; back after {took_s:.2f} s, rows there {rows_s:.2f} s later"


async def sessions_ended(stage: Stage) -> str:
    """The daemon's sessions are ended again and again, new sessions too."""
    ended, ends_s = 0, time.monotonic() + SESSIONS_ENDED_FOR_S
    while time.monotonic() < ends_s:
        ended += len(await stage.scene.sql(END_SESSIONS))
        await trio.sleep(stage.rng.uniform(0.0, 0.1))
    return f"ended {ended} sessions in {SESSIONS_ENDED_FOR_S} s"


async def _rows_are_back(stage: Stage) -> float:
    rows_s, breaches = await rows_came(stage.scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    return rows_s


async def claim_held(stage: Stage) -> None:
    """Wait until the daemon's claim is trusted again, by PostgreSQL's clock, so that no other node frees its IPs.

    With the embedded PostgreSQL too, `nodes` has a row for the daemon.
    """
    trusted = "select count(*) as nodes from nodes where trusted_until > now()"

    def held() -> bool:
        return bool(stage.scene.postgres.sql(trusted)[0]["nodes"] == 1)

    await until(held, "the nodes row of the daemon, and no other, is trusted", BACK_WITHIN_S)


AWAY = frozenset({"database_unavailable"})
FAULTS = (
    Fault(
        "postgres-killed",
        "SIGKILL of the PostgreSQL server, restarted after the outage",
        postgres_killed,
        rounds=2,
        errors=AWAY,
        all_resolved=True,
        finish=claim_held,
    ),
    Fault(
        "postgres-frozen",
        "every process of PostgreSQL stopped by SIGSTOP for the outage",
        postgres_frozen,
        rounds=2,
        errors=AWAY,
        all_resolved=True,
        finish=claim_held,
    ),
    Fault(
        "embedded-postgres-killed",
        "SIGKILL of the embedded PostgreSQL, which the daemon starts again",
        embedded_killed,
        rounds=1,
        errors=AWAY | {"embedded_database_died", "embedded_database_start_failed"},
        own_postgres=False,
        all_resolved=True,
        finish=claim_held,
    ),
    Fault(
        "sessions-ended",
        "pg_terminate_backend on all of the daemon's connections, again and again",
        sessions_ended,
        rounds=4,
        errors=AWAY,
        all_resolved=True,
        finish=claim_held,
    ),
)
