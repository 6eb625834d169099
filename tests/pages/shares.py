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
    landing = traced.landing
    assert page.told is not None, page.path
    last = traced.kinds[-1] if traced.kinds else ""
    is_on_the_way = landing is not None and landing.lands in page.answers
    if landing is not None and page.stays and is_on_the_way and page.agrees(landing):
        return "doubts" if last == "script_unresolved" else "stays"
    if is_on_the_way and not page.stays and last in ("script_unresolved", "final"):
        return "unresolved" if last == "script_unresolved" else "missed"
    return "lands" if page.agrees(landing) else "wrong"
