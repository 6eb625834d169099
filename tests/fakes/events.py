"""What the origin and the proxies of the fake network saw: one event a request, in memory and as lines of JSON.

Tests that prove something about the daemon read these events, not the daemon's own log.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from daemon.demo.history import Event, OriginEvent

KEPT_MAX = 200_000
"""Events kept in memory; the oldest are dropped first."""


class ProxyEvent(Event, frozen=True, tag="proxy"):
    """One request, or one CONNECT tunnel, as a proxy saw it. Bytes are those between the client and the proxy.

    `cid` comes from the response's Location or from the target; it is None inside a tunnel.
    """

    connection: int
    """Number of the client's connection, unique in one process."""
    target: str
    status: int
    """0 where no response came."""
    bytes_in: int
    bytes_out: int
    answered_s: float | None = None
    """Just before the first byte of the answer went to the client; None where no answer came."""


_decoder: "msgspec.json.Decoder[OriginEvent | ProxyEvent]" = msgspec.json.Decoder(OriginEvent | ProxyEvent)


def to_json(event: Event) -> bytes:
    """One line of JSON; its key `event` is `origin` or `proxy`."""
    return msgspec.json.encode(event)


def from_json(line: bytes) -> Event:
    """The event that `to_json` wrote. Raises msgspec.DecodeError on anything else."""
    return _decoder.decode(line)


def read_log(path: Path, from_byte: int = 0) -> Iterator[Event]:
    """The events of a log file, in the order of their ends. A last line that a kill cut short is left out.

    `from_byte`: the length of the file at an earlier time; events since then.
    """
    with path.open("rb") as lines:
        lines.seek(from_byte)
        for line in lines:
            if line.endswith(b"\n"):
                yield from_json(line)


class EventLog(AbstractContextManager["EventLog"]):
    """Keeps the newest events and, with a path, appends each event to that file at once: a kill loses none."""

    def __init__(self, path: Path | None = None, *, kept_max: int = KEPT_MAX) -> None:
        self.events: deque[Event] = deque(maxlen=kept_max)
        # One write in append mode per line: nothing waits in a buffer, and lines of two writers do not mix.
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def record(self, event: Event) -> None:
        self.events.append(event)
        if self._file is not None:
            os.write(self._file, to_json(event) + b"\n")

    def of_origin(self) -> list[OriginEvent]:
        return [event for event in self.events if isinstance(event, OriginEvent)]

    def of_proxies(self) -> list[ProxyEvent]:
        return [event for event in self.events if isinstance(event, ProxyEvent)]
