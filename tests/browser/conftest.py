"""The browser of the tests in this folder."""

from collections.abc import Iterator

import pytest

from tests.browser.browsing import Browser, browser


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Comes first: without Chromium, no daemon is started."""
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
