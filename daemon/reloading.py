"""What a SIGHUP does: the settings are read anew, and taken over as far as a running daemon can."""

from pathlib import Path

import structlog
import trio

from daemon import logs
from daemon.errors import BadSettings
from daemon.reload import taken_over
from daemon.settings.model import Settings
from daemon.settings.sources import hide_secrets, load

log = structlog.get_logger("daemon")


async def reloaded(before: Settings, config_file: Path | None) -> tuple[Settings, str | None]:
    """The settings to run with from now on, and why the new ones are refused: then it is those of before."""
    try:
        after = await trio.to_thread.run_sync(load, config_file)
    except BadSettings as e:
        log.error("reload_refused", why=str(e), effect="the settings stay as they were")
        return before, str(e)
    hide_secrets(after)
    settings, live, waiting = taken_over(before, after)
    logs.configure(settings.log.level)
    log.info("reloaded", taken_over=live, wait_for_a_restart=waiting)
    return settings, None
