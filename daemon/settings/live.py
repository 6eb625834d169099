"""The current settings of a running daemon, which a reload (SIGHUP) changes.

A reload changes only the keys that are `Live` in the model. All other keys are built into listeners, queues and
connections: their new values need a restart.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import trio

from daemon import logs
from daemon.errors import BadSettings
from daemon.settings.model import LIVE, Section, Settings
from daemon.settings.sources import hide_secrets, load

log = structlog.get_logger("daemon")


class LiveSettings:
    """Every component reads `current` at each use and stores no value of a live key.

    A component subscribes if it must act on a change, or derives values that are too expensive to derive at each use.
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
        """The error of the last reload, or None if it succeeded."""
        return self._refused

    def subscribe(self, use: Callable[[Settings], None]) -> None:
        """Call `use` with the current settings at once, and with the new settings after each reload."""
        use(self._current)
        self._subscribers.append(use)

    async def reload(self) -> None:
        """Read all sources again. Invalid settings change nothing and set `refused`."""
        try:
            after = await trio.to_thread.run_sync(load, self._config_file)
        except BadSettings as e:
            self._refused = str(e)
            log.error("reload_refused", why=str(e), effect="the settings stay unchanged")
            return
        self._refused = None
        hide_secrets(after)
        logs.configure(after.log.level)
        live, waiting = self.replace(after)
        log.info("reloaded", taken_over=live, wait_for_a_restart=waiting)

    def replace(self, after: Settings) -> tuple[list[str], list[str]]:
        """Use the live keys of `after`. Returns the keys that have changed now, and those that need a restart."""
        self._current, live, waiting = merged(self._current, after)
        for use in self._subscribers:
            use(self._current)
        return live, waiting


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """`section.key` of each setting that differs; only `providers`, `state_dir` and `role` without a section."""
    changed = []
    for section in Settings.model_fields:
        old, new = getattr(before, section), getattr(after, section)
        if isinstance(old, Section):
            keys = type(old).model_fields
            changed += [f"{section}.{key}" for key in keys if getattr(old, key) != getattr(new, key)]
        elif old != new:
            changed.append(section)
    return changed


def merged(before: Settings, after: Settings) -> tuple[Settings, list[str], list[str]]:
    """The settings to use from now on, the live keys that differ, and the keys that need a restart."""
    changed = changed_keys(before, after)
    live = [key for key in changed if _is_live(before, key)]
    update: dict[str, Any] = {}
    for section, _, key in (name.partition(".") for name in live):
        new, kept = getattr(after, section), update.get(section, getattr(before, section))
        update[section] = kept.model_copy(update={key: getattr(new, key)}) if key else new
    return before.model_copy(update=update), live, [key for key in changed if key not in live]


def _is_live(settings: Settings, name: str) -> bool:
    section, _, key = name.partition(".")
    holder, key = (getattr(settings, section), key) if key else (settings, section)
    return LIVE in type(holder).model_fields[key].metadata
