"""What the daemon says of itself, for who looks on: the latest notable lines of its log, and clicks and traces live.

It is fed by the log (logs.tapped), behind its masking. A line is told from any thread; those who look on come for what
is theirs several times a second, so that telling wakes nobody. Without them a click costs one look at an empty list.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import WARNING
from typing import Any

RECENT_MAX = 200
WATCHERS_MAX = 32
QUEUE_MAX = 400
LIVE = {"click": "click", "click_refused": "click", "trace": "trace"}
NOTABLE = frozenset(
    {
        "advice_over",
        "audit",
        "database_back",
        "database_held_again",
        "database_migrated",
        "embedded_database",
        "ips_adopted",
        "ips_removed",
        "maintenance",
        "offers_adopted",
        "ready",
        "reloaded",
        "signal",
        "socket_activated",
        "starting",
        "stopping",
    }
)


@dataclass(frozen=True, slots=True)
class Noted:
    """A line of the log. `id` grows by one with each; `facts` are what the line says beside."""

    id: int
    at: str
    level: str
    event: str
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "at": self.at, "level": self.level, "event": self.event, "facts": self.facts}


@dataclass(slots=True, eq=False)
class Watcher:
    """One who looks on. `waiting` are the messages to come; `skipped` clicks and traces came too fast for it.

    `dropped`: it did not even take the events; nothing is kept for it any longer.
    """

    waiting: deque[bytes] = field(default_factory=deque)
    skipped: int = 0
    dropped: bool = False

    def taken(self) -> bytes:
        """What waits, together."""
        pieces = []
        while self.waiting:
            pieces.append(self.waiting.popleft())
        return b"".join(pieces)


class Events:
    def __init__(self) -> None:
        self._recent: deque[Noted] = deque(maxlen=RECENT_MAX)
        self._watchers: list[Watcher] = []
        self._last_id = 0

    @property
    def full(self) -> bool:
        return len(self._watchers) >= WATCHERS_MAX

    def recent(self, after: int = 0) -> list[Noted]:
        """The oldest first; all of them where `after` is of an earlier run, whose numbers went further."""
        after = after if after <= self._last_id else 0
        return [noted for noted in tuple(self._recent) if noted.id > after]

    def wants(self, level: int, event: str) -> bool:
        if event in LIVE and level < WARNING:
            return bool(self._watchers)
        return level >= WARNING or event in NOTABLE

    def take(self, level: int, line: Mapping[str, Any]) -> None:
        """A line of the log, masked, with its `event`, `level` and `ts`."""
        event = str(line.get("event", ""))
        if not self.wants(level, event):
            return
        facts = {key: value for key, value in line.items() if key not in ("event", "level", "ts")}
        if (kind := LIVE.get(event)) is not None and level < WARNING:
            if kind == "click":
                facts.setdefault("outcome", "refused")
            message = sse(kind, {"at": line.get("ts"), **facts})
            for watcher in tuple(self._watchers):
                if len(watcher.waiting) < QUEUE_MAX // 2:  # the rest is kept for events
                    watcher.waiting.append(message)
                else:
                    watcher.skipped += 1
            return
        self._last_id += 1
        noted = Noted(self._last_id, str(line.get("ts", "")), str(line.get("level", "")), event, facts)
        self._recent.append(noted)
        for watcher in tuple(self._watchers):
            if len(watcher.waiting) < QUEUE_MAX:
                watcher.waiting.append(sse("event", noted.as_dict(), noted.id))
            else:
                watcher.dropped = True

    @contextmanager
    def watched(self, after: int = 0) -> Iterator[Watcher]:
        """From now on, and the events that came after the one with this id."""
        watcher = Watcher()
        watcher.waiting.extend(sse("event", noted.as_dict(), noted.id) for noted in self.recent(after))
        self._watchers.append(watcher)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)


def sse(kind: str, body: object, number: int | None = None) -> bytes:
    """One message of an event stream (HTML, 9.2.6). JSON has no line ends, so its data is one line."""
    head = f"event: {kind}\n" if number is None else f"event: {kind}\nid: {number}\n"
    return f"{head}data: {json.dumps(body, default=str, separators=(',', ':'))}\n\n".encode()
