"""The dispatcher accepts trace jobs: those of clicks, of direct traces (control face) and of the batch lane.

The rules that the three share are here: which country's pool serves a job, the User-Agent of a trace, how long a job
waits, how many requesters may wait, and the row of a new trace. An expected refusal is a value, not an exception.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import msgspec
import trio

from daemon.clock import Moment
from daemon.countries import canonical
from daemon.journal.entries import Params, Recorder, TracePending, TraceQueued
from daemon.offers.model import Offer
from daemon.offers.values import OwnTracer
from daemon.oneshot import OneShot
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.settings.live import LiveSettings
from daemon.settings.model import HONEST_USER_AGENT, Privacy, Settings
from daemon.trace.jobs import BACKGROUND_PRIORITY, Finished, Listener, Started, TraceJob, TraceUpdate
from daemon.trace.walk.steps import Identity
from daemon.web.query import Param, as_mapping

VISITOR = "visitor"  # a value of trace.user_agent and of an offer's user_agent: traces send the visitor's User-Agent

FallbackReason = Literal["overload", "no_pool", "no_ip", "deadline"]


def own_user_agent(settings: Settings) -> str:
    """The User-Agent of a trace that does not send a visitor's."""
    configured = settings.trace.user_agent
    return HONEST_USER_AGENT if configured == VISITOR else configured


class JobRequest(msgspec.Struct, frozen=True):
    """A request for a trace, made at `asked`. The settings of `offer` apply to it.

    `inbound`: the parameters as received, or as the row has them. `offer_id`: the id of an offer that is not served.
    `visitor`: the identity of the visitor's browser, with an empty User-Agent if the browser sent none. The trace sends
    it if the offer or trace.user_agent says "visitor". Otherwise the trace sends `referrer`. `tracer`: instead of the
    offer's.
    """

    request_id: UUID
    tracking_url: str
    country: str
    asked: Moment
    inbound: Params | tuple[Param, ...] = ()
    offer: Offer | None = None
    offer_id: UUID | None = None
    visitor: Identity | None = None
    referrer: str | None = None
    tracer: OwnTracer | None = None


class TraceHandle:
    """An accepted job. Its requester waits for the end of the trace inside `with`, and counts as waiting there.

    `ip`: the address of the trace's first IP. `reason`: why the trace has not ended yet. `deadline_s`: the tick until
    which the job waits for an IP. `stays_open`: after `with`, another `with` may wait for the end.
    """

    __slots__ = ("_dispatcher", "_end", "deadline_s", "ip", "reason", "stays_open")

    def __init__(self, dispatcher: "Dispatcher", deadline_s: float) -> None:
        self._dispatcher = dispatcher
        self._end: OneShot[Finished] = OneShot()
        self.deadline_s = deadline_s
        self.ip: str | None = None
        self.reason: FallbackReason = "overload"  # no worker has the job yet
        self.stays_open = False

    def __enter__(self) -> None:
        self._dispatcher.waiting += 1

    def __exit__(self, *_: object) -> None:
        self._dispatcher.waiting -= 1
        if not self.stays_open:
            self._end.close()

    def send_nowait(self, update: TraceUpdate, /) -> None:
        """Called by the worker, see jobs.Listener. Only the end of the trace wakes the requester."""
        if isinstance(update, Finished):
            self._end.send_nowait(update)
        elif isinstance(update, Started):
            self.ip, self.reason = update.ip, "deadline"
        else:
            self.reason = "no_ip"

    async def finished(self, until_s: float) -> Finished | None:
        """The end of the trace; None if the trace has not ended by the tick `until_s`."""
        with trio.move_on_at(until_s):
            return await self._end.receive()
        try:
            return self._end.receive_nowait()
        except trio.WouldBlock:
            return None


@dataclass(eq=False, repr=False)
class Dispatcher:
    """At most click.waiting_max requesters wait for the end of a trace (`waiting`). Batch traces have no requester."""

    _directory: PoolDirectory
    _journal: Recorder
    _jobs: "trio.MemorySendChannel[TraceJob]"
    _live: LiveSettings
    _now: Callable[[], Moment]
    _node_id: UUID | None = None
    waiting: int = field(default=0, init=False)

    @property
    def queued(self) -> int:
        """Jobs that no worker has taken yet."""
        return self._jobs.statistics().current_buffer_used

    def pool_of(self, country: str) -> PoolHandle | None:
        """The pool that serves a country: its own, or the pool of trace.default_country if that is set."""
        pool = self._directory.find(country)
        if pool is None and (default := self._live.current.trace.default_country.strip()):
            pool = self._directory.find(default)
        return pool

    def dispatch(
        self, request: JobRequest, answer_by: Callable[[float, float], float] = lambda now_s, deadline_s: deadline_s
    ) -> TraceHandle | FallbackReason:
        """Accepts a job with a click's priority and records its row, or returns the reason of the refusal.

        `answer_by(now_s, deadline_s)`: the tick by which the requester must be answered, where that is before its
        deadline. It is called only for a job that a pool may serve.
        """
        settings = self._live.current
        if self.waiting >= settings.click.waiting_max:
            return "overload"
        pool = self.pool_of(request.country)
        if pool is None:
            return "no_pool"
        now_s, asked = self._now().tick_s, request.asked
        patience_s = (request.offer and request.offer.deadline_s) or settings.click.deadline_s
        deadline_s = answer_by(now_s, asked.tick_s + patience_s)
        if deadline_s <= now_s:
            return "deadline"
        if pool.turns_away(deadline_s, now_s):
            return "no_ip"  # at once: all workers may be waiting for IPs, so that none takes the job for a while
        handle = TraceHandle(self, deadline_s)
        job = _job_of(request, pool.country, handle, deadline_s, settings)
        if not self._put(job):
            return "overload"
        timeout_at = asked.wall_s + patience_s + settings.trace.timeout_s
        row = (job.request_id, job.offer_id, job.tracking_url, job.country, job.inbound)
        pending = TracePending(*row, started_at=asked.wall_s, timeout_at=timeout_at, node_id=self._node_id)
        self._journal.record(pending)
        return handle

    def dispatch_batch(self, request: JobRequest, pool: PoolHandle, listener: Listener, priority: int) -> bool:
        """Accepts a job of the batch lane, whose row exists already. False if the queue of jobs is full.

        A background click's trace may be tried through other IPs for trace.timeout_s, because nobody waits for it.
        """
        settings = self._live.current
        is_click = priority == BACKGROUND_PRIORITY
        deadline_s = request.asked.tick_s + (settings.trace.timeout_s if is_click else settings.click.deadline_s)
        return self._put(_job_of(request, pool.country, listener, deadline_s, settings, priority))

    def _put(self, job: TraceJob) -> bool:
        try:
            self._jobs.send_nowait(job)
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            return False  # the queue is full, or the workers have stopped
        return True


def queued_trace(request: JobRequest, offer: Offer, settings: Settings) -> TraceQueued:
    """The trace of a background click of `offer`, for the batch lane."""
    visitor = request.visitor if _sends_visitor(offer, settings) else None
    return TraceQueued(
        request_id=request.request_id,
        offer_id=offer.id,
        tracking_url=request.tracking_url,
        target_country=canonical(request.country),
        inbound_params=_mapping(request.inbound),
        priority=BACKGROUND_PRIORITY,
        queued_at=request.asked.wall_s,
        timeout_at=request.asked.wall_s + settings.trace.background_wait_s,
        identity=None if visitor is None else _stored(visitor, settings.privacy),
    )


def _job_of(
    request: JobRequest, country: str, listener: Listener, deadline_s: float, settings: Settings, priority: int = 0
) -> TraceJob:
    offer = request.offer
    return TraceJob(
        request_id=request.request_id,
        offer_id=offer.id if offer else request.offer_id,
        offer_name=offer.name if offer else None,
        tracking_url=request.tracking_url,
        country=country,
        inbound=_mapping(request.inbound),
        identity=_identity_of(request, settings),
        asked_s=request.asked.tick_s,
        deadline_s=deadline_s,
        listener=listener,
        landing_schemes=offer.landing_schemes if offer else frozenset(),
        stop_at=offer.stop_at if offer else frozenset(),
        backend=offer.trace_backend if offer else None,
        tracer=request.tracer or (offer.tracer if offer else None),
        priority=priority,
    )


def _identity_of(request: JobRequest, settings: Settings) -> Identity:
    own, visitor = own_user_agent(settings), request.visitor
    if visitor is not None and _sends_visitor(request.offer, settings):
        return Identity(visitor.user_agent or own, visitor.accept_language, visitor.referrer)
    return Identity(own, None, request.referrer)


def _stored(visitor: Identity, privacy: Privacy) -> dict[str, str | None]:
    """What a queued trace keeps of the visitor. A truncated User-Agent is none that could be sent."""
    with_agent, with_referrer = privacy.user_agent == "full", privacy.referrer == "full"
    return {
        "user_agent": visitor.user_agent if with_agent else "",
        "accept_language": visitor.accept_language if with_agent else None,
        "referrer": visitor.referrer if with_referrer else None,
    }


def _sends_visitor(offer: Offer | None, settings: Settings) -> bool:
    return VISITOR in (offer.user_agent if offer else None, settings.trace.user_agent)


def _mapping(inbound: Params | tuple[Param, ...]) -> Params:
    return as_mapping(inbound) if isinstance(inbound, tuple) else inbound
