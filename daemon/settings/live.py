"""The current settings of a running daemon, which a reload (SIGHUP) changes.

A reload changes only the keys that are `Live` in the model. All other keys are built into listeners, queues and
connections: their new values need a restart.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
import trio
from pydantic import BaseModel

from daemon import logs
from daemon.errors import BadSettings
from daemon.settings.model import LIVE, Section, Settings
from daemon.settings.sources import hide_secrets, load

Model = TypeVar("Model", bound=BaseModel)

log = structlog.get_logger("daemon")


class LiveSettings:
    """Every component reads `current` at each use and stores no value of a live key.

    A component subscribes if it must act on a change, or derives values that are too expensive to derive at each use.
    """

    def __init__(self, current: Settings, config_file: Path | None = None) -> None:
        self._current = current
        self._config_file = config_file
        self.refused: str | None = None  # the error of the last reload
        self._subscribers: list[Callable[[Settings], None]] = []

    @property
    def current(self) -> Settings:
        return self._current

    def subscribe(self, use: Callable[[Settings], None]) -> None:
        """Call `use` with the current settings at once, and with the new settings after each reload."""
        use(self._current)
        self._subscribers.append(use)

    async def reload(self) -> None:
        """Read all sources again. Invalid settings change nothing and set `refused`."""
        try:
            after = await trio.to_thread.run_sync(load, self._config_file)
        except BadSettings as e:
            self.refused = str(e)
            log.error("reload_refused", why=str(e), effect="the settings stay unchanged")
            return
        self.refused = None
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


def merged(before: Model, after: Model, prefix: str = "") -> tuple[Model, list[str], list[str]]:
    """The settings to use from now on, the live keys that differ, and the keys that need a restart.

    A key is `section.key`; `providers`, `state_dir` and `role` have no section.
    """
    update: dict[str, Any] = {}
    live: list[str] = []
    waiting: list[str] = []
    for key, field in type(before).model_fields.items():
        old, new = getattr(before, key), getattr(after, key)
        if old == new:
            continue
        if isinstance(old, Section):
            update[key], live_below, waiting_below = merged(old, new, f"{key}.")
            live += live_below
            waiting += waiting_below
        elif LIVE in field.metadata:
            update[key] = new
            live.append(prefix + key)
        else:
            waiting.append(prefix + key)
    return before.model_copy(update=update), live, waiting
