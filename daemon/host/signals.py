"""The signals of a running daemon: SIGHUP reloads the settings, SIGTERM and SIGINT stop it, a second one at once."""

import signal
from collections.abc import Awaitable, Callable

import structlog
import trio

from daemon.host import hangup

log = structlog.get_logger("daemon")


async def watch_signals(
    reload: Callable[[], Awaitable[None]],
    stop: Callable[[], None],
    stop_now: Callable[[], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until a second SIGTERM or SIGINT has called `stop_now`. A SIGHUP that came before it watched counts as well."""
    is_stopping = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        if hangup.taken():
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
