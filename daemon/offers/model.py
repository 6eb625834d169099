"""The offers in memory, by which clicks are answered. Pure; sql_sync.py keeps them current.

Operators edit rows by SQL, so every value of a row is checked. An offer without a name or an id is left out, and one
without a usable tracking URL is closed, as a paused one is. Any other bad value counts as not set; of a list, only the
bad item is left out.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from daemon.countries import canonical, is_country, names_by_country, no_country
from daemon.errors import BadInput
from daemon.offers import values
from daemon.offers.macros import Template, macro_url, template_of
from daemon.offers.param_rules import ParamRules
from daemon.offers.reading import Complaint, RowReading
from daemon.offers.schema import LIVE
from daemon.web.query import Inbound
from daemon.web.urls import quoted

T = TypeVar("T")
AFTER_A_NAME = "/.,;:!?)]>\"' "
"""What follows a link in a text, and becomes a part of the offer's name at its end."""

HANDOVERS_MAX = 10
"""At most this many paused offers name each other, one after another, until an active one takes their clicks."""


@dataclass(frozen=True, slots=True)
class Target:
    """A tracking URL. `template` is None for a URL without macros."""

    url: str
    template: Template | None = None

    def of_click(self, inbound: Inbound, request_id: UUID, country: str = "") -> str:
        return self.url if self.template is None else self.template.expanded(inbound, request_id, country)


def target_of(url: str) -> Target:
    """The target of an http or https URL with or without macros. Raises BadInput as `macro_url` does."""
    return Target(url, template_of(macro_url(url)[0]))


@dataclass(frozen=True, slots=True)
class Offer:
    """One row of `offers` as clicks use it.

    deadline_s, trace_backend, tracer: None: the setting click.deadline_s, trace.backend, trace.tracer.
    user_agent: default or visitor.
    landing_schemes: allowed schemes of the final URL beside http and https, such as market or intent.
    stop_at: the first Location on one of these hosts, or below one, ends a trace.
    mode: wait or background.
    click_ids: parameters that identify a click, in lower case; empty: those of click/repeats.py.
    cuts: divide the unit interval between the `targets`, in proportion to their weights.
    country: the key of the pool whose IPs trace it; of several countries, the first one.
    in_country: the offer as it is in each of several countries; empty if it has one.
    country_param: the parameter with the visitor's country; None: the setting click.country_param.
    """

    id: UUID
    name: str
    targets: tuple[Target, ...]
    country: str
    deadline_s: float | None = None
    user_agent: str = "default"
    landing_schemes: frozenset[str] = frozenset()
    stop_at: frozenset[str] = frozenset()
    param_rules: ParamRules = field(default_factory=ParamRules)
    trace_backend: str | None = None
    tracer: values.OwnTracer | None = None
    click_ids: frozenset[str] = frozenset()
    mode: str = "wait"
    cuts: tuple[float, ...] = ()
    country_param: str | None = None
    in_country: "Mapping[str, Offer]" = field(default_factory=dict)

    def target(self, draw: float) -> Target:
        """Choose a target by `draw`, uniform in [0, 1)."""
        return self.targets[bisect_right(self.cuts, draw)]


@dataclass(frozen=True, slots=True)
class ClosedOffer:
    """An offer that serves no clicks: it is paused, or none of its tracking URLs is usable.

    fallback: where its clicks are sent instead of click.fallback_url. paused_to: the offer that takes its clicks.
    click_ids: as an Offer has them.
    """

    id: UUID
    name: str
    reason: Literal["paused", "bad_offer"]
    fallback: Target | None = None
    paused_to: str | None = None
    param_rules: ParamRules = field(default_factory=ParamRules)
    click_ids: frozenset[str] = frozenset()


# The settings that an Offer holds without conversion.
_PLAIN = [column for column in LIVE if column in Offer.__slots__]


class _Named(Generic[T]):
    """Offers by name, and by a name that differs in case or by what stands around a link in a text."""

    def __init__(self, by_name: Mapping[str, T]) -> None:
        self.by_name = by_name
        self._by_folded: dict[str, T | None] = {}  # None: the folded name belongs to several offers
        for name, offer in by_name.items():
            folded = _folded(name)
            self._by_folded[folded] = None if folded in self._by_folded else offer

    def like(self, folded: str) -> T | None:
        return self._by_folded.get(folded) or self._by_folded.get(folded.rstrip(AFTER_A_NAME))


class Offers:
    """The active offers, and the closed ones. A paused offer's name may stand for the offer that takes its clicks.

    `by_country`: the names of the active offers, by canonical name.
    """

    def __init__(self) -> None:
        self._active = _Named[Offer]({})
        self._closed = _Named[Offer | ClosedOffer]({})
        self.by_country: Mapping[str, tuple[str, ...]] = {}
        self._by_id: dict[UUID, Offer] = {}

    def __len__(self) -> int:
        return len(self._active.by_name)

    def find(self, name: str) -> Offer | None:
        """The offer that serves this name's clicks; else those of the only name that differs in case or punctuation."""
        offer = self._active.by_name.get(name)
        if offer is not None:
            return offer
        found = self._like(name)
        return found if isinstance(found, Offer) else None

    def closed(self, name: str) -> ClosedOffer | None:
        """The closed offer of this name, whose clicks no offer serves."""
        found = self._like(name)
        return found if isinstance(found, ClosedOffer) else None

    def _like(self, name: str) -> Offer | ClosedOffer | None:
        found = self._active.by_name.get(name) or self._closed.by_name.get(name)
        if found is not None or len(name) > values.NAME_CHARACTERS_MAX + 1:
            return found
        folded = _folded(name)
        return self._active.like(folded) or self._closed.like(folded)

    @property
    def total(self) -> int:
        """All offers, the closed ones too."""
        return len(self._active.by_name) + len(self._closed.by_name)

    def by_id(self, offer_id: UUID) -> Offer | None:
        """The active offer with this id."""
        return self._by_id.get(offer_id)

    def known(self, key: str) -> Offer | None:
        """Find an active offer by its id, else by its name. Takes linear time: not for clicks."""
        by_id = (offer for offer in self._active.by_name.values() if str(offer.id) == key.lower())
        return next(by_id, None) or self._active.by_name.get(key)

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> list[Complaint]:
        """Replace all offers by rows of `load_offers`, with jsonb as text. Returns a complaint for each bad value."""
        active: dict[str, Offer] = {}
        closed: dict[str, ClosedOffer] = {}
        complaints: list[Complaint] = []
        for row in rows:
            reading = _Reading(row)
            offer = reading.offer()
            if isinstance(offer, Offer):
                active[offer.name] = offer
            elif offer is not None:
                closed[offer.name] = offer
            complaints += reading.complaints
        served: dict[str, Offer | ClosedOffer] = {}
        for name, offer in closed.items():
            served[name] = _taker(offer, active, closed) or offer
            if offer.paused_to is not None and served[name] is offer:
                why = f"paused_to {quoted(offer.paused_to)} leads to no active offer"
                complaints.append(
                    Complaint(True, f"offer {name!r}: {why}: its clicks go where those of a paused one go")
                )
        self._active, self._closed = _Named(active), _Named(served)
        self.by_country = names_by_country(
            (country, offer.name) for offer in active.values() for country in offer.in_country or (offer.country,)
        )
        self._by_id = {offer.id: offer for offer in active.values()}
        return complaints


def _taker(offer: ClosedOffer, active: Mapping[str, Offer], closed: Mapping[str, ClosedOffer]) -> Offer | None:
    """The active offer that takes the clicks of a paused one, directly or by way of other paused ones."""
    at: ClosedOffer | None = offer
    for _ in range(HANDOVERS_MAX):
        if at is None or at.paused_to is None:
            return None
        if (taker := active.get(at.paused_to)) is not None:
            return taker
        at = closed.get(at.paused_to)
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _divided(shares: Sequence[values.StoredShare]) -> tuple[tuple[Target, ...], tuple[float, ...]]:
    """`targets` and `cuts` of an Offer."""
    sums = list(accumulate(share.weight for share in shares))
    return tuple(target_of(share.url) for share in shares), tuple(part / sums[-1] for part in sums[:-1])


class _Reading(RowReading):
    """Converts one row to an offer and collects the complaints."""

    def offer(self) -> Offer | ClosedOffer | None:
        name, offer_id = self.row.get("offer_name"), self.row.get("id")
        if not isinstance(name, str) or not name or not isinstance(offer_id, UUID):
            self.complain("it has no name or no id, so no click can name it", usable=False)
            return None
        if self.row.get("is_active") is False:
            return self._closed(offer_id, name, "paused")
        targets, cuts = self._targets()
        if not targets:
            return self._closed(offer_id, name, "bad_offer")
        first, *others = countries = self._countries()
        offer = Offer(
            id=offer_id,
            name=name,
            targets=targets,
            cuts=cuts,
            country=first,
            param_rules=self._param_rules(),
            **{column: value for column in _PLAIN if (value := self.read(column)) is not None},
        )
        own = self._country_targets(countries)
        in_country = {country: replace(offer, country=country, **own.get(country, {})) for country in countries}
        return replace(in_country[first], in_country=in_country) if others else in_country[first]

    def _closed(self, offer_id: UUID, name: str, reason: Literal["paused", "bad_offer"]) -> ClosedOffer:
        url = self.read("fallback_url")
        return ClosedOffer(
            id=offer_id,
            name=name,
            reason=reason,
            fallback=None if url is None else target_of(url),
            paused_to=self.read("paused_to") if reason == "paused" else None,
            param_rules=self._param_rules(),
            click_ids=self.read("click_ids") or frozenset(),
        )

    def _targets(self) -> tuple[tuple[Target, ...], tuple[float, ...]]:
        """`targets` and `cuts`; both are empty if the offer has no usable tracking URL."""
        shares = self.each("tracking_urls", values.share_in)
        if not shares:
            try:
                macro_url(url := str(self.row.get("final_url")))
            except BadInput as e:
                self.complain(
                    f"{e}: its clicks get its fallback_url or click.fallback_url, or 404 until final_url is corrected",
                    usable=False,
                )
                return (), ()
            shares = [values.StoredShare(url)]
        return _divided(shares)

    def _countries(self) -> list[str]:
        """The keys of the offer's countries, without duplicates; never empty."""
        first = canonical(str(self.row.get("target_country", "us")))
        countries = list(dict.fromkeys([first, *self.each("countries", values.country_item_in)]))
        for country in countries:
            if not is_country(country):
                self.complain(f"country {no_country(country)} Its clicks use the IPs with the same text")
        return countries

    def _country_targets(self, countries: Collection[str]) -> dict[str, dict[str, Any]]:
        """`targets` and `cuts` of the countries that have tracking URLs of their own."""
        found = {}
        for country, items in (self.read("country_urls") or {}).items():
            if country not in countries:
                self.complain(f"country_urls: {quoted(country)} is not one of its countries: it is left out")
            elif shares := self.good(items, lambda item: values.share_in(item, "country_urls")):
                found[country] = dict(zip(("targets", "cuts"), _divided(shares), strict=True))
        return found

    def _param_rules(self) -> ParamRules:
        filters = {kind: frozenset(names) for kind, names in (self.read("param_filter") or {}).items()}
        return ParamRules(**filters, rename=self.read("rename") or {})
