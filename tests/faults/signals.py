"""SIGTERM and SIGHUP under load."""

import signal
import time

import trio

from tests.faults.evidence import rows_came
from tests.faults.scene import DEADLINE_S
from tests.faults.stage import Fault, Stage

STOP_BEYOND_DEADLINE_S = 7.0
PATIENCE_S = 60.0
INVALID = (
    ("[click]\ndeadline_s = 0.01\n", "click.deadline_s"),
    ("[clicks]\n", "clicks"),
    ("[pool]\ncooldown_s = 'long'\n", "cooldown_s"),
    ("[pool]\nlock_s = 2\n[trace]\ntimeout_s = 3\n", "timeout_s"),
    ("this is no TOML", "settings.toml"),
    ("\0\xff", "settings.toml"),
    (None, "settings.toml"),
)
"""The text of the settings file, or None for no file; and a name that the reason must contain."""


async def terminated(stage: Stage) -> str:
    scene = stage.scene
    after_s = stage.rng.uniform(0.1, 0.6)
    await trio.sleep(after_s)
    under_way = scene.visitors.under_way
    began_s = time.monotonic()
    status, _ = await scene.end(signal.SIGTERM, PATIENCE_S)
    took_s = time.monotonic() - began_s
    stage.expect(status == 0, "status", f"it ended with {status} after SIGTERM")
    stage.measured("stopped", took_s, DEADLINE_S + STOP_BEYOND_DEADLINE_S)
    restart_s = await scene.restart()
    stage.measured("serving again", restart_s)
    return f"SIGTERM with {under_way} clicks in flight; exit {status} after {took_s:.2f} s"


async def terminated_alone(stage: Stage) -> str:
    """SIGTERM while PostgreSQL does not answer: the next daemon ships the entries that remain in the spool."""
    scene, rng = stage.scene, stage.rng
    await trio.sleep(rng.uniform(0.3, 0.8))
    frozen = rng.random() < 0.5
    if frozen:
        await trio.to_thread.run_sync(scene.postgres.freeze)
    else:
        await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.sleep(rng.uniform(0.1, 1.0))
    began_s = time.monotonic()
    status, _ = await scene.end(signal.SIGTERM, PATIENCE_S)
    took_s = time.monotonic() - began_s
    stage.expect(status == 0, "status", f"it ended with {status} after SIGTERM")
    stage.measured("stopped", took_s, DEADLINE_S + STOP_BEYOND_DEADLINE_S)
    await trio.to_thread.run_sync(scene.postgres.thaw if frozen else scene.postgres.start)
    await scene.restart()
    rows_s, breaches = await rows_came(scene)
    stage.breaches += breaches
    away = "frozen" if frozen else "killed"
    return f"SIGTERM with PostgreSQL {away}; exit {status} after {took_s:.2f} s; rows there {rows_s:.2f} s after all"


async def hung_up(stage: Stage) -> str:
    """SIGHUP with changed valid settings, then with invalid settings."""
    scene, rng = stage.scene, stage.rng
    assert scene.process is not None
    number = stage.memory["round"] = stage.memory.get("round", 0) + 1
    await trio.sleep(rng.uniform(0.0, 0.2))
    deadline_s = DEADLINE_S + number % 2 / 2
    reloaded, refused = len(scene.log("reloaded")), len(scene.log("reload_refused"))
    scene.write_settings({"click": {"deadline_s": deadline_s}})
    scene.process.send_signal(signal.SIGHUP)
    await scene.logged("reloaded", reloaded + 1)
    taken_over = scene.log("reloaded")[-1]["taken_over"]
    changed = deadline_s != stage.memory.get("deadline_s", DEADLINE_S)
    wanted = ["click.deadline_s"] if changed else []
    stage.expect(taken_over == wanted, "reload", f"{deadline_s} was set; taken over: {taken_over}")
    stage.memory["deadline_s"] = deadline_s

    await trio.sleep(rng.uniform(0.0, 0.2))
    invalid, named = INVALID[number % len(INVALID)]
    if invalid is None:
        scene.config.unlink()
    else:
        scene.config.write_text(invalid, encoding="latin-1")
    scene.process.send_signal(signal.SIGHUP)
    await scene.logged("reload_refused", refused + 1)
    why = scene.log("reload_refused")[-1]["why"]
    stage.expect(named in why, "reload", f"{invalid!r} was refused without naming {named}: {why}")
    scene.write_settings({"click": {"deadline_s": deadline_s}})
    return f"deadline {deadline_s:g} s taken over; {invalid!r} refused"


FAULTS = (
    Fault(
        "sigterm",
        "SIGTERM under load, then a new start",
        terminated,
        rounds=2,
        restarts=True,
        settings={"pool": {"cooldown_s": 8}, "click": {"deadline_s": DEADLINE_S / 2}},
    ),
    Fault(
        "sigterm-without-postgres",
        "SIGTERM while PostgreSQL is frozen or killed; the next start ships the rest",
        terminated_alone,
        rounds=2,
        errors=frozenset({"database_unavailable"}),
        restarts=True,
        settings={"pool": {"cooldown_s": 8}, "click": {"deadline_s": DEADLINE_S / 2}},
    ),
    Fault(
        "sighup",
        "SIGHUP under load, with valid and with invalid settings",
        hung_up,
        rounds=len(INVALID),
        errors=frozenset({"reload_refused"}),
        all_resolved=True,
    ),
)
