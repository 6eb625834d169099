"""A plan of pools: shares, sizes by country and traffic, cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import BadInput
from daemon.maintenance.plan import SHARES, TRAFFIC, Demand, bytes_of, demands_of, plan_for, shares_of
from daemon.maintenance.sizing import ips_needed

ASKED = {"cooldown_s": 60.0, "fallback_percent": 1.0, "kb_per_trace": 40.0, "price_per_gb": None}


def test_shares_are_weights_and_countries_have_one_name() -> None:
    assert shares_of("us=60, GB=20,de=20.5") == {"us": 60, "uk": 20, "de": 20.5}


@pytest.mark.parametrize("text", ["", "us", "us=", "us=x", "us=-1", "us=0", "us=nan", "us=inf", "=5", "us=1,,de=2"])
def test_what_is_no_share_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="such as us=60"):
        shares_of(text)


def test_a_country_stands_there_once() -> None:
    with pytest.raises(BadInput, match="uk is given twice"):
        shares_of("uk=1,gb=2")
    with pytest.raises(BadInput, match="at most 300"):
        shares_of(",".join(f"c{n}=1" for n in range(301)))


def test_by_default_sixty_percent_are_american() -> None:
    found = plan_for(demands_of(300, 10, SHARES), **ASKED)  # type: ignore[arg-type]
    assert found.shares_percent == pytest.approx({"us": 60, "uk": 20, "ca": 20})
    assert [(one.country, round(one.clicks_per_minute)) for one in found.needs] == [("us", 180), ("uk", 60), ("ca", 60)]
    assert sum(one.mean_busy for one in found.needs) == pytest.approx(350)
    assert [one.ips for one in found.needs] == [ips_needed(210, 0.01), ips_needed(70, 0.01), ips_needed(70, 0.01)]


def test_the_levels_of_traffic_grow() -> None:
    found = plan_for(demands_of(300, 10, SHARES), **ASKED)  # type: ignore[arg-type]
    assert list(found.traffic) == list(TRAFFIC) == ["low", "medium", "high"]
    for country in SHARES:
        low, medium, high = (found.traffic[level][country] for level in TRAFFIC)
        assert low < medium < high
    assert found.traffic["medium"] == {one.country: one.ips for one in found.needs}, "300 clicks/min are medium"


def test_a_pool_is_sized_for_the_peak_and_paid_for_the_mean() -> None:
    found = plan_for([Demand("us", 600, 60, 10)], **{**ASKED, "price_per_gb": 5.0})  # type: ignore[arg-type]
    assert found.needs[0].mean_busy == pytest.approx(700)
    assert found.bytes.gb_per_day == pytest.approx(60 * 1440 * 40_000 / 1e9)


def test_a_gb_of_forty_kb_traces_carries_25000_of_them() -> None:
    found = bytes_of(300, 40, 3.0)
    assert found.traces_per_gb == pytest.approx(25_000)
    assert found.money_per_1000_clicks == pytest.approx(0.12)
    assert found.money_per_day == pytest.approx(300 * 1440 / 25_000 * 3)
    assert found.money_per_month == pytest.approx(30 * 300 * 1440 / 25_000 * 3)


def test_without_a_price_nothing_is_said_of_money_and_free_is_a_price() -> None:
    assert bytes_of(300, 40, None).money_per_day is None
    assert bytes_of(300, 40, 0.0).money_per_day == 0


@given(st.dictionaries(st.sampled_from(["us", "uk", "de", "fr"]), st.floats(0.1, 100), min_size=1), st.floats(1, 500))
def test_all_clicks_go_somewhere(shares: dict[str, float], rate: float) -> None:
    assert sum(demand.clicks_per_minute for demand in demands_of(rate, 5, shares)) == pytest.approx(rate)
