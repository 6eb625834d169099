"""Where tracepool lands with the pages of the corpus, and whether Chromium still lands where their files say."""

from collections import Counter
from pathlib import Path

import pytest

from tests.pages.chromium import judge_all
from tests.pages.corpus import corpus
from tests.pages.landing import Traced, trace_all
from tests.pages.shares import outcome_of
from tests.support.tracers import browser_or_skip

PAGES = corpus()


def test_the_corpus_has_many_pages_and_each_says_where_a_browser_lands() -> None:
    assert len(PAGES) >= 400
    assert [page.name for page in PAGES if page.told is None] == []


def counted(found: dict[str, Traced]) -> Counter[str]:
    """The number of pages of each outcome. None of them may land elsewhere."""
    outcomes = {page.name: outcome_of(page, found[page.name]) for page in PAGES}
    elsewhere = [page for page in PAGES if outcomes[page.name] in ("wrong", "missed")]
    assert [(page.name, found[page.name]) for page in elsewhere if not page.agrees(found[page.name].landing)] == []
    return Counter(outcomes.values())


async def test_the_engine_lands_where_a_browser_does_or_says_that_it_cannot_tell() -> None:
    counts = counted(await trace_all(PAGES))
    assert counts["lands"] >= 0.9 * (counts["lands"] + counts["unresolved"] + counts["missed"])
    assert counts["stays"] >= 0.9 * (counts["stays"] + counts["doubts"])


@pytest.mark.slow
@pytest.mark.browser
async def test_the_browser_lands_where_the_engine_cannot_tell() -> None:
    browser_or_skip()
    counts = counted(await trace_all(PAGES, "auto"))
    assert counts["lands"] >= 0.99 * (counts["lands"] + counts["unresolved"] + counts["missed"])
    assert counts["doubts"] == 0


@pytest.mark.slow
@pytest.mark.browser
async def test_the_browser_stays_where_a_page_waits_longer_than_the_bound() -> None:
    browser_or_skip()
    waiting = [page for page in PAGES if page.stays and page.kind in ("countdowns", "refreshes", "timers")]
    found = await trace_all(waiting, "browser")
    assert [page.name for page in waiting if outcome_of(page, found[page.name]) != "stays"] == []


@pytest.mark.slow
@pytest.mark.browser
async def test_chromium_lands_where_the_files_say(tmp_path: Path) -> None:
    judged = await judge_all(browser_or_skip(), tmp_path, PAGES)
    assert [f"{page.name}: {judged[page.name]}" for page in PAGES if not page.agrees(judged[page.name])] == []
