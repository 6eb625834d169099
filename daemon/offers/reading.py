"""Reads the columns of one row of `offers`, with a complaint for each value that is not usable. Pure.

Operators edit rows by SQL, so every value is checked. A bad value counts as not set; of a list, only the bad item is
left out.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from daemon.errors import BadInput
from daemon.offers import values
from daemon.offers.schema import JSON_COLUMNS, SETTINGS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A sentence about a bad value. `usable`: the offer serves clicks all the same."""

    usable: bool
    sentence: str


class RowReading:
    """`row`: of `load_offers`, with jsonb as text."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.complaints: list[Complaint] = []

    def read(self, column: str) -> Any:
        """The usable part of a setting. None: not set, or not usable."""
        setting = SETTINGS[column]
        assert setting.live is not None, column
        if setting.sql == "text[]":
            return frozenset(self.each(column, setting.live))
        return self.one(column, setting.live)

    def one(self, column: str, read: Callable[[object], T]) -> T | None:
        """The checked value of a column. None: null, or not usable."""
        try:
            value = self._value(column)
            return None if value is None else read(value)
        except BadInput as e:
            self.complain(f"{e}: {column} is taken as not set")
            return None

    def each(self, column: str, read: Callable[[object], T]) -> list[T]:
        """The usable items of a list."""
        return self.good(self.one(column, values.list_in) or (), read)

    def good(self, items: Iterable[object], read: Callable[[object], T]) -> list[T]:
        good = []
        for item in items:
            try:
                good.append(read(item))
            except BadInput as e:
                self.complain(f"{e}: it is left out")
        return good

    def _value(self, column: str) -> object:
        value = self.row.get(column)
        if column not in JSON_COLUMNS or not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise BadInput(f"{column} is no JSON") from None

    def complain(self, why: str, *, usable: bool = True) -> None:
        self.complaints.append(Complaint(usable, f"offer {self.row.get('offer_name')!r}: {why}"))
