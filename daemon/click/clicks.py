"""What a click becomes: an offer, a trace, and in any case an answer by its deadline. HTTP is routes.py's business."""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog
import trio

from daemon.click.answer import fallback_location, landing_location
from daemon.click.answer_slots import AnswerSlots
from daemon.click.visitor import Visitor
from daemon.clock import Moment
from daemon.errors import BadInput
from daemon.journal.entries import Hit
from daemon.maintenance.tally import Tally
from daemon.offers.model import Offer, Offers
from daemon.pool.actor import Journal
from daemon.trace.dispatch import Dispatcher, JobRequest, TraceHandle
from daemon.trace.jobs import Finished
from daemon.trace.walk.steps import Identity
from daemon.web.query import Inbound, Refused, parse_click

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
    trace: TraceHandle | None = None
    hit_is_late: bool = False


class Clicks:
    """`waiting` clicks have no answer yet; `late_hits` of the `answered` ones were not durable before.

    Without a dispatcher the daemon is still starting: clicks of offers that an earlier run knew fall back at once.
    """

    def __init__(
        self,
        offers: Offers,
        dispatcher: Dispatcher | None,
        journal: Journal,
        now: Callable[[], Moment],
        draw: Callable[[], float] = random.random,
        observe: Callable[[str, str | None, float], None] = lambda outcome, reason, wait_s: None,
    ) -> None:
        """`observe` is called at the end of each click with its outcome, its reason and how long it waited.

        `draw` gives numbers in [0, 1): by them the tracking URLs of an offer share its clicks.
        """
        self.offers = offers
        self._dispatcher = dispatcher
        self._journal = journal
        self._now = now
        self._draw = draw
        self.tally = Tally()
        self._slots = AnswerSlots()
        self._observe = observe
        self.waiting = 0
        self.answered = 0
        self.late_hits = 0

    @property
    def is_tracing(self) -> bool:
        return self._dispatcher is not None

    def begin(self, dispatcher: Dispatcher) -> None:
        """The start is over: clicks are traced from now on."""
        self._dispatcher = dispatcher

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
            self._observe("refused", "bad_request", 0.0)
            return Answer(parsed.status, request_id, error=parsed.error)
        offer = self.offers.find(parsed.offer)
        if offer is None:
            self._observe("refused", "unknown_offer" if self.is_tracing else "starting", 0.0)
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
        offer, params = click.offer, click.inbound.params
        finished: Finished | str
        try:
            finished = await self._trace(click)
        except Exception:
            log.exception("click_fault", request_id=str(click.request_id))  # ours; the visitor is answered all the same
            finished = "trace_failed"
        if isinstance(finished, Finished) and finished.final_url is not None:
            try:
                params_there = offer.param_rules.at_landing(params)
                return landing_location(finished.final_url, offer.landing_schemes, params_there), None
            except BadInput as e:
                log.warning("landing_unusable", request_id=str(click.request_id), why=str(e))
                finished = Finished(None, "trace_failed")
        reason = finished.reason if isinstance(finished, Finished) else finished
        return fallback_location(click.tracking_url, offer.param_rules.at_fallback(params)), reason

    async def _trace(self, click: _Click) -> Finished | str:
        """How the trace ended, or the reason why there is no end by the click's deadline."""
        if self._dispatcher is None:
            return "starting"
        visitor = click.visitor
        request = JobRequest(
            request_id=click.request_id,
            tracking_url=click.tracking_url,
            country=click.offer.country,
            asked=click.received,
            inbound=click.inbound.params,
            offer=click.offer,
            visitor=Identity(visitor.user_agent or "", visitor.accept_language, visitor.referrer),
        )
        accepted = self._dispatcher.dispatch(request, self._answer_by)
        if isinstance(accepted, str):
            return accepted
        click.trace = accepted
        with accepted:
            return await accepted.finished(accepted.deadline_s) or accepted.reason

    def _answer_by(self, now_s: float, deadline_s: float) -> float:
        return self._slots.take(now_s, deadline_s - ANSWER_BY_S)

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
        self._observe(outcome, reason, wait_ms / 1000)
        if outcome != "left":
            self.answered += 1
            self.tally.add(click.received.tick_s + wait_ms / 1000, reason, wait_ms)
        log.info(
            "click",
            request_id=str(click.request_id),
            offer=click.offer.name,
            outcome=outcome,
            reason=reason,
            ip=click.trace and click.trace.ip,
            wait_ms=round(wait_ms, 1),
            location=location,
            visitor=click.visitor.address,
            **({"hit_is_late": True} if click.hit_is_late else {}),
        )


def error_body(error: str) -> bytes:
    return json.dumps({"error": error}).encode()
