"""What holds for every test: an unexpected error in the log fails it; coverage is measured where that costs little."""

from pathlib import Path

import pytest

from tests.support.logged_errors import expected_errors

__all__ = ["expected_errors"]
TESTS = Path(__file__).parent
MEASURED = {"unit", "actors"}
"""The tiers in which `--cov` measures: they call the code itself, without processes, and wait for nothing."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("_cov"):
        return
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier not in MEASURED or item.get_closest_marker("slow"):
            item.add_marker("no_cover")
