"""The corpus itself, and whether Chromium still lands where its files say."""

from pathlib import Path

import pytest

from tests.pages.chromium import judge_all
from tests.pages.corpus import corpus
from tests.support.needs import need, program_path

PAGES = corpus()


def test_the_corpus_has_many_pages_and_each_says_where_a_browser_lands() -> None:
    assert len(PAGES) >= 200
    assert [page.name for page in PAGES if page.told is None] == []


@pytest.mark.slow
@pytest.mark.browser
async def test_chromium_lands_where_the_files_say(tmp_path: Path) -> None:
    program = program_path("chromium-headless-shell") or need("chromium")
    judged = await judge_all(program, tmp_path, PAGES)
    assert judged == {page.name: page.told for page in PAGES}
