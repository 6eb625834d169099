"""One trace now, for a program that waits for it as a visitor does: a click's priority, its patience, its pools.

Its row, its lease and its lines are those of a click's trace; there is no hit, for nobody was sent anywhere.
"""

import uuid
from dataclasses import dataclass
from urllib.parse import quote

import trio

from daemon.click.answer import tracking_url
from daemon.click.macros import template_of
from daemon.click.offers import Offer
from daemon.click.parse import Inbound, Param
from daemon.config import HONEST_USER_AGENT, Settings
from daemon.control.overview import Overview
from daemon.control.problems import ProblemRaised
from daemon.database.listings import TRACES, read_one
from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Params
from daemon.trace.jobs import Finished, News, Spent, TraceJob, pending_of
from daemon.trace.steps import Identity

NEWS_MAX = 8
END_MARGIN_S = 2.0  # what the last steps of a trace take beyond its own time
NO_IP = Finished(None, "no_ip")


@dataclass(frozen=True, slots=True)
class Asked:
    """`offer`: its id or its name; its settings hold for the trace where the daemon serves it."""

    request_id: uuid.UUID
    offer: str
    tracking_url: str
    country: str
    inbound: Params
    referrer: str | None


class ParallelTraces:
    """`under_way`: the ids of those that somebody waits for."""

    def __init__(self) -> None:
        self.under_way: set[uuid.UUID] = set()

    async def trace(self, asked: Asked, here: Overview, database: Database, settings: Settings) -> Finished:
        """How it ended; `reason` is no_ip where none was to be had in time, or no worker.

        Raises BadInput for a URL that no offer may have, ProblemRaised (409) where the id has a trace already.
        """
        url = tracking_url(asked.tracking_url, allow_private=settings.trace.allow_private)
        if asked.request_id in self.under_way or await _is_recorded(database, asked.request_id):
            raise ProblemRaised(
                409, f"request_id {asked.request_id} has a trace already: each one needs an id of its own"
            )
        self.under_way.add(asked.request_id)
        try:
            return await _traced(asked, url, here, settings)
        finally:
            self.under_way.remove(asked.request_id)


async def _traced(asked: Asked, url: str, here: Overview, settings: Settings) -> Finished:
    now, offer = here.now(), here.clicks.offers.known(asked.offer)
    post = here.directory.find(asked.country) or here.directory.find(settings.trace.default_country)
    patience_s = (offer and offer.deadline_s) or settings.click.deadline_s
    if post is None or post.would_refuse(now.tick_s + patience_s, now.tick_s):
        return NO_IP
    send, receive = trio.open_memory_channel[News](NEWS_MAX)
    with receive:
        job = TraceJob(
            request_id=asked.request_id,
            offer_id=_offer_id(asked.offer, offer),
            offer_name=offer.name if offer else None,
            tracking_url=_expanded(url, asked),
            country=post.country,
            inbound=asked.inbound,
            identity=_identity(asked, settings),
            asked_s=now.tick_s,
            deadline_s=now.tick_s + patience_s,
            listener=send,
            landing_schemes=offer.landing_schemes if offer else frozenset(),
            stop_at=offer.stop_at if offer else frozenset(),
            backend=offer.trace_backend if offer else None,
        )
        try:
            here.jobs.send_nowait(job)
        except (trio.WouldBlock, trio.ClosedResourceError):
            return NO_IP
        here.writer.record(pending_of(job, now.wall_s, now.wall_s + patience_s + settings.trace.timeout_s))
        ip = ""
        with trio.move_on_at(job.deadline_s + settings.trace.timeout_s + END_MARGIN_S):
            async for news in receive:
                if isinstance(news, Finished):
                    return news
                ip = getattr(news, "ip", "")
    ms = (here.now().tick_s - now.tick_s) * 1000
    return Finished(None, "trace_failed", Spent(ip, ms, 0, 0, "the trace did not end in time")) if ip else NO_IP


async def _is_recorded(database: Database, request_id: uuid.UUID) -> bool:
    """While PostgreSQL is away nobody knows; the trace is done all the same."""
    try:
        return await database.work(read_one, TRACES, request_id) is not None
    except DatabaseUnavailable:
        return False


def _offer_id(given: str, offer: Offer | None) -> uuid.UUID | None:
    """Of an offer that is not served its id, if that is what was given."""
    if offer is not None:
        return offer.id
    try:
        return uuid.UUID(given)
    except ValueError:
        return None


def _expanded(url: str, asked: Asked) -> str:
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


def _identity(asked: Asked, settings: Settings) -> Identity:
    configured = settings.trace.user_agent
    return Identity(HONEST_USER_AGENT if configured == "visitor" else configured, None, asked.referrer)
