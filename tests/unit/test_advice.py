"""Every rule of advice: its condition, its text, and no advice without data."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.maintenance.advice import RULES, advise
from daemon.maintenance.figures import (
    POOL,
    Advice,
    Evidence,
    Faults,
    Figures,
    Landings,
    Peak,
    RecentDemand,
    Sample,
    Severity,
    Slots,
    Suspect,
    Traffic,
    Use,
    counted,
)
from daemon.maintenance.tally import LastMinute
from daemon.nodes.figures import FallenOffer
from daemon.pool.messages import Counts

NOW_S = 1_700_000_000.0
US = Counts(total=40, available=30, locked=2, cooldown=8, failed=0, waiting=0)


def figures(**changes: Any) -> Figures:
    """Figures that meet no rule. `evidence` may be a dict of fields that differ."""
    changes = dict(changes)
    evidence = Evidence(**changes.pop("evidence", {}))
    return replace(Figures(NOW_S, countries={"us": US}, evidence=evidence), **changes)


def used(percent: float, healthy: int = 40) -> Use:
    return Use(percent, round(healthy * percent / 100), healthy)


def minutes(*percents: float, country: str = "us", spacing_s: float = 60.0) -> tuple[Sample, ...]:
    """A sample for each value, the newest first and five seconds old."""
    return tuple(
        Sample(NOW_S - 5 - spacing_s * age, used(percent), {} if country == POOL else {country: used(percent)})
        for age, percent in enumerate(percents)
    )


def only(given: Figures) -> Advice:
    [advice] = advise(given)
    assert advice.code in RULES
    return advice


def codes(given: Figures) -> list[str]:
    return [advice.code for advice in advise(given)]


def test_nothing_is_advised_on_nothing() -> None:
    assert advise(Figures(NOW_S)) == ()
    assert advise(figures()) == ()


# utilisation


def test_five_full_minutes_of_ten_ask_for_more_ips_and_say_how_many() -> None:
    slots = {"us": Slots("luna", highest=40)}
    advice = only(figures(evidence={"samples": minutes(90, 85, 90, 81, 95, 20, 20), "slots": slots}))
    assert (advice.code, advice.about, advice.severity) == ("utilisation_high", "us", Severity.CRITICAL)
    assert advice.numbers["minutes_above"] == 5
    assert advice.numbers["utilisation_percent_max"] == 95
    assert advice.numbers["ips_to_add"] == 19  # 38 of 40 are busy, and 65% of 59
    assert "add 19 IPs" in advice.sentence
    assert advice.rule == "utilisation above 80% for 5 of the last 10 minutes"
    assert advice.command == "tracepool provision generate --country us --count 59 --provider luna"


@pytest.mark.parametrize(
    "percents",
    [(90, 90, 90, 90), (80, 80, 80, 80, 80, 80), (90, 20) * 4, (20,) * 10 + (90,) * 5],
    ids=["four minutes", "just eighty", "every other minute but four in all", "longer ago"],
)
def test_less_than_five_minutes_above_eighty_is_no_advice(percents: tuple[float, ...]) -> None:
    assert codes(figures(evidence={"samples": minutes(*percents)})) == []


def test_the_minutes_need_not_follow_each_other() -> None:
    assert codes(figures(evidence={"samples": minutes(*(90, 20) * 5)})) == ["utilisation_high"]


def test_five_samples_within_one_minute_are_one_minute() -> None:
    assert codes(figures(evidence={"samples": minutes(*[90] * 30, spacing_s=2)})) == []


def test_a_longer_interval_between_samples_still_makes_ten_minutes() -> None:
    samples = minutes(90, 90, spacing_s=300)
    assert codes(figures(interval_s=300.0, evidence={"samples": samples})) == ["utilisation_high"]
    assert codes(figures(interval_s=60.0, evidence={"samples": samples})) == []


def test_a_sample_of_the_future_says_nothing() -> None:
    late = tuple(replace(sample, recorded_s=sample.recorded_s + 3600) for sample in minutes(*[90] * 10))
    assert codes(figures(evidence={"samples": late})) == []


def test_rows_that_do_not_tell_countries_apart_speak_for_the_pool() -> None:
    advice = only(figures(evidence={"samples": minutes(*[85] * 6, country=POOL)}))
    assert (advice.about, advice.severity) == (POOL, Severity.WARNING)
    assert advice.command == "tracepool provision import ips.csv"
    assert advice.sentence.startswith("The pool of all countries has been more than 80% in use")


def test_a_full_country_is_named_and_the_pool_is_not_named_beside_it() -> None:
    both = tuple(replace(s, countries={"us": used(90), "uk": used(10)}) for s in minutes(*[90] * 6))
    assert [advice.about for advice in advise(figures(evidence={"samples": both}))] == ["us"]


def test_demand_beyond_the_pool_counts_as_well() -> None:
    """The number of busy IPs never exceeds the size of the pool, but the demand may."""
    evidence = {"samples": minutes(*[100] * 6), "demands": {"us": RecentDemand(per_minute=120, trace_s=10)}}
    assert only(figures(evidence=evidence)).numbers["ips_to_add"] == 216 - 40  # 140 erlangs are 65% of 216


@given(st.integers(1, 400), st.integers(0, 400), st.floats(0, 300), st.floats(0.1, 30))
def test_with_the_ips_added_the_pool_is_in_its_band(healthy: int, busy: int, per_minute: float, trace_s: float) -> None:
    busy = min(busy, healthy)
    full = Use(100.0, busy, healthy)
    samples = tuple(replace(s, countries={"us": full}, pool=full) for s in minutes(*[90] * 6))
    counts = replace(US, total=healthy, available=healthy)
    evidence = {"samples": samples, "demands": {"us": RecentDemand(per_minute, trace_s)}}
    advice = only(figures(countries={"us": counts}, evidence=evidence))
    after = healthy + advice.numbers["ips_to_add"]
    load = max(busy, per_minute / 60 * (trace_s + 60))
    assert advice.numbers["ips_to_add"] >= 1
    assert load / after <= 0.8


@given(st.lists(st.floats(0, 100), max_size=12), st.data())
def test_a_fuller_minute_never_takes_advice_away(percents: list[float], data: st.DataObject) -> None:
    fuller = [data.draw(st.floats(percent, 100)) for percent in percents]
    before = codes(figures(evidence={"samples": minutes(*percents)}))
    assert set(before) <= set(codes(figures(evidence={"samples": minutes(*fuller)})))


# fallbacks


def clicked(clicks: int, **fallbacks: int) -> LastMinute:
    return LastMinute(clicks, clicks - sum(fallbacks.values()), fallbacks, 100.0, 200.0)


def test_more_than_a_tenth_of_fallbacks_is_told_with_the_main_reason() -> None:
    advice = only(figures(clicks=clicked(100, no_ip=9, deadline=2)))
    assert (advice.code, advice.severity) == ("fallbacks_high", Severity.WARNING)
    assert advice.sentence == (
        "11 of the last minute's 100 clicks (11%) fell back, most of them because no IP became available in time."
    )
    assert advice.numbers["fallbacks_deadline"] == 2
    assert advice.command == "tracepool plan --from-history"


def test_a_tenth_is_not_more_than_a_tenth() -> None:
    assert codes(figures(clicks=clicked(100, no_ip=10))) == []
    assert codes(figures(clicks=clicked(0))) == []


def test_half_of_all_is_critical_and_a_few_clicks_are_worth_a_mention_only() -> None:
    assert only(figures(clicks=clicked(100, trace_failed=51))).severity is Severity.CRITICAL
    assert only(figures(clicks=clicked(3, trace_failed=3))).severity is Severity.INFO


def test_one_of_something_is_said_as_one() -> None:
    few = replace(US, available=1, locked=0, cooldown=39)
    one = clicked(1, trace_failed=1)
    fallen = replace(one, fallbacks_by_offer=(FallenOffer("sale", "us", 1),))
    sentences = [
        only(given).sentence
        for given in (
            figures(clicks=fallen),
            figures(countries={"us": few}, active={"us": 2}),
            figures(countries={"us": replace(few, available=0, cooldown=40)}, active={"us": 1}),
            figures(countries={"us": Counts(1, 0, 0, 0, 1, 0)}, out={"us": {"luna": (1, 0)}}),
            figures(evidence={"set_aside": 1}),
            figures(refusals={"luna": 1}, evidence={"refused_in": {"luna": "us"}}),
        )
    ]
    assert sentences == [
        "The only click of the last minute fell back, because their traces failed, with the offer sale (us).",
        "2 traces are active in us, and 1 of its IPs is available: the next clicks may have to wait. Add 20 IPs.",
        "1 trace is active in us, and 0 of its IPs are available: the next clicks may have to wait. Add 22 IPs.",
        "The only IP of us is out (provider luna): failed, so it gets no clicks.",
        "1 row of ip_rotation_pool is set aside and never leased; the column set_aside says why: give each an endpoint"
        " of its own by UPDATE, or delete it.",
        "The proxies of luna refused the login 1 time in the last hour, in us: correct its username and password.",
    ]
    assert [counted(n, "day") for n in (1.0, 1.5, 0)] == ["1 day", "1.5 days", "0 days"]


def test_a_reason_that_is_new_is_named_as_it_is() -> None:
    assert "because cosmic_rays" in only(figures(clicks=clicked(10, cosmic_rays=5))).sentence


# active traces and available IPs


def test_more_active_traces_than_available_ips_are_told() -> None:
    counts = replace(US, available=5, locked=6, cooldown=29, waiting=0)
    advice = only(figures(countries={"us": counts}, active={"us": 6}))
    assert (advice.code, advice.about) == ("active_above_available", "us")
    assert advice.numbers["active_traces"] == 6
    assert advice.numbers["available_ips"] == 5
    assert codes(figures(countries={"us": counts}, active={"us": 5})) == []


def test_a_country_that_lost_its_ips_is_not_spoken_of() -> None:
    assert codes(figures(countries={"us": Counts(0, 0, 0, 0, 0, 0)}, active={"us": 2})) == []


# providers


def test_a_suspected_provider_is_critical() -> None:
    advice = only(figures(suspects={"luna": Suspect("9 of 40 IPs failed within 2 minutes")}))
    assert (advice.code, advice.about, advice.severity) == ("provider_suspected", "luna", Severity.CRITICAL)
    assert "9 of 40 IPs failed" in advice.sentence


def test_refused_credentials_are_critical_wherever_they_were_seen() -> None:
    refused = figures(refusals={"luna": 3}, evidence={
        "credentials_refused": {"luna": 5, "soax": 1, "other": 0}})  # fmt: skip
    assert [(a.about, a.numbers["traces_refused"]) for a in advise(refused)] == [("luna", 5), ("soax", 1)]
    assert "providers.luna.username" in (advise(refused)[0].command or "")


def test_a_login_that_is_accepted_again_is_not_spoken_of_though_the_last_hour_has_refusals() -> None:
    evidence = {"credentials_refused": {"luna": 5}}
    assert codes(figures(refusals={"luna": 0}, evidence=evidence)) == []
    assert only(figures(refusals={"luna": 2})).numbers == {"traces_refused": 2}


# bytes and money


@pytest.mark.parametrize(("bytes_now", "told"), [(61_000, True), (59_000, False), (21_000, False), (19_000, True)])
def test_a_trace_far_off_its_usual_bytes_is_told(bytes_now: float, told: bool) -> None:
    traffic = Traffic(traces=50, bytes_per_trace=bytes_now, usual_bytes_per_trace=40_000, usual_hours=24)
    assert codes(figures(evidence={"traffic": traffic})) == (["money_unusual"] if told else [])


def test_with_a_price_it_is_told_in_money() -> None:
    traffic = Traffic(traces=50, bytes_per_trace=80_000, usual_bytes_per_trace=40_000, usual_hours=24)
    advice = only(figures(evidence={"traffic": traffic}, prices_per_gb={"luna": 3.0}))
    assert advice.numbers["money_per_1000_traces"] == pytest.approx(0.24)
    assert "cost 0.24 dollars instead of 0.12" in advice.sentence
    two_prices = {"luna": 3.0, "soax": 4.0}
    assert "cost" not in only(figures(evidence={"traffic": traffic}, prices_per_gb=two_prices)).sentence


@pytest.mark.parametrize(
    "changes", [{"traces": 19}, {"usual_hours": 5.9}, {"usual_bytes_per_trace": None}, {"bytes_per_trace": None}]
)
def test_what_is_usual_must_be_known_first(changes: dict[str, Any]) -> None:
    traffic = Traffic(traces=50, bytes_per_trace=90_000, usual_bytes_per_trace=40_000, usual_hours=24)
    assert codes(figures(evidence={"traffic": replace(traffic, **changes)})) == []


# deadline and cooldown


def test_traces_that_land_too_late_speak_against_the_deadline() -> None:
    landings = Landings(traces=100, late=6, p50_s=4, p95_s=11.2, p99_s=15, late_offer="sale", late_of_offer=3)
    advice = only(figures(evidence={"landings": landings}))
    assert (advice.code, advice.about) == ("deadline_short", "")
    assert advice.command == "set click.deadline_s = 13, then: systemctl reload tracepool"
    assert codes(figures(evidence={"landings": replace(landings, late=5)})) == []
    assert codes(figures(evidence={"landings": replace(landings, traces=19, late=19)})) == []


def test_where_most_late_ones_are_one_offers_its_own_deadline_is_proposed() -> None:
    landings = Landings(traces=100, late=20, p95_s=70, p99_s=75, late_offer="sale", late_of_offer=18)
    advice = only(figures(evidence={"landings": landings}))
    assert (advice.about, advice.command) == ("sale", "tracepool offers update sale --deadline 60")


def test_a_deadline_far_above_what_lands_is_worth_a_word_if_it_is_waited_out() -> None:
    evidence = {"landings": Landings(traces=100, p50_s=0.5, p95_s=1.0, p99_s=1.9), "gave_up": 10}
    advice = only(figures(evidence=evidence))
    assert (advice.code, advice.severity) == ("deadline_long", Severity.INFO)
    assert advice.numbers["deadline_better_s"] == 3
    assert codes(figures(evidence={**evidence, "gave_up": 9})) == []
    assert codes(figures(evidence=evidence, deadline_s=8.0)) == []


def test_ips_that_fail_when_barely_rested_need_more_rest() -> None:
    evidence = {"barely_rested": Faults(100, 20), "well_rested": Faults(100, 5)}
    advice = only(figures(evidence=evidence))
    assert (advice.code, advice.numbers["cooldown_better_s"]) == ("cooldown_short", 120)
    assert codes(figures(evidence={**evidence, "well_rested": Faults(100, 15)})) == [], "rest is not what they lack"
    assert codes(figures(evidence={**evidence, "barely_rested": Faults(29, 20)})) == []
    assert codes(figures(evidence={**evidence, "barely_rested": Faults(100, 10)})) == []


def test_a_cooldown_that_fills_the_pool_and_mends_nothing_may_be_shorter() -> None:
    evidence = {
        "samples": minutes(*[90] * 6),
        "demands": {"us": RecentDemand(per_minute=33, trace_s=5)},
        "barely_rested": Faults(200, 2),
    }
    found = {advice.code: advice for advice in advise(figures(evidence=evidence))}
    assert set(found) == {"utilisation_high", "cooldown_long"}
    shorter_s = found["cooldown_long"].numbers["cooldown_better_s"]
    assert shorter_s == 42
    assert 33 / 60 * (5 + shorter_s) <= 0.65 * 40
    assert "cooldown_long" not in codes(figures(evidence={**evidence, "barely_rested": Faults(200, 3)}))
    too_many = {**evidence, "demands": {"us": RecentDemand(per_minute=90, trace_s=5)}}
    assert "cooldown_long" not in codes(figures(evidence=too_many)), "a fourth of the cooldown would not do either"


# oversized pools


def test_a_pool_never_half_in_use_could_be_smaller() -> None:
    advice = only(figures(evidence={"peaks": {"us": Peak(hours=24, percent=20, busy=8)}}))
    assert (advice.code, advice.about, advice.severity) == ("oversized", "us", Severity.INFO)
    assert advice.numbers["ips_enough"] == 15
    assert advice.numbers["ips_to_spare"] == 25


@pytest.mark.parametrize(
    "peak", [Peak(24, 50, 20), Peak(0.9, 20, 8), Peak(24, 0, 0)], ids=["half", "too soon to say", "no traffic"]
)
def test_where_it_is_not_known_or_not_so_nothing_is_said(peak: Peak) -> None:
    assert codes(figures(evidence={"peaks": {"us": peak, "gone": Peak(24, 20, 8)}})) == []


@given(st.integers(1, 500), st.integers(1, 500))
def test_what_would_do_leaves_a_pool_below_eighty_percent(healthy: int, busy: int) -> None:
    busy = min(busy, healthy)
    counts = replace(US, total=healthy, available=healthy)
    peak = Peak(24, 100 * busy / healthy, busy)
    for advice in advise(figures(countries={"us": counts}, evidence={"peaks": {"us": peak}})):
        assert busy / advice.numbers["ips_enough"] <= 0.8
        assert advice.numbers["ips_to_spare"] > 0


# all rules


def test_the_gravest_comes_first() -> None:
    given = figures(
        clicks=clicked(100, no_ip=20),
        suspects={"luna": Suspect("all fail")},
        evidence={"peaks": {"us": Peak(hours=24, percent=20, busy=8)}},
    )
    assert codes(given) == ["provider_suspected", "fallbacks_high", "oversized"]


PERCENTS = st.floats(0, 100)
COUNTS = st.builds(Counts, *[st.integers(0, 300)] * 6)
USES = st.builds(Use, PERCENTS, st.integers(0, 300), st.integers(0, 300))
SAMPLES = st.builds(
    Sample, st.floats(NOW_S - 900, NOW_S + 60), USES, st.dictionaries(st.sampled_from(["us", "uk"]), USES)
)
EVIDENCE = st.builds(
    Evidence,
    samples=st.lists(SAMPLES, max_size=15).map(tuple),
    peaks=st.dictionaries(
        st.sampled_from(["us", "uk"]), st.builds(Peak, st.floats(0, 24), PERCENTS, st.integers(0, 300))
    ),
    demands=st.dictionaries(
        st.sampled_from(["us", "uk"]), st.builds(RecentDemand, st.floats(0, 500), st.none() | st.floats(0, 60))
    ),
    landings=st.builds(Landings, *[st.integers(0, 500)] * 2, *[st.floats(0, 75)] * 3, st.none() | st.just("sale")),
    gave_up=st.integers(0, 100),
    barely_rested=st.builds(Faults, st.integers(0, 200), st.integers(0, 200)),
    well_rested=st.builds(Faults, st.integers(0, 200), st.integers(0, 200)),
    traffic=st.builds(Traffic, st.integers(0, 100), *[st.none() | st.floats(0, 1e6)] * 2, st.floats(0, 200)),
)


@given(
    st.builds(
        Figures,
        now_s=st.just(NOW_S),
        countries=st.dictionaries(st.sampled_from(["us", "uk"]), COUNTS),
        active=st.dictionaries(st.sampled_from(["us", "uk"]), st.integers(0, 300)),
        clicks=st.dictionaries(st.sampled_from(["no_ip", "deadline"]), st.integers(0, 50)).map(
            lambda f: LastMinute(sum(f.values()) + 5, 5, f, None, None)
        ),
        evidence=EVIDENCE,
        cooldown_s=st.floats(0, 3600),
    )
)
def test_whatever_the_figures_are_advice_reads_well(given: Figures) -> None:
    for advice in advise(given):
        assert advice.code in RULES
        assert advice.sentence.endswith(".")
        assert advice.rule
        assert advice.command
        assert all(isinstance(number, int | float) for number in advice.numbers.values())
        assert all(advice.numbers[name] >= 1 for name in advice.numbers if name == "ips_to_add")


def test_rows_that_are_set_aside_are_named_until_an_operator_has_dealt_with_them() -> None:
    advice = only(figures(evidence={"set_aside": 3}))
    assert (advice.code, advice.severity) == ("ips_set_aside", Severity.WARNING)
    assert advice.numbers == {"rows": 3}
    assert "where set_aside is not null" in (advice.command or "")
