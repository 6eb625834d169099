"""What a click asks of a trace worker, and what it hears while it waits. Times are ticks, in seconds. Pure."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import msgspec

from daemon.journal.entries import Params
from daemon.trace.walk.steps import Identity


class WaitingForIp(msgspec.Struct, frozen=True):
    """A worker has the job and asked for an IP."""


class Started(msgspec.Struct, frozen=True):
    """The first hop is on its way, through `ip`."""

    ip: str


class Spent(msgspec.Struct, frozen=True):
    """What a trace took, with all its attempts: `error` says how the last one failed, and `ip` which one it had."""

    ip: str
    ms: float
    bytes_received: int
    bytes_sent: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The trace is over. `final_url` is None unless it landed; then `reason` says why, no_ip or trace_failed.

    Two that end the same are equal, whatever was `spent`; None without an IP.
    """

    final_url: str | None
    reason: str | None
    spent: Spent | None = field(default=None, compare=False)


News = WaitingForIp | Started | Finished


class Listener(Protocol):
    """It raises trio.BrokenResourceError for the end of a trace whose visitor has left; else it may."""

    def send_nowait(self, value: News, /) -> None: ...


class TraceJob(msgspec.Struct, frozen=True):
    """One trace. It waits for a worker and an IP until `deadline_s`; what follows is bounded by trace.timeout_s.

    `priority` 0 is a click's. Above, nobody waits: without an IP, or where the daemon stops, its row stays as it is.
    `stop_at`: hosts whose first Location ends it. `backend`: local or service, None for the setting trace.backend.
    """

    request_id: UUID
    offer_id: UUID | None
    offer_name: str | None
    tracking_url: str
    country: str
    inbound: Params
    identity: Identity
    asked_s: float
    deadline_s: float
    listener: Listener
    landing_schemes: frozenset[str] = frozenset()
    stop_at: frozenset[str] = frozenset()
    backend: str | None = None
    priority: int = 0
