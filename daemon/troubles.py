"""The activities that PostgreSQL or the disk blocks now: for the log, status, /readyz and advice.

An outage blocks several activities at once and is one line in the log. A refused or blocked statement is one line for
each activity, repeated every LOG_EVERY_S.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from daemon.errors import (
    DatabaseBusy,
    DatabaseMigrating,
    DatabaseOccupied,
    DatabaseUnavailable,
    DiskUnavailable,
    FileUnusable,
    StatementRefused,
)
from daemon.logs import masked

LOG_EVERY_S = 60.0
OUTAGE, REFUSED, BUSY, OCCUPIED = "database_unavailable", "statement_refused", "statement_blocked", "node_waits"
DISK, MIGRATING, FILE = "disk_refuses", "database_migrating", "file_unusable"
OVER = {
    OUTAGE: "database_back",
    REFUSED: "statement_accepted",
    BUSY: "statement_not_blocked",
    OCCUPIED: "node_waits_no_longer",
    DISK: "disk_writable",
    MIGRATING: "migration_ended",
    FILE: "file_usable",
}
EVENTS: dict[type[DatabaseUnavailable], str] = {
    StatementRefused: REFUSED,
    DatabaseBusy: BUSY,
    DatabaseOccupied: OCCUPIED,
    DiskUnavailable: DISK,
    DatabaseMigrating: MIGRATING,
    FileUnusable: FILE,
}

log = structlog.get_logger("daemon.database")
LEVELS = {OCCUPIED: "warning", MIGRATING: "info"}  # else error


@dataclass(frozen=True, slots=True)
class TroubleStatus:
    """A blocked activity: the reason, what an operator does next, and since when (UTC)."""

    activity: str
    sentence: str
    remedy: str
    since: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """`activity` is blocked; `sentence`: why; `remedy`: what an operator does next. `since_s`: wall seconds."""

    activity: str
    sentence: str
    remedy: str
    since_s: float
    event: str

    def shown(self) -> TroubleStatus:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since_s))
        return TroubleStatus(self.activity, self.sentence, self.remedy, since)


class Troubles:
    """Call `note` when an activity is blocked, and `over` when it goes on."""

    def __init__(self) -> None:
        self._troubles: dict[str, Trouble] = {}
        self._logged_s: dict[str, float] = {}

    def __iter__(self) -> Iterator[Trouble]:
        return iter(list(self._troubles.values()))

    def lines(self) -> list[str]:
        """One line each, with secrets masked."""
        return [masked(f"{trouble.activity}: {trouble.sentence}. Next: {trouble.remedy}") for trouble in self]

    def note(self, activity: str, error: DatabaseUnavailable, *, effect: str, repeat_s: float = LOG_EVERY_S) -> None:
        """`effect`: what the daemon does meanwhile. The same trouble is logged again after `repeat_s`."""
        now_s, before = time.time(), self._troubles.get(activity)
        since_s = before.since_s if before else now_s
        self._troubles[activity] = Trouble(activity, str(error), error.remedy, since_s, _event_of(error))
        key = _key_of(self._troubles[activity])
        if now_s < self._logged_s.get(key, -repeat_s) + repeat_s:
            log.debug("trouble_goes_on", activity=activity, why=str(error))
            return
        self._logged_s[key] = now_s
        event = _event_of(error)
        write = getattr(log, LEVELS.get(event, "error"))
        write(event, activity=activity, why=str(error), remedy=error.remedy, effect=effect)

    def over(self, activity: str) -> None:
        """`activity` goes on. Does nothing if it was not blocked."""
        if (trouble := self._troubles.pop(activity, None)) is None:
            return
        if trouble.event == OUTAGE and any(other.event == OUTAGE for other in self):
            return
        self._logged_s.pop(_key_of(trouble), None)
        log.info(OVER[trouble.event], activity=activity, after_s=round(time.time() - trouble.since_s, 1))


def _event_of(error: DatabaseUnavailable) -> str:
    return next((event for kind, event in EVENTS.items() if isinstance(error, kind)), OUTAGE)


def _key_of(trouble: Trouble) -> str:
    """Troubles with the same key are logged as one."""
    if trouble.event == OUTAGE:
        return OUTAGE
    return f"{trouble.activity}: {trouble.sentence if trouble.event == REFUSED else trouble.event}"
