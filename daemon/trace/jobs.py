"""The job of a trace worker, and the updates that the job's listener receives. Times are ticks, in seconds. Pure."""

from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from daemon.journal.entries import Params
from daemon.offers.values import OwnTracer
from daemon.pool.messages import Reply
from daemon.trace.walk.steps import Identity

BACKGROUND_PRIORITY, BATCH_PRIORITY = 1, 2  # clicks that wait have 0
LAST_PRIORITY = 9
CANCELLED, OUT_OF_TIME = "cancelled", "out_of_time"  # reasons of batch traces that end early


class WaitingForIp(msgspec.Struct, frozen=True):
    """A worker has the job and has asked for an IP."""


class Started(msgspec.Struct, frozen=True):
    """The first attempt begins, through `ip`."""

    ip: str


class TraceTotals(msgspec.Struct, frozen=True):
    """Time and bytes of all attempts of a trace; `ip` and `error` are those of the last attempt."""

    ip: str
    ms: float
    bytes_received: int
    bytes_sent: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The trace has ended. `final_url` is None unless it landed; then `reason` is no_ip or trace_failed.

    `totals` is None without an IP. Comparisons ignore it.
    """

    final_url: str | None
    reason: str | None
    totals: TraceTotals | None = field(default=None, compare=False)


TraceUpdate = WaitingForIp | Started | Finished


# Raises trio.BrokenResourceError for Finished if the visitor has left, and may raise it before.
Listener = Reply[TraceUpdate]


class TraceJob(msgspec.Struct, frozen=True):
    """One trace. It waits for a worker and an IP until `deadline_s`; trace.timeout_s bounds each attempt.

    `priority` is 0 for a click. Above 0 nobody waits for the trace; without an IP, or after a stop, its row stays
    pending. The first jump to a host in `stop_at` ends the trace. `backend`: local or service, None for the setting
    trace.backend. `tracer`: http, auto or browser, None for the setting trace.tracer.
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
    tracer: OwnTracer | None = None
    priority: int = 0
