"""Pool sizes: Erlang's tables, Little's law, and properties for any load."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.maintenance.sizing import ips_needed, ips_within, mean_busy, need, none_free

LOADS = st.floats(0.01, 500)
CHANCES = st.floats(0.0001, 0.9)


def by_the_formula(ips: int, load: float) -> float:
    """B(n, a) = (a^n / n!) / Σ a^k / k!, as in textbooks."""
    terms = [math.exp(k * math.log(load) - math.lgamma(k + 1)) for k in range(ips + 1)]
    return terms[-1] / math.fsum(terms)


@pytest.mark.parametrize(
    ("ips", "load", "chance"),
    [(1, 1, 0.5), (2, 1, 0.2), (3, 2, 4 / 19), (5, 3, 0.110054), (10, 5, 0.018385), (20, 12, 0.009796)],
)
def test_erlangs_loss_formula_gives_its_known_values(ips: int, load: float, chance: float) -> None:
    assert none_free(ips, load) == pytest.approx(chance, abs=1e-6)


# From printed traffic tables: the load in erlangs that n lines carry at 1% loss.
@pytest.mark.parametrize(
    ("ips", "load"), [(1, 0.0101), (2, 0.153), (5, 1.36), (10, 4.46), (20, 12.03), (50, 37.90), (100, 84.06)]
)
def test_as_many_are_needed_as_the_traffic_tables_say(ips: int, load: float) -> None:
    assert none_free(ips, load) == pytest.approx(0.01, rel=0.01)
    assert ips_needed(load * 0.99, 0.01) == ips
    assert ips_needed(load * 1.01, 0.01) == ips + 1


@given(st.integers(0, 150), st.floats(0.05, 120))
def test_the_recursion_agrees_with_the_formula(ips: int, load: float) -> None:
    assert none_free(ips, load) == pytest.approx(by_the_formula(ips, load), rel=1e-9, abs=1e-300)


@given(LOADS, CHANCES)
def test_needed_is_the_fewest_that_will_do(load: float, chance: float) -> None:
    ips = ips_needed(load, chance)
    assert none_free(ips, load) <= chance * (1 + 1e-9)
    assert none_free(ips - 1, load) > chance * (1 - 1e-9)


@given(LOADS, st.floats(1, 2), CHANCES)
def test_more_load_never_needs_fewer(load: float, times: float, chance: float) -> None:
    assert ips_needed(load * times, chance) >= ips_needed(load, chance)


@given(LOADS, CHANCES, st.floats(1, 5))
def test_a_stricter_promise_never_needs_fewer(load: float, chance: float, times: float) -> None:
    assert ips_needed(load, chance / times) >= ips_needed(load, chance)


@given(LOADS, st.integers(1, 700))
def test_one_more_ip_is_found_free_more_often(load: float, ips: int) -> None:
    assert 0 <= none_free(ips, load) <= none_free(ips - 1, load) <= 1


def test_huge_pools_neither_overflow_nor_take_long() -> None:
    assert none_free(100_000, 1) == 0.0
    assert none_free(1, 1e12) == pytest.approx(1.0)
    assert 99_000 < ips_needed(100_000, 0.01) < 101_000


def test_without_clicks_none_is_needed() -> None:
    assert need("us", 0, 10, 60, 1).ips == 0
    assert none_free(5, 0) == 0.0


def test_three_hundred_clicks_a_minute_of_ten_seconds_keep_350_ips_busy() -> None:
    assert mean_busy(300, 10, 60) == pytest.approx(350)
    found = need("us", 300, 10, 60, 1)
    assert found.mean_busy == pytest.approx(350)
    assert none_free(found.ips, 350) <= 0.01 < none_free(found.ips - 1, 350)
    assert found.in_use_percent == pytest.approx(100 * 350 * (1 - found.none_free_percent / 100) / found.ips)
    assert found.ips_in_band == 438 == ips_within(350, 80)


@given(st.floats(0.1, 600), st.floats(0.1, 60), st.floats(0, 120), st.floats(0.01, 50))
def test_a_need_keeps_its_promises(clicks_per_minute: float, trace_s: float, cooldown_s: float, lost: float) -> None:
    found = need("us", clicks_per_minute, trace_s, cooldown_s, lost)
    assert found.none_free_percent <= lost * (1 + 1e-9)
    assert found.in_use_percent <= 100
    assert found.ips_in_band >= found.ips
    assert found.mean_busy <= 0.8 * found.ips_in_band * (1 + 1e-9)
