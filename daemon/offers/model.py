"""The offers that clicks name, as last read. Pure; sql_sync.py keeps it current.

Operators edit rows by SQL, so nothing of a row is taken on trust. Without a name, an id or any usable tracking URL an
offer is left out, and its clicks get 404. Every other bad value is left out alone, and the offer goes on as if it had
not been set; of lists, only the bad item.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeVar
from uuid import UUID

from daemon.errors import BadInput
from daemon.offers import values
from daemon.offers.macros import Template, macro_url, template_of
from daemon.offers.param_rules import ParamRules
from daemon.offers.schema import JSON_COLUMNS, LIVE, SETTINGS
from daemon.web.query import Inbound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """A tracking URL. `template`: its macros, None where it has none."""

    url: str
    template: Template | None = None

    def of_click(self, inbound: Inbound, request_id: UUID) -> str:
        return self.url if self.template is None else self.template.expanded(inbound, request_id)


@dataclass(frozen=True, slots=True)
class Offer:
    """What an ad sells. `deadline_s`: its own longest wait, None for the setting. `user_agent`: default or visitor.

    `landing_schemes`: where its chain may land beyond http and https, such as market or intent. `stop_at`: hosts whose
    first Location ends its traces. `trace_backend`: local or service, None for the setting. `cuts` of the unit interval
    between the `targets` that share its clicks.
    """

    id: UUID
    name: str
    targets: tuple[Target, ...]
    country: str
    deadline_s: float | None = None
    user_agent: str = "default"
    landing_schemes: frozenset[str] = frozenset()
    stop_at: frozenset[str] = frozenset()
    passing: ParamRules = field(default_factory=ParamRules)
    trace_backend: str | None = None
    cuts: tuple[float, ...] = ()

    def target(self, draw: float) -> Target:
        """By a number drawn evenly from 0 (may be) to 1 (never)."""
        return self.targets[bisect_right(self.cuts, draw)]


# The settings that an Offer holds as they are read.
_PLAIN = [column for column in LIVE if column in Offer.__slots__]


@dataclass(frozen=True, slots=True)
class Complaint:
    """A sentence about a row. Where the offer is not `usable`, its clicks get 404."""

    usable: bool
    sentence: str


class Offers:
    """The active offers by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Offer] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Offer | None:
        return self._by_name.get(name)

    def known(self, key: str) -> Offer | None:
        """By its id, or else by its name; for what is asked now and then."""
        by_id = (offer for offer in self._by_name.values() if str(offer.id) == key.lower())
        return next(by_id, None) or self.find(key)

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> list[Complaint]:
        """Takes rows of `load_offers`, jsonb as text, for all there is. Says what of them cannot be used."""
        offers, complaints = {}, []
        for row in rows:
            reading = _Reading(row)
            offer = reading.offer()
            if offer is not None:
                offers[offer.name] = offer
            complaints += reading.complaints
        self._by_name = offers
        return complaints


class _Reading:
    """One row on its way to an Offer."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        self.complaints: list[Complaint] = []

    def offer(self) -> Offer | None:
        name, offer_id = self._row.get("offer_name"), self._row.get("id")
        if not isinstance(name, str) or not name or not isinstance(offer_id, UUID):
            self._complain("it has no name or no id: nobody can ask for it", usable=False)
            return None
        targets, cuts = self._targets()
        if not targets:
            return None
        return Offer(
            id=offer_id,
            name=name,
            targets=targets,
            cuts=cuts,
            country=str(self._row.get("target_country")),
            passing=self._passing(),
            **{column: value for column in _PLAIN if (value := self._read(column)) is not None},
        )

    def _targets(self) -> tuple[tuple[Target, ...], tuple[float, ...]]:
        """The URLs that share the offer's clicks, and where they part; none where the offer cannot be used."""
        shares = self._each("tracking_urls", values.share_in)
        if not shares:
            try:
                macro_url(url := str(self._row.get("final_url")))
            except BadInput as e:
                self._complain(f"{e}: its clicks get 404 until final_url is corrected", usable=False)
                return (), ()
            shares = [values.StoredShare(url)]
        sums = list(accumulate(share.weight for share in shares))
        targets = tuple(Target(share.url, template_of(macro_url(share.url)[0])) for share in shares)
        return targets, tuple(part / sums[-1] for part in sums[:-1])

    def _passing(self) -> ParamRules:
        chosen = self._read("param_filter")
        filters = {chosen.does: frozenset(chosen.names)} if chosen is not None else {}
        return ParamRules(**filters, rename=self._read("rename") or {})

    def _read(self, column: str) -> Any:
        """What of a setting can be used; None where there is none."""
        setting = SETTINGS[column]
        assert setting.live is not None, column
        if setting.sql == "text[]":
            return frozenset(self._each(column, setting.live))
        return self._one(column, setting.live)

    def _one(self, column: str, read: Callable[[object], T]) -> T | None:
        """None where the row says nothing, or nothing that can be used."""
        try:
            value = self._value(column)
            return None if value is None else read(value)
        except BadInput as e:
            self._complain(f"{e}: {column} is taken as not set")
            return None

    def _each(self, column: str, read: Callable[[object], T]) -> list[T]:
        """What of a list can be used."""
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
