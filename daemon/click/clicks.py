"""What a click becomes: an offer, a trace, and in any case an answer by its deadline. HTTP is routes.py's business."""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog
import trio

from daemon.click.answer import fallback_location, safe_location, with_params
from daemon.click.offers import Offer, Offers
from daemon.click.parse import Inbound, Refused, as_mapping, parse_click
from daemon.click.tally import Tally
from daemon.click.turns import Turns
from daemon.click.visitor import Visitor
from daemon.config import HONEST_USER_AGENT, Settings
from daemon.errors import BadInput
from daemon.journal.entries import Hit
from daemon.moment import Moment
from daemon.oneshot import OneShot
from daemon.pool.actor import Journal
from daemon.pool.directory import PoolDirectory
from daemon.trace.jobs import Finished, News, Started, TraceJob, pending_of
from daemon.trace.steps import Identity

HIT_DELAY_MAX_S = 0.05  # a redirect is held back for its journal entry for this long at most
ANSWER_BY_S = HIT_DELAY_MAX_S  # and is on its way this long before the deadline, so that it is never late
NAME_SHOWN_MAX = 100

log = structlog.get_logger("daemon.click")


class Answer(msgspec.Struct, frozen=True):
    """`location` for a 302; else `error`, for a JSON body."""

    status: int
    request_id: uuid.UUID
    location: str | None = None
    error: str | None = None


@dataclass(slots=True)
class _Click:
    request_id: uuid.UUID
    offer: Offer
    inbound: Inbound
    visitor: Visitor
    received: Moment
    tracking_url: str  # the one of its offer's that it got, macros filled in
    ip: str | None = None  # that its trace has
    hit_is_late: bool = False


class _Ear:
    """What a click hears of its trace. Only the end wakes it; `reason` is why it has no landing page until then."""

    __slots__ = ("_click", "_end", "reason")

    def __init__(self, click: _Click, end: OneShot[Finished]) -> None:
        self._click = click
        self._end = end
        self.reason = "overload"

    def send_nowait(self, news: News, /) -> None:
        if isinstance(news, Finished):
            self._end.send_nowait(news)
            return
        if isinstance(news, Started):
            self._click.ip = news.ip
        self.reason = "deadline" if isinstance(news, Started) else "no_ip"


class Clicks:
    """`waiting` clicks have no answer yet; `late_hits` of the `answered` ones were not durable before.

    Without a directory and jobs the daemon is still starting: offers that an earlier run knew fall back at once.
    """

    def __init__(
        self,
        settings: Settings,
        offers: Offers,
        directory: PoolDirectory | None,
        journal: Journal,
        jobs: "trio.MemorySendChannel[TraceJob] | None",
        now: Callable[[], Moment],
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw` gives numbers from 0 (may be) to 1 (never): by them the tracking URLs of an offer share its clicks."""
        self._settings = settings
        self.offers = offers
        self._directory = directory
        self._journal = journal
        self._jobs = jobs
        self._now = now
        self._draw = draw
        self.tally = Tally()
        self._turns = Turns()
        self.observe: Callable[[str, str | None, float], None] = lambda outcome, reason, wait_s: None
        self.waiting = 0
        self.answered = 0
        self.late_hits = 0

    @property
    def is_tracing(self) -> bool:
        return self._directory is not None and self._jobs is not None

    def begin(self, directory: PoolDirectory, jobs: "trio.MemorySendChannel[TraceJob]") -> None:
        """The start is over: clicks are traced from now on."""
        self._directory, self._jobs = directory, jobs

    def use(self, settings: Settings) -> None:
        """For clicks that come from now on."""
        self._settings = settings

    async def answer(self, query: bytes, visitor: Visitor, waited_s: float = 0.0) -> Answer:
        """Returns by the click's deadline, whatever happens elsewhere.

        `waited_s`: for how long the visitor has waited by now, as they do at the socket of a daemon that restarts.
        """
        now = self._now()
        received = Moment(now.tick_s - waited_s, now.wall_s - waited_s)
        request_id = uuid.uuid4()
        parsed = parse_click(query)
        if isinstance(parsed, Refused):
            log.info("click_refused", request_id=str(request_id), status=parsed.status, error=parsed.error)
            self.observe("refused", "bad_request", 0.0)
            return Answer(parsed.status, request_id, error=parsed.error)
        offer = self.offers.find(parsed.offer)
        if offer is None:
            self.observe("refused", "unknown_offer" if self.is_tracing else "starting", 0.0)
        if offer is None and not self.is_tracing:
            return Answer(503, request_id, error="tracepool is starting: its database is not there yet")
        if offer is None:
            log.info("click_refused", request_id=str(request_id), status=404, offer=parsed.offer[:NAME_SHOWN_MAX])
            return Answer(404, request_id, error="Offer not found or inactive")
        tracking_url = offer.target(self._draw()).of_click(parsed, request_id)
        click = _Click(request_id, offer, parsed, visitor, received, tracking_url)
        self.waiting += 1
        outcome = "left"
        reason: str | None = None
        location = ""
        try:
            location, reason = await self._resolve(click)
            try:
                await self._record_hit(click, location, reason)
            except Exception:
                log.exception("hit_lost", request_id=str(request_id))  # ours; the visitor is answered all the same
            outcome = "fallback" if reason else "resolved"
        finally:
            self.waiting -= 1
            self._conclude(click, outcome, reason, location)
        return Answer(302, request_id, location=location)

    async def _resolve(self, click: _Click) -> tuple[str, str | None]:
        """Where to, and the reason if that is a fallback."""
        finished: Finished | str
        try:
            finished = await self._trace(click)
        except Exception:
            log.exception("click_fault", request_id=str(click.request_id))  # ours; the visitor is answered all the same
            finished = "trace_failed"
        if isinstance(finished, Finished) and finished.final_url is not None:
            try:
                return self._landing(click, finished.final_url), None
            except BadInput as e:
                log.warning("landing_unusable", request_id=str(click.request_id), why=str(e))
                finished = Finished(None, "trace_failed")
        reason = finished.reason if isinstance(finished, Finished) else finished
        return fallback_location(click.tracking_url, click.offer.passing.at_fallback(click.inbound.params)), reason

    def _landing(self, click: _Click, final_url: str) -> str:
        """The landing URL with the click's parameters. Raises BadInput where no browser should be sent."""
        scheme = final_url.partition(":")[0].lower()
        safe = final_url if scheme in click.offer.landing_schemes else safe_location(final_url)
        return with_params(safe, click.offer.passing.at_landing(click.inbound.params))

    async def _trace(self, click: _Click) -> Finished | str:
        """How the trace ended, or the reason for which there is none by now."""
        if self._directory is None or self._jobs is None:
            return "starting"
        if self.waiting > self._settings.click.waiting_max:
            return "overload"
        offer = click.offer
        post = self._directory.find(offer.country)
        if post is None and (default := self._settings.trace.default_country):
            post = self._directory.find(default)
        if post is None:
            return "no_pool"
        patience_s = offer.deadline_s or self._settings.click.deadline_s
        answer_by_s = self._turns.take(self._now().tick_s, click.received.tick_s + patience_s - ANSWER_BY_S)
        if post.would_refuse(answer_by_s, click.received.tick_s):
            return "no_ip"  # now, rather than once a worker has asked: all of them may be waiting themselves
        if answer_by_s <= self._now().tick_s:
            return "deadline"
        end: OneShot[Finished] = OneShot()
        with end:
            ear = _Ear(click, end)
            job = self._job(click, post.country, answer_by_s, ear)
            try:
                self._jobs.send_nowait(job)
            except trio.WouldBlock:
                return "overload"
            timeout_at = click.received.wall_s + patience_s + self._settings.trace.timeout_s
            self._journal.record(pending_of(job, click.received.wall_s, timeout_at))
            with trio.move_on_at(answer_by_s):
                return await end.receive()
        return ear.reason

    def _job(self, click: _Click, country: str, deadline_s: float, listener: "_Ear") -> TraceJob:
        offer, visitor, configured = click.offer, click.visitor, self._settings.trace.user_agent
        ours = HONEST_USER_AGENT if configured == "visitor" else configured
        identity = Identity(ours)
        if "visitor" in (offer.user_agent, configured):
            identity = Identity(visitor.user_agent or ours, visitor.accept_language, visitor.referrer)
        return TraceJob(
            request_id=click.request_id,
            offer_id=offer.id,
            offer_name=offer.name,
            tracking_url=click.tracking_url,
            country=country,
            inbound=as_mapping(click.inbound.params),
            identity=identity,
            asked_s=click.received.tick_s,
            deadline_s=deadline_s,
            listener=listener,
            landing_schemes=offer.landing_schemes,
            stop_at=offer.stop_at,
            backend=offer.trace_backend,
        )

    async def _record_hit(self, click: _Click, location: str, reason: str | None) -> None:
        now = self._now()
        hit = Hit(
            request_id=click.request_id,
            offer_id=click.offer.id,
            offer_name=click.offer.name,
            outcome="fallback" if reason else "resolved",
            reason=reason,
            location=location,
            visitor_address=click.visitor.address,
            user_agent=click.visitor.user_agent,
            referrer=click.visitor.referrer,
            wait_ms=round((now.tick_s - click.received.tick_s) * 1000),
            answered_at=now.wall_s,
        )
        with trio.move_on_after(HIT_DELAY_MAX_S) as scope:
            await self._journal.durable(hit)
        if scope.cancelled_caught:
            self.late_hits += 1
            click.hit_is_late = True

    def _conclude(self, click: _Click, outcome: str, reason: str | None, location: str) -> None:
        wait_ms = (self._now().tick_s - click.received.tick_s) * 1000
        self.observe(outcome, reason, wait_ms / 1000)
        if outcome != "left":
            self.answered += 1
            self.tally.add(click.received.tick_s + wait_ms / 1000, reason, wait_ms)
        log.info(
            "click",
            request_id=str(click.request_id),
            offer=click.offer.name,
            outcome=outcome,
            reason=reason,
            ip=click.ip,
            wait_ms=round(wait_ms, 1),
            location=location,
            visitor=click.visitor.address,
            **({"hit_is_late": True} if click.hit_is_late else {}),
        )


def error_body(error: str) -> bytes:
    return json.dumps({"error": error}).encode()
