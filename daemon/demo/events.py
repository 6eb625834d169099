"""What the demo's origin and proxies saw, as records: one for each request, in memory and as JSON lines.

Only facts of the wire stand here. Whoever wants to prove something about the daemon reads these, not the daemon's word.
`began_s` and `ended_s` are readings of CLOCK_MONOTONIC, which all processes of one boot share; `wall_s` is for people.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

KEPT_MAX = 200_000
"""Events that stay in memory; older ones leave first."""

TARGET_CHARS_MAX = 2_048
"""A target is recorded up to this length."""


class OriginEvent(msgspec.Struct, frozen=True, tag_field="event", tag="origin"):
    """One request as the origin saw it. `hop` counts from 0 up to `hops`, the landing; both None off a chain."""

    wall_s: float
    began_s: float
    ended_s: float
    client: str
    cid: int | None
    hop: int | None
    hops: int | None
    path: str
    status: int
    """0 where the client left before its answer."""
    bytes_out: int


class ProxyEvent(msgspec.Struct, frozen=True, tag_field="event", tag="proxy"):
    """One request, or one CONNECT tunnel, as a proxy saw it. Bytes are those between the client and the proxy."""

    wall_s: float
    began_s: float
    ended_s: float
    address: str
    connection: int
    """Number of the client's connection, unique in one process."""
    target: str
    cid: int | None
    """The chain's click id, from the answer's Location or the target; None inside tunnels and where none was minted."""
    status: int
    """0 where no answer came."""
    bytes_in: int
    bytes_out: int


Event = OriginEvent | ProxyEvent

_read: "msgspec.json.Decoder[Event]" = msgspec.json.Decoder(OriginEvent | ProxyEvent)


def to_json(event: Event) -> bytes:
    """One line of JSON, its first key `event` being `origin` or `proxy`."""
    return msgspec.json.encode(event)


def from_json(line: bytes) -> Event:
    """The event that `to_json` wrote. Raises msgspec.DecodeError on anything else."""
    return _read.decode(line)


def read_log(path: Path) -> Iterator[Event]:
    """The events of a log file in the order of their ends; a last line cut short by a kill is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield from_json(line)


class EventLog(AbstractContextManager["EventLog"]):
    """Keeps the newest events and, given a path, appends each as a line at once: a kill loses none of them."""

    def __init__(self, path: Path | None = None, *, kept_max: int = KEPT_MAX) -> None:
        self.events: deque[Event] = deque(maxlen=kept_max)
        # One write to a descriptor in append mode per line: nothing waits in a buffer, lines of two writers do not mix.
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
