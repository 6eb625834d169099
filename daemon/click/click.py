"""One click, from its request to its answer, and its hit."""

from dataclasses import dataclass
from uuid import UUID

from daemon.click.repeats import click_id_of
from daemon.click.unserved import Unserved, outcome_of
from daemon.click.visitor import Visitor
from daemon.clock import Moment
from daemon.journal.entries import Hit, HitKind, TraceQueued
from daemon.offers.model import Offer
from daemon.trace.dispatch import TraceHandle
from daemon.web.query import Inbound


@dataclass(slots=True)
class Click:
    request_id: UUID
    offer: Offer | Unserved
    inbound: Inbound
    visitor: Visitor
    kept: Visitor  # what rows and log lines have of the visitor
    received: Moment
    fallback: str  # of the offer, with its macros expanded; with the parameters too if no offer serves the click
    trace: TraceHandle | None = None
    queued: tuple[TraceQueued, ...] = ()  # recorded with the hit
    hit_is_late: bool = False
    kind: HitKind = "click"
    country_by: str | None = None  # where the visitor's country is from, if the offer has several

    def hit(self, location: str, reason: str | None, now: Moment) -> Hit:
        return Hit(
            request_id=self.request_id,
            offer_id=self.offer.id,
            offer_name=self.offer.name,
            outcome=outcome_of(self.offer, reason),
            reason=reason,
            location=location,
            visitor_address=self.kept.address,
            user_agent=self.kept.user_agent,
            referrer=self.kept.referrer,
            wait_ms=round((now.tick_s - self.received.tick_s) * 1000),
            answered_at=now.wall_s,
            kind=self.kind,
            click_id=click_id_of(self.offer.click_ids, self.inbound.params),
            country=self.offer.country,
        )
