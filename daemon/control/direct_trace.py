"""Direct traces: a program asks for one trace and waits for its end. POST /functions/v1/process-trace-parallel.

The dispatcher treats the job as a click's: the same priority, deadline and row. No hit is recorded, because no visitor
is redirected.
"""

import uuid
from dataclasses import dataclass
from urllib.parse import quote

from daemon.control.listings import TRACES, read_one
from daemon.control.overview import Overview
from daemon.control.problems import ProblemRaised
from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Params
from daemon.offers.macros import template_of, tracking_url
from daemon.settings.model import Settings
from daemon.trace.dispatch import JobRequest
from daemon.trace.jobs import Finished, TraceTotals
from daemon.trace.leases import ANSWER_LATE_S
from daemon.web.query import Inbound, Param

END_MARGIN_S = 2.0  # what the last steps of a trace take beyond its own time


@dataclass(frozen=True, slots=True)
class DirectTraceRequest:
    """`offer`: its id or its name. The settings of an offer that the daemon serves apply to the trace."""

    request_id: uuid.UUID
    offer: str
    tracking_url: str
    country: str
    inbound: Params
    referrer: str | None


class DirectTraces:
    """`under_way`: the ids of the traces that a program waits for."""

    def __init__(self) -> None:
        self.under_way: set[uuid.UUID] = set()

    async def trace(
        self, asked: DirectTraceRequest, here: Overview, database: Database, settings: Settings
    ) -> Finished:
        """The end of the trace; `reason` is that of a click's fallback, `totals` is None where the trace had no IP.

        Raises BadInput for a URL that no offer may have, ProblemRaised (409) where the id has a trace already.
        """
        url = tracking_url(asked.tracking_url, allow_private=settings.trace.allow_private)
        if asked.request_id in self.under_way:
            raise _has_a_trace(asked.request_id)
        self.under_way.add(asked.request_id)  # before the database is asked: two requests may come at once
        try:
            if await _is_recorded(database, asked.request_id):
                raise _has_a_trace(asked.request_id)
            return await _traced(asked, url, here, settings)
        finally:
            self.under_way.remove(asked.request_id)


async def _traced(asked: DirectTraceRequest, url: str, here: Overview, settings: Settings) -> Finished:
    now, offer = here.now(), here.clicks.offers.known(asked.offer)
    request = JobRequest(
        request_id=asked.request_id,
        tracking_url=_expanded(url, asked),
        country=asked.country,
        asked=now,
        inbound=asked.inbound,
        offer=offer,
        offer_id=None if offer else _id_in(asked.offer),
        referrer=asked.referrer,
    )
    accepted = here.dispatcher.dispatch(request)
    if isinstance(accepted, str):
        return Finished(None, accepted)
    with accepted:
        ended = await accepted.finished(accepted.deadline_s + ANSWER_LATE_S)
        if ended is None and accepted.ip is not None:
            ended = await accepted.finished(accepted.deadline_s + settings.trace.timeout_s + END_MARGIN_S)
    if ended is not None:
        return ended
    if accepted.ip is None:
        return Finished(None, accepted.reason)
    ms = (here.now().tick_s - now.tick_s) * 1000
    return Finished(None, "trace_failed", TraceTotals(accepted.ip, ms, 0, 0, "the trace did not end in time"))


def _has_a_trace(request_id: uuid.UUID) -> ProblemRaised:
    return ProblemRaised(409, f"request_id {request_id} has a trace already: each one needs an id of its own")


async def _is_recorded(database: Database, request_id: uuid.UUID) -> bool:
    """While PostgreSQL is away nobody knows; the trace is done all the same."""
    try:
        return await database.work(read_one, TRACES, request_id) is not None
    except DatabaseUnavailable:
        return False


def _id_in(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _expanded(url: str, asked: DirectTraceRequest) -> str:
    """With the macros filled in, as for a click with these parameters."""
    template = template_of(url)
    if template is None:
        return url
    params = [
        Param(name, value, f"{quote(name, safe='')}={quote(value, safe='')}")
        for name, values in asked.inbound.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return template.expanded(Inbound(asked.offer, tuple(params)), asked.request_id)
