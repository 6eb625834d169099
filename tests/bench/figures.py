"""A benchmark's result: figures, each with a target and a reference from the same run. Pure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `measured`, `reference` and `target` have the same `unit`.

    `at_least`: the target is a minimum, else a maximum. `beside` describes the reference, or says why there is none.
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
    """The smallest value that is not exceeded by at least this share of the values; NaN if there are none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def shown(value: float, unit: str) -> str:
    """The value with three or four significant digits and its unit."""
    if math.isnan(value):
        return "none"
    digits = 0 if abs(value) >= 1_000 or not value else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()
