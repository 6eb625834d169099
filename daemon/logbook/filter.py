"""Filters of log lines. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.errors import BadInput
from daemon.logbook.parse import Line

OUTCOMES = ("resolved", "fallback", "left", "refused")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])")


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a line must all meet; None is no condition. `request` may be the beginning of an id."""

    outcome: str | None = None
    offer: str | None = None
    ip: str | None = None
    request: str | None = None
    since_s: float | None = None
    node: str | None = None

    def __post_init__(self) -> None:
        if self.outcome is not None and self.outcome not in OUTCOMES:
            raise BadInput(f"--outcome is {self.outcome!r}; allowed: {', '.join(OUTCOMES)}")

    def wanted(self) -> Callable[[Line], bool]:
        """A predicate, to be called for each line in order: a line without a time counts as the line before it."""
        was_in_time = self.since_s is None

        def wants(line: Line) -> bool:
            nonlocal was_in_time
            if self.since_s is not None and line.at_s is not None:
                was_in_time = line.at_s >= self.since_s
            return was_in_time and self._meets(line)

        return wants

    def _meets(self, line: Line) -> bool:
        fields = line.fields
        return (
            (self.outcome is None or _outcome(fields) == self.outcome)
            and (self.offer is None or fields.get("offer") == self.offer)
            and (self.ip is None or any(_is_ip(self.ip, named) for named in _ips(fields)))
            and (self.node is None or fields.get("node") == self.node)
            and (self.request is None or _id(fields.get("request_id")).startswith(_id(self.request)))
        )


def _outcome(fields: Any) -> object:
    return "refused" if fields.get("event") == "click_refused" else fields.get("outcome")


def _ips(fields: Any) -> list[str]:
    several = fields.get("ips")
    named = [fields.get("ip"), *(several if isinstance(several, list) else ())]
    return [ip for ip in named if isinstance(ip, str)]


def _is_ip(wanted: str, named: str) -> bool:
    """Whether the addresses are equal; one of them may lack the port."""
    wanted, named = (text.replace("[", "").replace("]", "") for text in (wanted, named))  # those of IPv6 addresses
    return wanted == named or wanted == named.rpartition(":")[0] or wanted.rpartition(":")[0] == named


def _id(value: object) -> str:
    return str(value or "").replace("-", "").lower()


def since_of(text: str, now: datetime, option: str = "--since") -> float:
    """`10m` before `now`, or a time in ISO 8601, by default in the zone of `now`. Raises BadInput about `option`."""
    if span := _SPAN.fullmatch(text.strip()):
        return now.timestamp() - float(span[1]) * SECONDS[span[2]]
    try:
        instant = datetime.fromisoformat(text.strip())
        return (instant if instant.tzinfo else instant.replace(tzinfo=now.tzinfo)).timestamp()
    except (ValueError, OverflowError):
        raise BadInput(f"{option} is {text!r}: give a span such as 90s, 10m, 2h or 1d, or a time such as "
                       f"{now.isoformat(timespec='minutes')}") from None  # fmt: skip
