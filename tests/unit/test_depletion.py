"""When a pool runs dry at the rate of the last minute."""

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
        (counts(30), 1.0, 30),  # no IP becomes available before 60 s
        (counts(30, cooldown=30), 1.0, 60 * 30 / 30),
        (counts(40, cooldown=30), 1.0, None),  # lasts until the IPs leased now become available
        (counts(30, cooldown=60), 1.0, None),  # IPs become available as fast as they are leased
        (counts(30), 0.4, None),
        (counts(0, cooldown=3), 0.1, 0),
        (counts(0, cooldown=3), 0.0, None),
        (counts(5), 0.0, None),
    ],
)
def test_a_pool_runs_dry_if_leases_are_faster_than_ends_of_cooldown(
    pool: Counts, per_s: float, dry_s: float | None
) -> None:
    found = runs_dry_s(pool, per_s, 60)
    assert found == (None if dry_s is None or dry_s >= 60 else pytest.approx(dry_s))


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 20))
def test_the_time_equals_that_of_a_simulated_pool(available: int, resting: int, per_s: float) -> None:
    cooldown_s, free = 60.0, float(available)
    simulated: float | None = None
    for tenth in range(600):
        if free <= 0 and per_s:
            simulated = tenth / 10
            break
        free += resting / cooldown_s / 10 - per_s / 10
    found = runs_dry_s(counts(available, cooldown=resting), per_s, cooldown_s)
    if simulated is None:
        assert found is None or found > 59
    else:
        assert found == pytest.approx(simulated, abs=0.5)


def test_without_a_cooldown_no_pool_runs_dry() -> None:
    assert runs_dry_s(counts(3), 5.0, 0) is None


def test_a_rate_is_of_the_last_minute_and_unknown_in_the_first_second() -> None:
    rates = Rates()
    assert rates.per_s(0, {"us": 100}) == {}
    assert rates.per_s(0.5, {"us": 101}) == {}
    assert rates.per_s(10, {"us": 120, "uk": 5}) == {"us": 2.0, "uk": 0.5}
    for second in range(11, 200):
        found = rates.per_s(second, {"us": 120 + 3 * (second - 10)})
    assert found["us"] == pytest.approx(3.0, rel=0.02)
    assert rates.per_s(201, {"us": 0}) == {"us": 0.0}  # the counter of a restarted pool begins at 0


def test_an_empty_pool_is_dry_before_any_rate_is_known() -> None:
    assert depletion_of(counts(0, cooldown=1), None, 60).dry_in_s == 0
    assert depletion_of(counts(0), None, 60).dry_in_s is None
    assert depletion_of(counts(5), 0.5, 60).leases_per_minute == 30
