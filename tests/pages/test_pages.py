"""Where tracepool lands with the pages of the corpus, and whether Chromium still lands where their files say."""

from collections import Counter
from pathlib import Path

import pytest

from tests.pages.chromium import judge_all
from tests.pages.corpus import corpus
from tests.pages.landing import trace_all
from tests.pages.shares import outcome_of
from tests.support.needs import need, program_path

PAGES = corpus()


def test_the_corpus_has_many_pages_and_each_says_where_a_browser_lands() -> None:
    assert len(PAGES) >= 400
    assert [page.name for page in PAGES if page.told is None] == []


async def test_tracepool_lands_where_a_browser_does_or_says_that_it_cannot_tell() -> None:
    found = await trace_all(PAGES)
    outcomes = {page.name: outcome_of(page, found[page.name]) for page in PAGES}
    elsewhere = [page for page in PAGES if outcomes[page.name] in ("wrong", "missed")]
    assert [found[page.name] for page in elsewhere if not page.agrees(found[page.name].landing)] == []
    counts = Counter(outcomes.values())
    assert counts["lands"] >= 0.9 * (counts["lands"] + counts["unresolved"] + counts["missed"])
    assert counts["stays"] >= 0.9 * (counts["stays"] + counts["doubts"])


@pytest.mark.slow
@pytest.mark.browser
async def test_chromium_lands_where_the_files_say(tmp_path: Path) -> None:
    program = program_path("chromium-headless-shell") or need("chromium")
    judged = await judge_all(program, tmp_path, PAGES)
    assert [f"{page.name}: {judged[page.name]}" for page in PAGES if not page.agrees(judged[page.name])] == []
