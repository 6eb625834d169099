"""When a pool runs dry at the last minute's rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.depletion import Rates, depletion_of, runs_dry_s
from daemon.pool.messages import Counts


def counts(available: int, *, locked: int = 0, cooldown: int = 0) -> Counts:
    return Counts(available + locked + cooldown, available, locked, cooldown, 0, 0)


@pytest.mark.parametrize(
    ("pool", "per_s", "dry_s"),
    [
        (counts(30), 1.0, 30),  # nothing comes back before 60 s have passed
        (counts(30, cooldown=30), 1.0, 60 * 30 / 30),
        (counts(40, cooldown=30), 1.0, None),  # it lasts until what is leased now comes back
        (counts(30, cooldown=60), 1.0, None),  # as many come back as go
        (counts(30), 0.4, None),
        (counts(0, cooldown=3), 0.1, 0),
        (counts(0, cooldown=3), 0.0, None),
        (counts(5), 0.0, None),
    ],
)
def test_a_pool_runs_dry_where_more_is_leased_than_rests_end(pool: Counts, per_s: float, dry_s: float | None) -> None:
    found = runs_dry_s(pool, per_s, 60)
    assert found == (None if dry_s is None or dry_s >= 60 else pytest.approx(dry_s))


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 20))
def test_it_is_dry_when_a_pool_that_is_played_through_is_dry(available: int, resting: int, per_s: float) -> None:
    cooldown_s, free = 60.0, float(available)
    played: float | None = None
    for tenth in range(600):
        if free <= 0 and per_s:
            played = tenth / 10
            break
        free += resting / cooldown_s / 10 - per_s / 10
    found = runs_dry_s(counts(available, cooldown=resting), per_s, cooldown_s)
    if played is None:
        assert found is None or found > 59
    else:
        assert found == pytest.approx(played, abs=0.5)


def test_without_a_cooldown_nothing_is_known_to_run_dry() -> None:
    assert runs_dry_s(counts(3), 5.0, 0) is None


def test_a_rate_is_of_the_last_minute_and_unknown_in_the_first_second() -> None:
    rates = Rates()
    assert rates.per_s(0, {"us": 100}) == {}
    assert rates.per_s(0.5, {"us": 101}) == {}
    assert rates.per_s(10, {"us": 120, "uk": 5}) == {"us": 2.0, "uk": 0.5}
    for second in range(11, 200):
        found = rates.per_s(second, {"us": 120 + 3 * (second - 10)})
    assert found["us"] == pytest.approx(3.0, rel=0.02)
    assert rates.per_s(201, {"us": 0}) == {"us": 0.0}  # a pool that starts over counts from 0


def test_an_empty_pool_is_dry_before_any_rate_is_known() -> None:
    assert depletion_of(counts(0, cooldown=1), None, 60).dry_in_s == 0
    assert depletion_of(counts(0), None, 60).dry_in_s is None
    assert depletion_of(counts(5), 0.5, 60).leases_per_minute == 30
