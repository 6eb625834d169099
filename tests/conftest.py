"""Settings for every test: errors in its log, its markers, and whether coverage measures it."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.logged_errors import expected_errors
from tests.support.state_dirs import remove_model

__all__ = ["expected_errors"]
TESTS = Path(__file__).parent
MARKERS = ("slow", "root", "browser")
MEASURED = {"unit", "actors"}
"""The tiers in which `--cov` measures: they call the code directly, without processes and waits."""
LONGEST_FIRST = (
    "faults/test_faults.py", "acceptance/", "browser/", "pages/", "integration/", "faults/", "sim/",
    "actors/test_balancer.py", "actors/test_prober.py", "unit/test_pool_overload.py", "unit/test_linear_time.py",
)  # fmt: skip
"""The order in which the workers of pytest-xdist take the files. Quick files come last, so the workers end together."""

# In a clean checkout Hypothesis's first text takes seconds: it writes tables of Unicode's characters to .hypothesis.
settings.register_profile("tracepool", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tracepool")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier == "acceptance":  # most of its tests start a daemon
            item.add_marker("slow")
        if config.pluginmanager.hasplugin("_cov") and (tier not in MEASURED or item.get_closest_marker("slow")):
            item.add_marker("no_cover")
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    path = item.path.relative_to(TESTS).as_posix()
    return next((at for at, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST))


def pytest_unconfigure() -> None:
    remove_model()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


class _LeftOut:
    """Prints at the end of a run how many tests `-m` left out, and the command that runs them.

    With pytest-xdist each worker leaves the same tests out, and the main process prints the line.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._counts: Counter[str] = Counter()

    @pytest.hookimpl
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        if self._config.option.markexpr:
            self._counts.update(mark for item in items for mark in MARKERS if item.get_closest_marker(mark))

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["left_out"] = dict(self._counts)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._counts |= Counter(getattr(node, "workeroutput", {}).get("left_out", {}))

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._counts:
            counts = ", ".join(f"{count} {mark}" for mark, count in self._counts.items())
            terminalreporter.write_line(f"Left out: {counts}. They run by: pytest -m '{' or '.join(self._counts)}'")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_LeftOut(config), "left-out")
