"""The offer of a click; or, for a click that no offer serves, where it is sent instead; its outcome. Pure."""

from dataclasses import dataclass, field
from functools import lru_cache
from uuid import NAMESPACE_URL, UUID, uuid5

from daemon.click.answer import fallback_location
from daemon.countries import canonical
from daemon.offers.model import ClosedOffer, Offer, Offers, Target, target_of
from daemon.offers.param_rules import ParamRules
from daemon.offers.values import NAME_CHARACTERS_MAX
from daemon.storable import storable
from daemon.web.query import Inbound, RefusedClick, parse_click, read_leniently


@dataclass(frozen=True, slots=True)
class Unserved:
    """A click that no offer serves.

    reason: of the fallback. status, error, refusal: the answer if there is no URL to fall back to, and its reason.
    id: of the closed offer. click_ids: as an Offer has them. name: this offer's, else the name that the click gave.
    fallback: the closed offer's own fallback_url.
    """

    reason: str
    inbound: Inbound
    status: int
    error: str
    refusal: str
    id: UUID | None = None
    fallback: Target | None = None
    param_rules: ParamRules = field(default_factory=ParamRules)
    click_ids: frozenset[str] = frozenset()
    deadline_s: None = None

    @property
    def repeat_scope(self) -> UUID:
        """What its repeats have in common. Not the offer's id: once an offer serves the click, the click is traced."""
        return uuid5(self.id or NAMESPACE_URL, f"{self.reason} {self.name}")

    @property
    def name(self) -> str:
        """As PostgreSQL can hold it: the node's row has it too, among the offers with fallbacks."""
        return storable(self.inbound.offer[:NAME_CHARACTERS_MAX])

    @property
    def country(self) -> None:
        """No IPs trace the click."""

    def location(self, fallback_url: str, request_id: UUID) -> str | None:
        """The offer's fallback URL, else `fallback_url`, with the click's parameters; None if neither is set."""
        target = self.fallback or (_target(fallback_url) if fallback_url else None)
        if target is None:
            return None
        params = self.param_rules.at_fallback(self.inbound.params)
        return fallback_location(target.of_click(self.inbound, request_id), params)


def where_of(offer: Offer | Unserved, reason: str | None) -> tuple[str, str] | tuple[()]:
    """The offer's name and the country whose IPs its clicks use, for the count of a fallback with this reason."""
    if reason is None:
        return ()
    return offer.name, canonical(offer.country) if isinstance(offer, Offer) else ""


def offer_of(query: bytes, offers: Offers, *, is_starting: bool = False) -> tuple[Offer, Inbound] | Unserved:
    """The offer of a query, and the query with this offer's name. `is_starting`: more offers may be known soon."""
    parsed = parse_click(query)
    if isinstance(parsed, RefusedClick):
        return Unserved("unknown_offer", read_leniently(query), parsed.status, parsed.error, "bad_request")
    offer = offers.find(parsed.offer)
    if offer is not None:
        return offer, _named(offer, parsed)
    error = "Offer not found or inactive"
    closed = offers.closed(parsed.offer)
    if closed is None and is_starting:
        error = "tracepool is starting: its database is not there yet"
        return Unserved("starting", parsed, 503, error, "starting")
    if closed is None:
        return Unserved("unknown_offer", parsed, 404, error, "unknown_offer")
    own = (closed.id, closed.fallback, closed.param_rules, closed.click_ids)
    return Unserved(closed.reason, _named(closed, parsed), 404, error, closed.reason, *own)


def outcome_of(offer: Offer | Unserved, reason: str | None) -> str:
    """The outcome of a click, a repeat or a preview. `reason`: of a fallback."""
    if reason or isinstance(offer, Unserved):
        return "fallback"
    return "background" if offer.mode == "background" else "resolved"


def _named(offer: Offer | ClosedOffer, inbound: Inbound) -> Inbound:
    return inbound if inbound.offer == offer.name else Inbound(offer.name, inbound.params)


@lru_cache(maxsize=4)
def _target(fallback_url: str) -> Target:
    return target_of(fallback_url)
