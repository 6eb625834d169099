"""The settings of a running daemon: those that hold now, and what a reload (SIGHUP) changes about them.

LIVE names the keys that a reload takes over. All other keys are built into listeners, queues and connections: their new
values wait for a restart.
"""

from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from daemon import logs
from daemon.config import Settings
from daemon.config_sources import hide_secrets, load
from daemon.errors import BadSettings

LIVE = frozenset(
    {
        "click.deadline_s",
        "click.waiting_max",
        "journal.keep_s",
        "control.token",
        "control.hosts",
        "pool.lock_s",
        "pool.cooldown_s",
        "pool.failures_max",
        "pool.waiting_max",
        "pool.selection",
        "pool.batch_below_percent",
        "trace.timeout_s",
        "trace.backend",
        "trace.service_url",
        "trace.service_token",
        "trace.retries_max",
        "trace.hops_max",
        "trace.allow_private",
        "trace.body_bytes_max",
        "trace.refresh_max_s",
        "trace.user_agent",
        "trace.default_country",
        "provision.check_url",
        "provision.check_timeout_s",
        "provision.check_slow_s",
        "maintenance.interval_s",
        "maintenance.retention_days",
        "maintenance.delete_batch_rows",
        "log.level",
    }
)

log = structlog.get_logger("daemon")


class LiveSettings:
    """Every part of the daemon reads `current` at each use, and keeps no value of a LIVE key.

    A part that must act on a change, or derives from the settings what is too dear to derive at each use, subscribes.
    """

    def __init__(self, current: Settings, config_file: Path | None = None) -> None:
        self._current = current
        self._config_file = config_file
        self._refused: str | None = None
        self._subscribers: list[Callable[[Settings], None]] = []

    @property
    def current(self) -> Settings:
        return self._current

    @property
    def refused(self) -> str | None:
        """Why the last reload was refused; None if it was not."""
        return self._refused

    def subscribe(self, use: Callable[[Settings], None]) -> None:
        """Calls `use` with the current settings at once, and with the new ones after each reload."""
        use(self._current)
        self._subscribers.append(use)

    async def reload(self) -> None:
        """Reads all sources again. Settings that are not valid change nothing: see `refused`."""
        try:
            after = await trio.to_thread.run_sync(load, self._config_file)
        except BadSettings as e:
            self._refused = str(e)
            log.error("reload_refused", why=str(e), effect="the settings stay as they were")
            return
        self._refused = None
        hide_secrets(after)
        logs.configure(after.log.level)
        live, waiting = self.replace(after)
        log.info("reloaded", taken_over=live, wait_for_a_restart=waiting)

    def replace(self, after: Settings) -> tuple[list[str], list[str]]:
        """Takes over the LIVE keys of `after`. Returns the keys that have new values now, and those that wait."""
        self._current, live, waiting = taken_over(self._current, after)
        for use in self._subscribers:
            use(self._current)
        return live, waiting


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """`section.key` of each setting that differs; providers, state_dir and role by their first word."""
    changed = []
    for section in Settings.model_fields:
        old, new = getattr(before, section), getattr(after, section)
        if old == new:
            continue
        if section in ("providers", "state_dir", "role"):
            changed.append(section)
        else:
            fields = type(old).model_fields
            changed += [f"{section}.{key}" for key in fields if getattr(old, key) != getattr(new, key)]
    return changed


def taken_over(before: Settings, after: Settings) -> tuple[Settings, list[str], list[str]]:
    """The settings to run with from now on, the keys among them that are new, and those that wait for a restart."""
    changed = changed_keys(before, after)
    live = [key for key in changed if key in LIVE or key == "providers"]
    update: dict[str, object] = {}
    for section in {key.partition(".")[0] for key in live}:
        if section == "providers":
            update[section] = after.providers
            continue
        fields = [key.partition(".")[2] for key in live if key.startswith(f"{section}.")]
        values = {field: getattr(getattr(after, section), field) for field in fields}
        update[section] = getattr(before, section).model_copy(update=values)
    return before.model_copy(update=update), live, [key for key in changed if key not in live]
