"""Answers clicks: finds the offer, dispatches a trace, and redirects by the deadline in any case. No HTTP here."""

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
import trio

from daemon.click.answer import fallback_location, landing_location
from daemon.click.answer_slots import AnswerSlots
from daemon.click.click import Click
from daemon.click.repeats import First, Repeats, repeat_key
from daemon.click.unserved import Unserved, offer_of, outcome_of, where_of
from daemon.click.visitor import Visitor
from daemon.clock import Moment
from daemon.errors import BadInput
from daemon.journal.entries import HitKind, Recorder
from daemon.maintenance.tally import Tally
from daemon.offers.model import Offer, Offers
from daemon.settings.live import LiveSettings
from daemon.trace.dispatch import Dispatcher, JobRequest, queued_trace
from daemon.trace.jobs import Finished
from daemon.trace.request_ids import new_request_id
from daemon.trace.walk.steps import Identity
from daemon.web.query import Param

HIT_DELAY_MAX_S = 0.05  # a redirect waits for its journal entry for this long at most
ANSWER_BY_S = HIT_DELAY_MAX_S  # an answer begins this long before the deadline, so that this wait cannot delay it
NAME_SHOWN_MAX = 100

ChooseCountry = Callable[[Offer, Sequence[Param], Visitor], tuple[Offer, str]]

log = structlog.get_logger("daemon.click")


class Answer(msgspec.Struct, frozen=True):
    """A redirect to `location`, or `error` for a JSON body. `in_background`: nobody waits for the redirect's page."""

    status: int
    request_id: uuid.UUID
    location: str | None = None
    error: str | None = None
    in_background: bool = False


@dataclass(eq=False, repr=False)
class Clicks:
    """Answers clicks, and counts them: `waiting` for their answer, `answered`, `late_hits` answered before their entry.

    Without a dispatcher the daemon is starting: clicks of the offers in the cache file get a fallback at once.
    `_draw` returns numbers uniform in [0, 1), which choose among the tracking URLs of an offer. `in_country` chooses
    among its countries, see visitor_country.py.
    `observe(outcome, reason, wait_s)` is called at the end of each click.
    """

    offers: Offers
    _dispatcher: Dispatcher | None
    _journal: Recorder
    _now: Callable[[], Moment]
    _live: LiveSettings
    _draw: Callable[[], float] = random.random
    observe: Callable[[str, str | None, float], None] = lambda outcome, reason, wait_s: None
    in_country: ChooseCountry = lambda offer, params, visitor: (offer, "first")
    tally: Tally = field(default_factory=Tally, init=False)
    _repeats: Repeats[Click] = field(default_factory=Repeats, init=False)
    _slots: AnswerSlots = field(default_factory=AnswerSlots, init=False)
    waiting: int = field(default=0, init=False)
    answered: int = field(default=0, init=False)
    late_hits: int = field(default=0, init=False)

    @property
    def is_tracing(self) -> bool:
        return self._dispatcher is not None

    def begin(self, dispatcher: Dispatcher) -> None:
        """End the start: trace clicks from now on."""
        self._dispatcher = dispatcher

    async def preview(self, query: bytes, visitor: Visitor, waited_s: float = 0.0) -> Answer:
        """The fallback, for HEAD and previews of a link: no IP is used, and the hit is marked."""
        click = self._click_of(query, visitor, waited_s)
        if isinstance(click, Answer):
            return click
        location, reason = self._fallback_of(click), "preview"
        if isinstance(click.offer, Unserved):
            reason = click.offer.reason
        return await self._answer_marked(click, "preview", location, reason)

    def refuse_prefetch(self) -> Answer:
        """503 makes a browser drop its prefetch and send the request again when the visitor clicks."""
        request_id = new_request_id(self._now().wall_s)
        error = "a prefetch is not traced: only the visitor's click is"
        log.info("prefetch_refused", request_id=str(request_id))
        self.observe("prefetch", None, 0.0)
        return Answer(503, request_id, error=error)

    async def answer(self, query: bytes, visitor: Visitor, waited_s: float = 0.0) -> Answer:
        """Returns by the click's deadline, whatever fails elsewhere.

        `waited_s`: how long the request has waited already, for example in the socket's backlog during a restart.
        """
        click = self._click_of(query, visitor, waited_s)
        if isinstance(click, Answer):
            return click
        repeat_s, offer = self._live.current.click.repeat_s, click.offer
        if repeat_s <= 0:
            return await self._redirect(click)
        scope = offer.repeat_scope if isinstance(offer, Unserved) else offer.id
        key = repeat_key(scope, offer.click_ids, click.inbound.params, visitor)
        if key is None:
            return await self._redirect(click)
        now_s = click.received.tick_s + waited_s
        first = self._repeats.first(key, now_s)
        if first is not None:
            return await self._repeat(click, offer, first)
        first = self._repeats.begin(key, click, now_s, repeat_s)
        return await self._redirect(click, first)

    def _click_of(self, query: bytes, visitor: Visitor, waited_s: float) -> Click | Answer:
        """The click of a request; or the answer that refuses the request."""
        now = self._now()
        received = Moment(now.tick_s - waited_s, now.wall_s - waited_s)
        request_id, kept = new_request_id(now.wall_s), visitor.kept(self._live.current.privacy)
        found = offer_of(query, self.offers, is_starting=not self.is_tracing)
        if isinstance(found, Unserved):
            unserved = found.location(self._live.current.click.fallback_url, request_id)
            if unserved is None:
                return self._refused(found, request_id)
            return Click(request_id, found, found.inbound, visitor, kept, received, unserved)
        offer, parsed = found
        country_by = None
        if offer.in_country:
            offer, country_by = self.in_country(offer, parsed.params, visitor)
        tracking_url = offer.target(self._draw()).of_click(parsed, request_id, offer.country)
        return Click(request_id, offer, parsed, visitor, kept, received, tracking_url, country_by=country_by)

    async def _repeat(self, click: Click, offer: Offer | Unserved, first: First[Click]) -> Answer:
        """The first request's answer. If its visitor has left, this request goes on in its place, with its trace."""
        answer_by_s = click.received.tick_s + self._patience_s(offer) - ANSWER_BY_S
        self.waiting += 1
        try:
            with trio.move_on_at(answer_by_s):
                while first.answer is None and first.is_waited_for:
                    await first.changed()
        finally:
            self.waiting -= 1
        if first.answer is not None:
            return await self._answer_marked(click, "repeat", *first.answer)
        if first.is_waited_for or first.click is None:
            return await self._answer_marked(click, "repeat", self._fallback_of(click), "deadline")
        first.is_waited_for = True
        left = first.click
        click.request_id, click.trace, click.fallback = left.request_id, left.trace, left.fallback
        click.offer, click.country_by = left.offer, left.country_by
        return await self._redirect(click, first)

    async def _answer_marked(self, click: Click, kind: HitKind, location: str, reason: str | None) -> Answer:
        """Answer a request that is no click of its own: its hit is marked, and no statistic counts a click."""
        click.kind, outcome = kind, outcome_of(click.offer, reason)
        try:
            await self._record_hit(click, location, reason)
        except Exception:
            log.exception("hit_lost", request_id=str(click.request_id))
        self.observe(kind, None, 0.0)
        self.tally.mark(self._now().tick_s, kind)
        log.info(
            kind,
            request_id=str(click.request_id),
            offer=click.offer.name,
            reason=reason,
            location=location,
            visitor=click.kept.address,
        )
        return Answer(302, click.request_id, location=location, in_background=outcome == "background")

    def _patience_s(self, offer: Offer | Unserved) -> float:
        return offer.deadline_s or self._live.current.click.deadline_s

    async def _redirect(self, click: Click, first: First[Click] | None = None) -> Answer:
        """Resolve the click, record its hit, and answer. `first`: it is remembered, for its repeats."""
        self.waiting += 1
        outcome = "left"
        reason: str | None = None
        location = ""
        try:
            location, reason = await self._resolve(click, is_remembered=first is not None)
            if first is not None:
                self._repeats.answered(first, location, reason)
            try:
                await self._record_hit(click, location, reason)
            except Exception:
                log.exception("hit_lost", request_id=str(click.request_id))  # a bug must not cost the visitor's answer
            outcome = outcome_of(click.offer, reason)
        finally:
            self.waiting -= 1
            if first is not None and first.answer is None:
                first.left()
            if click.queued:
                outcome = "background"  # also if its visitor has left
            self._conclude(click, outcome, reason, location)
        return Answer(302, click.request_id, location=location, in_background=outcome == "background")

    def _fallback_of(self, click: Click) -> str:
        if isinstance(click.offer, Unserved):
            return click.fallback
        return fallback_location(click.fallback, click.offer.param_rules.at_fallback(click.inbound.params))

    def _refused(self, found: Unserved, request_id: uuid.UUID) -> Answer:
        self.observe("refused", found.refusal, 0.0)
        line = {"error": found.error} if found.status == 400 else {"offer": found.name[:NAME_SHOWN_MAX]}
        log.info("click_refused", request_id=str(request_id), status=found.status, reason=found.refusal, **line)
        return Answer(found.status, request_id, error=found.error)

    async def _resolve(self, click: Click, *, is_remembered: bool) -> tuple[str, str | None]:
        """(the redirect's URL, the reason if it is a fallback)."""
        offer, params = click.offer, click.inbound.params
        if isinstance(offer, Unserved):
            return click.fallback, offer.reason
        if offer.mode == "background":
            click.queued = (queued_trace(self._request(click, offer), offer, self._live.current),)
            return self._fallback_of(click), None
        finished: Finished | str
        try:
            finished = await self._trace(click, offer, is_remembered)
        except Exception:
            log.exception("click_fault", request_id=str(click.request_id))  # a bug must not cost the visitor's answer
            finished = "trace_failed"
        if isinstance(finished, Finished) and finished.final_url is not None:
            try:
                landing_params = offer.param_rules.at_landing(params)
                return landing_location(finished.final_url, offer.landing_schemes, landing_params), None
            except BadInput as e:
                log.warning("landing_unusable", request_id=str(click.request_id), why=str(e))
                finished = Finished(None, "trace_failed")
        reason = finished.reason if isinstance(finished, Finished) else finished
        return self._fallback_of(click), reason

    async def _trace(self, click: Click, offer: Offer, is_remembered: bool) -> Finished | str:
        """The end of the trace, or the reason why there is none by the click's deadline."""
        if click.trace is not None:  # that of a visitor who has left
            until_s = click.received.tick_s + self._patience_s(offer) - ANSWER_BY_S
            with click.trace:
                return await click.trace.finished(until_s) or click.trace.reason
        if self._dispatcher is None:
            return "starting"
        accepted = self._dispatcher.dispatch(
            self._request(click, offer), lambda now_s, deadline_s: self._slots.take(now_s, deadline_s - ANSWER_BY_S)
        )
        if isinstance(accepted, str):
            return accepted
        click.trace = accepted
        accepted.stays_open = is_remembered
        with accepted:
            return await accepted.finished(accepted.deadline_s) or accepted.reason

    def _request(self, click: Click, offer: Offer) -> JobRequest:
        visitor = click.visitor
        return JobRequest(
            request_id=click.request_id,
            tracking_url=click.fallback,
            country=offer.country,
            asked=click.received,
            inbound=click.inbound.params,
            offer=offer,
            visitor=Identity(visitor.user_agent or "", visitor.accept_language, visitor.referrer),
        )

    async def _record_hit(self, click: Click, location: str, reason: str | None) -> None:
        hit = click.hit(location, reason, self._now())
        is_durable = False
        with trio.move_on_after(HIT_DELAY_MAX_S):
            is_durable = await self._journal.durable(*click.queued, hit)
        if not is_durable:  # the disk is slow, refuses writes, or is not open yet
            self.late_hits += 1
            click.hit_is_late = True

    def _conclude(self, click: Click, outcome: str, reason: str | None, location: str) -> None:
        wait_ms = (self._now().tick_s - click.received.tick_s) * 1000
        self.observe(outcome, reason, wait_ms / 1000)
        if outcome != "left":
            self.answered += 1
            at_s = click.received.tick_s + wait_ms / 1000
            if outcome == "background":
                self.tally.add_background(at_s)
            else:
                self.tally.add(at_s, reason, wait_ms, *where_of(click.offer, reason))
        log.info(
            "click",
            request_id=str(click.request_id),
            offer=click.offer.name,
            outcome=outcome,
            reason=reason,
            ip=click.trace and click.trace.ip,
            wait_ms=round(wait_ms, 1),
            location=location,
            visitor=click.kept.address,
            **({"hit_is_late": True} if click.hit_is_late else {}),
            **({"country": click.offer.country, "country_by": click.country_by} if click.country_by else {}),
        )
