"""The dates of cookies, read by the algorithm of RFC 6265, 5.1.1, which browsers implement. Pure.

The algorithm accepts many texts that are no HTTP-date, such as `Fri, 31/Dec/1999 23:59:59`. It takes the first time,
day of the month, month and year among the text's tokens, in any order, and ignores the rest.
"""

import re
from datetime import UTC, datetime

_TOKEN = re.compile(r"[^\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])", re.ASCII)
_DAY = re.compile(r"([0-9]{1,2})(?![0-9])", re.ASCII)
_MONTH = re.compile(r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.I | re.ASCII)
_YEAR = re.compile(r"([0-9]{2,4})(?![0-9])", re.ASCII)
_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_YEAR_MIN = 1601


def cookie_date(text: str) -> float | None:
    """Seconds since 1970, or None if the text is no date."""
    patterns = {"time": _TIME, "day": _DAY, "month": _MONTH, "year": _YEAR}  # in the order in which a token is tried
    found: dict[str, re.Match[str]] = {}
    for token in _TOKEN.findall(text):
        for part, pattern in patterns.items():
            if part not in found and (match := pattern.match(token)) is not None:
                found[part] = match
                break
    if len(found) < len(patterns):
        return None
    year = int(found["year"][1])
    year += 1900 if 70 <= year <= 99 else 2000 if year <= 69 else 0
    month = _MONTHS.index(found["month"][1].lower()) // 3 + 1
    hour, minute, second = map(int, found["time"].groups())
    if year < _YEAR_MIN:
        return None
    try:
        return datetime(year, month, int(found["day"][1]), hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:  # no such day or time
        return None
