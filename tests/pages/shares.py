"""Compares where tracepool lands with where Chromium lands."""

from tests.pages.corpus import JumpPage
from tests.pages.landing import Traced

OUTCOMES = {
    "lands": "Chromium leaves the page; tracepool lands at the same URL",
    "unresolved": "Chromium leaves the page; tracepool lands at a page on the way, and says script_unresolved",
    "missed": "Chromium leaves the page; tracepool lands at a page on the way, and says final",
    "stays": "Chromium stays; tracepool lands there, and says final",
    "doubts": "Chromium stays; tracepool lands there, and says script_unresolved",
    "wrong": "tracepool lands at another URL, sends another request, or gives up",
}


def outcome_of(page: JumpPage, traced: Traced) -> str:
    """One of OUTCOMES."""
    told, landing = page.told, traced.landing
    assert told is not None, page.path
    last = traced.kinds[-1] if traced.kinds else ""
    if landing is None:
        return "wrong"
    if landing == told or landing.lands in page.or_lands:
        if last == "script_unresolved":
            return "doubts" if page.stays else "unresolved"
        return "stays" if page.stays else "lands"
    if not page.stays and landing.lands in page.answers and not landing.sent:
        return {"script_unresolved": "unresolved", "final": "missed"}.get(last, "wrong")
    return "wrong"
