"""How many batch traces may start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.pool.messages import Counts
from daemon.trace.batch import room

FEW = st.integers(0, 200)


@pytest.mark.parametrize(
    ("available", "locked", "cooldown", "failed", "beginning", "expected"),
    [
        (10, 0, 0, 0, 0, 5),  # the sixth would be at 60%
        (10, 0, 0, 5, 0, 5),
        (5, 2, 3, 0, 0, 0),
        (7, 1, 2, 0, 0, 2),
        (7, 1, 2, 0, 2, 0),
        (1, 0, 0, 0, 0, 0),  # one of one is all of them
        (0, 0, 0, 9, 0, 0),
    ],
)
def test_the_utilisation_stays_below_its_bound(
    available: int, locked: int, cooldown: int, failed: int, beginning: int, expected: int
) -> None:
    counts = Counts(available + locked + cooldown + failed, available, locked, cooldown, failed, 0)
    assert room(counts, beginning, 60) == expected


def test_none_starts_while_a_click_waits() -> None:
    assert room(Counts(10, 10, 0, 0, 0, waiting=1), 0, 60) == 0


@given(FEW, FEW, FEW, FEW, FEW, st.floats(0, 100))
def test_no_more_start_than_are_available_or_than_the_bound_allows(
    available: int, locked: int, cooldown: int, failed: int, beginning: int, percent: float
) -> None:
    counts = Counts(available + locked + cooldown + failed, available, locked, cooldown, failed, 0)
    more = room(counts, beginning, percent)
    assert 0 <= more <= available
    if more:
        healthy = available + locked + cooldown
        assert 100 * (locked + cooldown + beginning + more) < percent * healthy + 1e-6
