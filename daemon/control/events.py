"""The event feed of GET /api/events: notable log lines, the latest of which are kept, and clicks and traces live.

The log delivers its lines here after masking (logs.tapped), from any thread. Each watcher polls its queue several times
a second, so that a line wakes no task. Without watchers a click costs one check of an empty list.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from logging import WARNING
from typing import Any

RECENT_MAX = 200
REFUSED_MAX = 500
WATCHERS_MAX = 32
QUEUE_MAX = 400
REFUSED = "click_refused"
LIVE = {"click": "click", REFUSED: "click", "trace": "trace"}
OF_THE_PROCESS = {"starting", "socket_activated", "ready", "reloaded", "signal", "stopping"}
OF_THE_DATABASE = {"embedded_database", "database_migrated", "database_back", "database_held_again"}
OF_OPERATORS = {"audit", "advice_over", "ips_adopted", "ips_removed", "maintenance", "offers_adopted"}
NOTABLE = OF_THE_PROCESS | OF_THE_DATABASE | OF_OPERATORS  # and each warning and error


@dataclass(frozen=True, slots=True)
class Noted:
    """A notable log line. `id` grows by one with each line; `facts` are its further fields."""

    id: int
    at: str
    level: str
    event: str
    facts: Mapping[str, Any]

    def message(self) -> bytes:
        return sse("event", asdict(self), self.id)


@dataclass(slots=True, eq=False)
class Watcher:
    """A client of the feed. `waiting`: its queue of messages; `skipped`: clicks and traces that found the queue full.

    `dropped`: an event found the queue full; the stream ends.
    """

    waiting: deque[bytes] = field(default_factory=deque)
    skipped: int = 0
    dropped: bool = False

    def taken(self) -> bytes:
        """Empties the queue, and returns its messages as one piece."""
        pieces = []
        while self.waiting:
            pieces.append(self.waiting.popleft())
        return b"".join(pieces)


class Events:
    def __init__(self) -> None:
        self._recent: deque[Noted] = deque(maxlen=RECENT_MAX)
        self._refused: deque[Mapping[str, Any]] = deque(maxlen=REFUSED_MAX)
        self._watchers: list[Watcher] = []
        self._last_id = 0

    @property
    def full(self) -> bool:
        return len(self._watchers) >= WATCHERS_MAX

    def recent(self, after: int = 0) -> list[Noted]:
        """The kept lines with an id above `after`, the oldest first; all lines if `after` is of an earlier run."""
        after = after if after <= self._last_id else 0
        return [noted for noted in tuple(self._recent) if noted.id > after]

    def refused(self) -> list[Mapping[str, Any]]:
        """The log lines of the last refused clicks, the newest first."""
        return list(reversed(tuple(self._refused)))

    def wants(self, level: int, event: str) -> bool:
        if event in LIVE and level < WARNING:
            return event == REFUSED or bool(self._watchers)
        return level >= WARNING or event in NOTABLE

    def take(self, level: int, line: Mapping[str, Any]) -> None:
        """Takes a masked log line with its `event`, `level` and `ts`."""
        event = str(line.get("event", ""))
        if not self.wants(level, event):
            return
        if event == REFUSED:
            self._refused.append(dict(line))
        facts = {key: value for key, value in line.items() if key not in ("event", "level", "ts")}
        if (kind := LIVE.get(event)) is not None and level < WARNING:
            if kind == "click":
                facts.setdefault("outcome", "refused")
            message = sse(kind, {"at": line.get("ts"), **facts})
            for watcher in tuple(self._watchers):
                if len(watcher.waiting) < QUEUE_MAX // 2:  # the other half is kept for events
                    watcher.waiting.append(message)
                else:
                    watcher.skipped += 1
            return
        self._last_id += 1
        noted = Noted(self._last_id, str(line.get("ts", "")), str(line.get("level", "")), event, facts)
        self._recent.append(noted)
        for watcher in tuple(self._watchers):
            if len(watcher.waiting) < QUEUE_MAX:
                watcher.waiting.append(noted.message())
            else:
                watcher.dropped = True

    @contextmanager
    def watched(self, after: int = 0) -> Iterator[Watcher]:
        """A watcher of all lines from now on, and of the kept ones with an id above `after`."""
        watcher = Watcher()
        watcher.waiting.extend(noted.message() for noted in self.recent(after))
        self._watchers.append(watcher)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)


def sse(kind: str, body: object, number: int | None = None) -> bytes:
    """One message of an event stream (HTML, 9.2.6). JSON has no line ends, so the data is one line."""
    head = f"event: {kind}\n" if number is None else f"event: {kind}\nid: {number}\n"
    return f"{head}data: {json.dumps(body, default=str, separators=(',', ':'))}\n\n".encode()
