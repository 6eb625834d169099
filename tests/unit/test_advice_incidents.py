"""Advice on countries without IPs and on IPs that fail: where, how many, why, and the next command."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.maintenance.advice import advise
from daemon.maintenance.figures import Advice, Evidence, Figures, Severity, Slots, Suspect, Traffic, names
from daemon.maintenance.tally import LastMinute
from daemon.nodes.figures import AttemptFigures, FallenOffer
from daemon.pool.messages import Counts

NOW_S = 1_700_000_000.0
REFUSES = "the proxy's port refuses connections"


def counts(total: int, failed: int = 0) -> Counts:
    return Counts(total, total - failed, 0, 0, failed, 0)


def of(code: str, **changes: Any) -> list[Advice]:
    return [advice for advice in advise(replace(Figures(NOW_S), **changes)) if advice.code == code]


# countries without IPs


def test_each_country_of_an_active_offer_without_ips_is_named_with_its_offers() -> None:
    offers = {"de": ("boots",), "fr": ("a", "b", "c", "d"), "us": ("shoes",)}
    de, fr = of("country_without_ips", offers=offers, countries={"us": counts(3), "fr": counts(0)})
    assert (de.country, de.offer, de.count, de.of, de.severity) == ("de", "boots", 1, None, Severity.CRITICAL)
    assert de.sentence.startswith("There is no IP in de, the country of the active offer boots:")
    assert de.command == "tracepool provision import ips.csv --country de"
    assert (fr.country, fr.offer, fr.count) == ("fr", None, 4)
    assert "4 active offers (a, b, c and 1 more)" in fr.sentence


def test_a_text_that_no_import_accepts_is_corrected_in_the_offer() -> None:
    empty, pool, typo = of("country_without_ips", offers={"": ("c",), "eu": ("a",), "ukk": ("b",)})
    assert pool.command == "tracepool provision import ips.csv --country eu"
    assert "target_country = 'uk' where 'ukk' = any" in str(typo.command)
    assert empty.sentence.startswith("There is no IP in '', the country of the active offer c:")
    assert "target_country = 'COUNTRY' where '' = any" in str(empty.command)


def test_a_default_country_with_ips_takes_the_clicks() -> None:
    offers, us = {"de": ("boots",)}, {"us": counts(3)}
    [served] = of("country_without_ips", offers=offers, countries=us, default_country="USA")
    assert served.severity is Severity.WARNING
    assert "through IPs of us (trace.default_country)" in served.sentence
    [empty] = of("country_without_ips", offers=offers, countries=us, default_country="fr")
    assert empty.severity is Severity.CRITICAL


def test_ips_without_an_owner_are_ips_of_their_country() -> None:
    evidence = Evidence(nobodys_ips=4, slots={"de": Slots("luna", None)})
    assert of("country_without_ips", offers={"de": ("boots",)}, evidence=evidence) == []
    assert of("country_without_ips", offers={"de": ("boots",)}, evidence=replace(evidence, nobodys_ips=0))


# IPs that are out


def test_twenty_of_twenty_dead_proxies_are_critical_after_one_trace_each() -> None:
    attempts = (AttemptFigures("us", "luna", 20, 20, REFUSES, 18),)
    [advice] = of("ips_out", countries={"us": counts(20, 4)}, out={"us": {"luna": (4, 16)}}, attempts=attempts)
    assert advice.severity is Severity.CRITICAL
    assert (advice.country, advice.provider, advice.count, advice.of) == ("us", "luna", 20, 20)
    assert advice.error == REFUSES
    assert advice.sentence == (
        "20 of the 20 IPs of us fail (provider luna): the last trace through each of them failed by the IP's fault, "
        "most often because the proxy's port refuses connections. 4 of them are failed and get no clicks."
    )
    assert advice.command == "tracepool provision check --country us --provider luna"


def test_without_a_url_to_check_the_advice_is_to_set_one_first() -> None:
    [advice] = of("ips_out", countries={"us": counts(20, 4)}, out={"us": {"luna": (4, 16)}}, can_check=False)
    check = "tracepool provision check --country us --provider luna"
    assert advice.command == f"set provision.check_url and reload, then: {check}"


def test_481_of_5000_ips_are_advice_with_the_providers_and_the_error_of_the_hour() -> None:
    out = {"us": {"luna": (400, 7), "soax": (81, 0)}}
    evidence = Evidence(errors={("us", "luna"): "the proxy did not accept a connection in time"})
    [advice] = of("ips_out", countries={"us": counts(5_000, 481)}, out=out, evidence=evidence)
    assert advice.severity is Severity.WARNING
    assert (advice.country, advice.provider, advice.count, advice.of) == ("us", "luna", 481, 5_000)
    assert advice.sentence == (
        "481 of the 5,000 IPs of us are out (400 of luna, 81 of soax): failed, so they get no clicks. Most failures "
        "are because the proxy did not accept a connection in time."
    )
    assert advice.numbers["failed_percent"] == 9.6


@pytest.mark.parametrize(
    ("total", "failed", "others", "severity"),
    [
        (100, 4, 0, None),
        (100, 5, 0, Severity.WARNING),
        (5_000, 49, 0, None),
        (5_000, 50, 0, Severity.WARNING),
        (100, 50, 0, Severity.CRITICAL),
        (20, 1, 0, Severity.INFO),
        (21, 1, 0, None),
        (1, 1, 0, Severity.CRITICAL),
        (1, 0, 1, None),  # one failure of one IP
        (2, 0, 2, Severity.CRITICAL),
        (40, 1, 18, None),
        (40, 1, 19, Severity.CRITICAL),
        (0, 0, 0, None),
    ],
)
def test_how_many_are_too_many(total: int, failed: int, others: int, severity: Severity | None) -> None:
    found = of("ips_out", countries={"us": counts(total, failed)}, out={"us": {"luna": (failed, others)}})
    assert [advice.severity for advice in found] == ([] if severity is None else [severity])


def test_each_country_has_its_own_advice() -> None:
    out = {country: {"luna": (9, 0)} for country in ("us", "de", "fr")}
    countries = {"us": counts(90, 9), "de": counts(9, 9), "fr": counts(1_000, 9)}
    assert [(a.country, a.count, a.of) for a in of("ips_out", countries=countries, out=out)] == [
        ("de", 9, 9),
        ("us", 9, 90),
    ]


# attempts that fail


def test_a_gateway_that_fails_is_named_though_no_single_ip_is_at_fault() -> None:
    one = AttemptFigures("us", "luna", 10, 10, "the proxy answered CONNECT with status 503", 9)
    [advice] = of("attempts_failing", countries={"us": counts(20)}, attempts=(one,))
    assert (advice.country, advice.provider, advice.count, advice.of) == ("us", "luna", 10, 10)
    assert advice.severity is Severity.CRITICAL
    assert "because the proxy answered CONNECT with status 503" in advice.sentence


@pytest.mark.parametrize(("attempts", "failed", "told"), [(4, 4, False), (5, 2, False), (5, 3, True), (100, 49, False)])
def test_few_attempts_or_few_failures_are_normal(attempts: int, failed: int, told: bool) -> None:
    one = AttemptFigures("us", "luna", attempts, failed, REFUSES, failed)
    assert bool(of("attempts_failing", countries={"us": counts(50)}, attempts=(one,))) is told


def test_one_outage_is_one_advice() -> None:
    one = AttemptFigures("us", "luna", 40, 40, REFUSES, 40)
    figures = {"countries": {"us": counts(20)}, "out": {"us": {"luna": (0, 20)}}, "attempts": (one,)}
    assert len(of("ips_out", **figures)) == 1
    assert of("attempts_failing", **figures) == []


# fallbacks


def test_fallbacks_name_the_offer_and_the_country_of_most_of_them() -> None:
    fallen = (FallenOffer("shoes", "us", 30), FallenOffer("boots", "us", 10), FallenOffer("hats", "de", 5))
    clicks = LastMinute(100, 55, {"no_pool": 45}, None, None, fallbacks_by_offer=fallen)
    [advice] = of("fallbacks_high", clicks=clicks)
    assert (advice.country, advice.offer, advice.count, advice.of) == ("us", "shoes", 45, 100)
    assert advice.sentence.endswith("; 30 of them with the offer shoes (us).")
    assert "--country us " in (advice.command or "")
    spread = replace(clicks, fallbacks_by_offer=(FallenOffer("shoes", "us", 20), FallenOffer("boots", "us", 20)))
    [advice] = of("fallbacks_high", clicks=spread)
    assert (advice.country, advice.offer) == ("us", None)
    assert advice.sentence.endswith("; 40 of them with offers of us.")


def test_a_paused_offer_is_in_the_command_as_one_word() -> None:
    clicks = LastMinute(10, 0, {"paused": 10}, None, None, fallbacks_by_offer=(FallenOffer("red shoes", "", 10),))
    [advice] = of("fallbacks_high", clicks=clicks)
    assert advice.command == "tracepool offers update 'red shoes' --active, or --paused-to OTHER"
    assert (advice.country, advice.offer) == (None, "red shoes")


def test_a_suspected_provider_is_named_with_its_country() -> None:
    [advice] = of("provider_suspected", suspects={"luna": Suspect("all fail", "us", 7)})
    assert (advice.country, advice.provider, advice.count) == ("us", "luna", 7)


def test_refused_logins_and_unusual_bytes_are_said_with_their_place() -> None:
    evidence = Evidence(credentials_refused={"luna": 3}, refused_in={"luna": "de"})
    [refused] = of("credentials_refused", evidence=evidence)
    assert (refused.country, refused.provider, refused.count) == ("de", "luna", 3)
    assert "3 times in the last hour, most of them in de:" in refused.sentence
    traffic = Traffic(50, 80_000, 40_000, 24, "red shoes", 95_000, "luna")
    [money] = of("money_unusual", evidence=Evidence(traffic=traffic))
    assert (money.offer, money.provider, money.count) == ("red shoes", "luna", 50)
    assert "Most bytes were of the offer red shoes, 95.0 KB a trace." in money.sentence
    assert money.command == "tracepool logs --since 1h --offer 'red shoes'"


def test_a_list_of_names_is_cut() -> None:
    assert names(["a"]) == "a"
    assert names(["a", "b", "c"]) == "a, b, c"
    assert names(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


FEW = st.integers(0, 200)
COUNTRY = st.sampled_from(["us", "de", "fr"])
PROVIDER = st.sampled_from(["luna", "soax", "a provider"])


@given(
    st.builds(
        Figures,
        now_s=st.just(NOW_S),
        countries=st.dictionaries(COUNTRY, st.builds(Counts, *[FEW] * 6)),
        offers=st.dictionaries(COUNTRY, st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=5).map(tuple)),
        out=st.dictionaries(COUNTRY, st.dictionaries(PROVIDER, st.tuples(FEW, FEW))),
        attempts=st.lists(st.builds(AttemptFigures, COUNTRY, PROVIDER, FEW, FEW, st.just(REFUSES), FEW)).map(tuple),
        default_country=st.sampled_from(["", "us"]),
    )
)
def test_whatever_the_figures_are_where_and_how_many_are_said(given: Figures) -> None:
    for advice in advise(given):
        if advice.code in ("country_without_ips", "ips_out", "attempts_failing"):
            assert advice.country
            assert advice.count is not None
            assert advice.country in advice.sentence
            assert advice.country in (advice.command or "")
            assert advice.sentence.endswith(".")
