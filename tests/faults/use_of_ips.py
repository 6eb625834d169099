"""Waits until IPs are in use, so that a fault meets resting IPs; and stops the daemon cleanly."""

import signal
import time

import trio

from tests.fakes.events import read_log
from tests.faults.scene import NETWORK_LOG, until
from tests.faults.stage import Stage

STOPPED_WITHIN_S = 40.0
USED_FOR_S = 1.0
USED_WITHIN_S = 10.0


async def used(stage: Stage) -> None:
    """Wait until USED_FOR_S after the next request in the network's log: every IP may then have been used."""
    from_s, network = time.monotonic(), stage.scene.directory / NETWORK_LOG
    from_byte = network.stat().st_size

    def used_again() -> bool:
        return any(event.began_s >= from_s for event in read_log(network, from_byte))

    await until(used_again, "an IP is in use again", stage.cooldown_s + USED_WITHIN_S)
    await trio.sleep(USED_FOR_S)


async def stopped(stage: Stage) -> None:
    """Stop the daemon by SIGTERM."""
    status, _ = await stage.scene.end(signal.SIGTERM, STOPPED_WITHIN_S)
    stage.expect(status == 0, "status", f"it ended with {status} after SIGTERM")
