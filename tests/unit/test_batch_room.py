"""How many batch traces may start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.pool.messages import Counts, Elsewhere
from daemon.trace.batch_queue import room

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


def of_ips(available: int, locked: int = 0, waiting: int = 0) -> Counts:
    return Counts(available + locked, available, locked, 0, 0, waiting)


@pytest.mark.parametrize(
    ("here", "elsewhere", "expected"),
    [
        (of_ips(50), Elsewhere(of_ips(0, locked=50)), 9),  # 59 of 100 would be in use
        (of_ips(50), Elsewhere(of_ips(0, locked=70)), 1),
        (of_ips(3, locked=7), Elsewhere(of_ips(90)), 0),  # its own clicks would wait
        (of_ips(10), Elsewhere(of_ips(9, locked=1, waiting=1)), 0),
        (of_ips(1), Elsewhere(of_ips(2), before=0), 1),  # of three IPs one may be in use, whichever node has it
        (of_ips(1), Elsewhere(of_ips(2), before=1), 0),
        (of_ips(1), Elsewhere(of_ips(1, locked=1), before=0), 0),
        (of_ips(0), Elsewhere(of_ips(9), before=0), 0),
    ],
)
def test_the_bound_holds_for_all_nodes_together(here: Counts, elsewhere: Elsewhere, expected: int) -> None:
    assert room(here, 0, 60, elsewhere) == expected


def test_a_background_click_is_traced_by_the_only_ip_while_no_click_has_it() -> None:
    assert room(of_ips(1), 0, 80, least=1) == 1
    assert room(of_ips(1), 1, 80, least=1) == 0, "it begins already"
    assert room(of_ips(1, waiting=1), 0, 80, least=1) == 0
    assert room(of_ips(1), 0, 80, Elsewhere(of_ips(0, locked=1)), least=1) == 0
    assert room(of_ips(1), 0, 80, Elsewhere(of_ips(0)), least=1) == 1
    assert room(of_ips(0), 0, 80, least=1) == 0
    assert room(of_ips(9), 0, 80, least=1) == 7
