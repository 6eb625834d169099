"""The daemon's wall clock is set between a crash and the next start. Rests neither end early nor last for an hour."""

import signal

from tests.faults.shift import Shift
from tests.faults.stage import Fault, Stage
from tests.faults.use_of_ips import used

KILLED_WITHIN_S = 10.0
COOLDOWN_S = 8.0
HOUR_S = 3600.0
SHIFTS_S = (HOUR_S, 0.0, -HOUR_S, 0.0)
"""From the machine's clock, in turn. Only the daemon's clock is set; PostgreSQL's is the machine's."""


async def clock_set(stage: Stage) -> str:
    """In turn an hour forwards, back, an hour backwards, and back."""
    scene = stage.scene
    await used(stage)
    await scene.end(signal.SIGKILL, KILLED_WITHIN_S)
    before_s, shift_s = scene.clock_shift_s, SHIFTS_S[stage.turn() % len(SHIFTS_S)]
    Shift(scene.directory / "clock").set(shift_s)
    scene.clock_shift_s = shift_s
    stage.memory["clock_shifts_s"] = SHIFTS_S
    took_s = await scene.restart()
    stage.measured("serving again", took_s)
    await used(stage)
    return f"killed, the clock set by {(shift_s - before_s) / HOUR_S:+g} h; served again after {took_s:.2f} s"


FAULTS = (
    Fault(
        "clock-set-before-a-start",
        "SIGKILL, the wall clock set by an hour forwards or backwards, and a new start",
        clock_set,
        rounds=2,
        restarts=True,
        faulty=("clock={directory}/clock",),
        settings={"pool": {"cooldown_s": COOLDOWN_S}},
    ),
)
