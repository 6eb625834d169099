"""The active offers in memory, by which clicks are answered. Pure; sql_sync.py keeps them current.

Operators edit rows by SQL, so every value of a row is checked. An offer without a name, an id or a usable tracking URL
is left out, and its clicks get 404. Any other bad value counts as not set; of a list, only the bad item is left out.
"""

import json
import unicodedata
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
AFTER_A_NAME = "/.,;:!?)]>\"' "
"""What follows a link in a text, and becomes a part of the offer's name at its end."""


@dataclass(frozen=True, slots=True)
class Target:
    """A tracking URL. `template` is None for a URL without macros."""

    url: str
    template: Template | None = None

    def of_click(self, inbound: Inbound, request_id: UUID) -> str:
        return self.url if self.template is None else self.template.expanded(inbound, request_id)


@dataclass(frozen=True, slots=True)
class Offer:
    """One row of `offers` as clicks use it.

    deadline_s, trace_backend, tracer: None: the setting click.deadline_s, trace.backend, trace.tracer.
    user_agent: default or visitor.
    landing_schemes: allowed schemes of the final URL beside http and https, such as market or intent.
    stop_at: the first Location on one of these hosts, or below one, ends a trace.
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
    cuts: tuple[float, ...] = ()

    def target(self, draw: float) -> Target:
        """Choose a target by `draw`, uniform in [0, 1)."""
        return self.targets[bisect_right(self.cuts, draw)]


# The settings that an Offer holds without conversion.
_PLAIN = [column for column in LIVE if column in Offer.__slots__]


@dataclass(frozen=True, slots=True)
class Complaint:
    """A sentence about a bad value. `usable`: the offer serves clicks all the same."""

    usable: bool
    sentence: str


class Offers:
    """The active offers by name, and by a name that differs in case or by what stands around a link in a text."""

    def __init__(self) -> None:
        self._by_name: dict[str, Offer] = {}
        self._by_folded: dict[str, Offer | None] = {}  # None: the folded name belongs to several offers

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Offer | None:
        """The offer of this name; else the only one whose name is the same but for case and punctuation behind it."""
        offer = self._by_name.get(name)
        if offer is not None or len(name) > values.NAME_CHARACTERS_MAX + 1:
            return offer
        folded = _folded(name)
        return self._by_folded.get(folded) or self._by_folded.get(folded.rstrip(AFTER_A_NAME))

    def known(self, key: str) -> Offer | None:
        """Find an offer by its id, else by its name. Takes linear time: not for clicks."""
        by_id = (offer for offer in self._by_name.values() if str(offer.id) == key.lower())
        return next(by_id, None) or self._by_name.get(key)

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> list[Complaint]:
        """Replace all offers by rows of `load_offers`, with jsonb as text. Returns a complaint for each bad value."""
        offers, complaints = {}, []
        for row in rows:
            reading = _Reading(row)
            offer = reading.offer()
            if offer is not None:
                offers[offer.name] = offer
            complaints += reading.complaints
        by_folded: dict[str, Offer | None] = {}
        for offer in offers.values():
            folded = _folded(offer.name)
            by_folded[folded] = None if folded in by_folded else offer
        self._by_name, self._by_folded = offers, by_folded
        return complaints


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip()).casefold()


class _Reading:
    """Converts one row to an Offer and collects the complaints."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        self.complaints: list[Complaint] = []

    def offer(self) -> Offer | None:
        name, offer_id = self._row.get("offer_name"), self._row.get("id")
        if not isinstance(name, str) or not name or not isinstance(offer_id, UUID):
            self._complain("it has no name or no id, so no click can name it", usable=False)
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
            param_rules=self._param_rules(),
            **{column: value for column in _PLAIN if (value := self._read(column)) is not None},
        )

    def _targets(self) -> tuple[tuple[Target, ...], tuple[float, ...]]:
        """`targets` and `cuts`; both are empty if the offer has no usable tracking URL."""
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
