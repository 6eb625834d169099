"""The offers in memory, by which clicks are answered. Pure; sql_sync.py keeps them current.

Operators edit rows by SQL, so every value of a row is checked. An offer without a name or an id is left out, and one
without a usable tracking URL is closed, as a paused one is. Any other bad value counts as not set; of a list, only the
bad item is left out.
"""

import json
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from daemon.errors import BadInput
from daemon.offers import values
from daemon.offers.macros import Template, macro_url, template_of
from daemon.offers.param_rules import ParamRules
from daemon.offers.schema import JSON_COLUMNS, LIVE, SETTINGS
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

    def of_click(self, inbound: Inbound, request_id: UUID) -> str:
        return self.url if self.template is None else self.template.expanded(inbound, request_id)


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


@dataclass(frozen=True, slots=True)
class Complaint:
    """A sentence about a bad value. `usable`: the offer serves clicks all the same."""

    usable: bool
    sentence: str


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
    """The active offers, and the closed ones. A paused offer's name may stand for the offer that takes its clicks."""

    def __init__(self) -> None:
        self._active = _Named[Offer]({})
        self._closed = _Named[Offer | ClosedOffer]({})
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


class _Reading:
    """Converts one row to an offer and collects the complaints."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        self.complaints: list[Complaint] = []

    def offer(self) -> Offer | ClosedOffer | None:
        name, offer_id = self._row.get("offer_name"), self._row.get("id")
        if not isinstance(name, str) or not name or not isinstance(offer_id, UUID):
            self._complain("it has no name or no id, so no click can name it", usable=False)
            return None
        if self._row.get("is_active") is False:
            return self._closed(offer_id, name, "paused")
        targets, cuts = self._targets()
        if not targets:
            return self._closed(offer_id, name, "bad_offer")
        return Offer(
            id=offer_id,
            name=name,
            targets=targets,
            cuts=cuts,
            country=str(self._row.get("target_country")),
            param_rules=self._param_rules(),
            **{column: value for column in _PLAIN if (value := self._read(column)) is not None},
        )

    def _closed(self, offer_id: UUID, name: str, reason: Literal["paused", "bad_offer"]) -> ClosedOffer:
        url = self._read("fallback_url")
        return ClosedOffer(
            id=offer_id,
            name=name,
            reason=reason,
            fallback=None if url is None else target_of(url),
            paused_to=self._read("paused_to") if reason == "paused" else None,
            param_rules=self._param_rules(),
            click_ids=self._read("click_ids") or frozenset(),
        )

    def _targets(self) -> tuple[tuple[Target, ...], tuple[float, ...]]:
        """`targets` and `cuts`; both are empty if the offer has no usable tracking URL."""
        shares = self._each("tracking_urls", values.share_in)
        if not shares:
            try:
                macro_url(url := str(self._row.get("final_url")))
            except BadInput as e:
                self._complain(
                    f"{e}: its clicks get its fallback_url or click.fallback_url, or 404 until final_url is corrected",
                    usable=False,
                )
                return (), ()
            shares = [values.StoredShare(url)]
        sums = list(accumulate(share.weight for share in shares))
        targets = tuple(target_of(share.url) for share in shares)
        return targets, tuple(part / sums[-1] for part in sums[:-1])

    def _param_rules(self) -> ParamRules:
        filters = {kind: frozenset(names) for kind, names in (self._read("param_filter") or {}).items()}
        return ParamRules(**filters, rename=self._read("rename") or {})

    def _read(self, column: str) -> Any:
        """The usable part of a setting. None: not set, or not usable."""
        setting = SETTINGS[column]
        assert setting.live is not None, column
        if setting.sql == "text[]":
            return frozenset(self._each(column, setting.live))
        return self._one(column, setting.live)

    def _one(self, column: str, read: Callable[[object], T]) -> T | None:
        """The checked value of a column. None: null, or not usable."""
        try:
            value = self._value(column)
            return None if value is None else read(value)
        except BadInput as e:
            self._complain(f"{e}: {column} is taken as not set")
            return None

    def _each(self, column: str, read: Callable[[object], T]) -> list[T]:
        """The usable items of a list."""
        good = []
        for item in self._one(column, values.list_in) or ():
            try:
                good.append(read(item))
            except BadInput as e:
                self._complain(f"{e}: it is left out")
        return good

    def _value(self, column: str) -> object:
        value = self._row.get(column)
        if column not in JSON_COLUMNS or not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise BadInput(f"{column} is no JSON") from None

    def _complain(self, why: str, *, usable: bool = True) -> None:
        self.complaints.append(Complaint(usable, f"offer {self._row.get('offer_name')!r}: {why}"))
