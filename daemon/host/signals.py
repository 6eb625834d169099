"""Signals: SIGHUP reloads the settings, SIGTERM and SIGINT stop the daemon, a second one of these stops it at once.

`tracepool serve` calls `record_hangup` before it imports anything slow, because until then a SIGHUP ends the process.
Therefore this module imports only the standard library when it is loaded.
"""

import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

_hangup_received = False


def record_hangup() -> None:
    """Record each SIGHUP from now on, except while trio receives signals."""
    signal.signal(signal.SIGHUP, _record)


def ignore_hangup() -> None:
    """Ignore SIGHUP from now on: the process is about to end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _record(number: int, frame: object) -> None:
    global _hangup_received
    _hangup_received = True


async def watch_signals(
    announce: Callable[[], None],
    reload: Callable[[], Awaitable[None]],
    stop: Callable[[], None],
    stop_now: Callable[[], None],
    *,
    task_status: "trio.TaskStatus[None]",
) -> None:
    """Handle signals until a second SIGTERM or SIGINT has called `stop_now`. A SIGHUP recorded earlier counts too.

    `announce` logs that the process starts. It is called when signals are handled: a SIGTERM before ends the process.
    """
    import structlog
    import trio

    log = structlog.get_logger("daemon")
    is_stopping = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        announce()
        task_status.started()
        if _hangup_received:
            log.info("signal", signal="SIGHUP", received="while the process started")
            await reload()
        async for number in signals:
            log.info("signal", signal=signal.Signals(number).name)
            if number == signal.SIGHUP:
                await reload()
            elif is_stopping:
                stop_now()
                return
            else:
                is_stopping = True
                stop()
