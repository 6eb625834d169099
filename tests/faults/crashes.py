"""The daemon, or an actor in it, crashes at a random moment."""

import signal
import time

import trio

from tests.faults.evidence import rows_came
from tests.faults.stage import REPORT, Fault, Stage

GONE_WITHIN_S = 10.0
AGAIN_EACH = 3
"""Each kill of this number is followed by another kill while the daemon starts."""
MESSAGES_NTH_MAX = 24
TRACES_NTH_MAX = 12


async def daemon_killed(stage: Stage) -> str:
    scene, rng = stage.scene, stage.rng
    after_s = rng.uniform(0.2, 1.5)
    await trio.sleep(after_s)
    await scene.end(signal.SIGKILL, GONE_WITHIN_S)
    did = f"killed after {after_s:.2f} s"
    if stage.turn() % AGAIN_EACH == AGAIN_EACH - 1:
        again_s = rng.uniform(0.0, 2.0)
        await scene.spawn()
        await trio.sleep(again_s)
        await scene.end(signal.SIGKILL, GONE_WITHIN_S)
        did += f", again {again_s:.2f} s into its start"
    took_s = await scene.restart()
    stage.measured("serving again", took_s, stage.knobs.serving_within_s)
    return f"{did}; served again after {took_s:.2f} s"


async def both_killed(stage: Stage) -> str:
    """PostgreSQL is killed, then the daemon; in every other round the daemon is started first."""
    scene, rng = stage.scene, stage.rng
    await trio.sleep(rng.uniform(0.2, 0.8))
    whole = rng.random() < 0.5
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=whole))
    alone_s = rng.uniform(0.0, 1.5)
    await trio.sleep(alone_s)
    await scene.end(signal.SIGKILL, GONE_WITHIN_S)
    daemon_first = stage.turn() % 2 == 1
    if daemon_first:
        await scene.spawn()
        await trio.sleep(rng.uniform(0.0, 2.5))
    began_s = time.monotonic()
    await trio.to_thread.run_sync(scene.postgres.start)
    if not daemon_first:
        await scene.spawn()
    await scene.serving()
    scene.up()
    took_s = time.monotonic() - began_s
    stage.measured("serving after both were back", took_s)
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    order = "the daemon" if daemon_first else "PostgreSQL"
    return f"{alone_s:.2f} s without PostgreSQL, then killed; {order} came first; served {took_s:.2f} s later"


async def actor_raises(stage: Stage) -> str:
    """In one round the actor raises on its 1st message, on the 2nd after that, and so on."""
    return f"raised on its nth message, {await stage.sweep(MESSAGES_NTH_MAX)}"


async def worker_raises(stage: Stage) -> str:
    return f"one raised in its nth trace, {await stage.sweep(TRACES_NTH_MAX)}"


async def restarted_each_time(stage: Stage) -> None:
    raised = len(stage.reported())
    logged = len(stage.scene.log("actor_crashed"))
    stage.expect(raised == logged, "not logged", f"the actor raised {raised} times and the log has {logged} crashes")


# The cooldown outlasts a restart: a forgotten cooldown leads to a breach at once.
RESTART_IPS = 16
LONG_REST = {"pool": {"cooldown_s": 8}}
SHORT_LOCKS: dict[str, dict[str, object]] = {"pool": {"lock_s": 2}, "trace": {"timeout_s": 1.5, "hop_timeout_s": 1.5}}
"""A crash of the actor may lose a lease; its IP comes back when the lock expires."""
FAST_IPS, FAST_CLICKS_PER_S = 12, 20.0
"""Where a fault counts messages or traces."""
FAULTS = (
    Fault(
        "daemon-killed",
        "SIGKILL of the daemon at a random moment, at times again while it starts; restart",
        daemon_killed,
        rounds=3,
        own_postgres=False,
        restarts=True,
        ips=RESTART_IPS,
        settings=LONG_REST,
    ),
    Fault(
        "both-killed",
        "the daemon killed while PostgreSQL is down; both come back, in either order",
        both_killed,
        rounds=2,
        restarts=True,
        ips=RESTART_IPS,
        settings=LONG_REST,
        errors=frozenset({"database_unavailable"}),
    ),
    Fault(
        "actor-raises",
        "the pool's actor raises on its nth message, for every n",
        actor_raises,
        rounds=1,
        errors=frozenset({"actor_crashed"}),
        faulty=(f"messages={MESSAGES_NTH_MAX}", REPORT),
        ips=FAST_IPS,
        clicks_per_s=FAST_CLICKS_PER_S,
        settings={"click": {"deadline_s": 2}, **SHORT_LOCKS},
        restarts=True,
        finish=restarted_each_time,
    ),
    Fault(
        "worker-raises",
        "a trace worker raises in the nth trace, for every n",
        worker_raises,
        rounds=1,
        errors=frozenset({"actor_crashed"}),
        ips=FAST_IPS,
        clicks_per_s=FAST_CLICKS_PER_S,
        faulty=(f"traces={TRACES_NTH_MAX}", REPORT),
        finish=restarted_each_time,
    ),
)
