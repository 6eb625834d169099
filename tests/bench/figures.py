"""What a benchmark gives: figures, each with its target and what was measured beside it in the same run. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `unit` is that of `measured`, `reference` and `target` alike.

    `at_least`: the target is a floor, else a ceiling. Without a target the figure is there to be known.
    `beside` says what the reference is, or why there is none.
    """

    name: str
    measured: float
    unit: str
    target: float | None = None
    at_least: bool = False
    reference: float | None = None
    beside: str = ""
    note: str = ""

    @property
    def ok(self) -> bool | None:
        if self.target is None:
            return None
        return self.measured >= self.target if self.at_least else self.measured <= self.target

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def shown(value: float, unit: str) -> str:
    """Three or four digits that matter, with the unit."""
    if math.isnan(value):
        return "none"
    digits = 0 if abs(value) >= 1_000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()
