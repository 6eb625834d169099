"""The offers in memory: which values of rows are used, and the complaints about the others."""

import json
from collections import Counter
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.offers.model import Offer, Offers, Target
from daemon.offers.param_rules import ParamRules
from daemon.offers.values import RUNNING_SCHEMES
from daemon.web.query import Inbound, parse_click


def row(name: str = "summer-sale", **values: Any) -> dict[str, Any]:
    common = {
        "id": uuid4(),
        "offer_name": name,
        "final_url": "https://ads.example/go",
        "target_country": "us",
        "deadline_s": None,
        "user_agent": "default",
        "landing_schemes": [],
    }
    return {**common, **values}


def only(**values: Any) -> Offer:
    """The offer of a row without bad values."""
    offers = Offers()
    assert offers.replace([row(id=UUID(int=1), **values)]) == []
    found = offers.find("summer-sale")
    assert found is not None
    return found


def test_an_offer_is_found_by_its_name() -> None:
    offers = Offers()
    one = row(deadline_s=4.5, user_agent="visitor", target_country="UK")
    assert offers.replace([one]) == []
    found = offers.find("summer-sale")
    assert found is not None
    assert (found.id, found.targets, found.country) == (one["id"], (Target("https://ads.example/go"),), "uk")
    assert (found.deadline_s, found.user_agent) == (4.5, "visitor")
    assert offers.find("Summer-Sale") is offers.find(" summer-sale ") is offers.find("summer-sale.") is not None
    assert offers.find("") is offers.find(".") is offers.find("summer_sale") is offers.find("é" * 9_999) is None
    assert offers.known("Summer-Sale") is None, "the API compares names as they are"


def test_a_name_that_could_mean_two_offers_means_none() -> None:
    offers = Offers()
    assert offers.replace([row(name) for name in ("sale", "Sale", "sold.")]) == []
    names = ("sale", "Sale", "SALE", "sale.", "Sold.", "sold")
    found = {name: offer and offer.name for name in names for offer in [offers.find(name)]}
    assert found == {"sale": "sale", "Sale": "Sale", "SALE": None, "sale.": None, "Sold.": "sold.", "sold": None}


def test_new_rows_replace_all_offers() -> None:
    offers = Offers()
    offers.replace([row("a"), row("b")])
    offers.replace([row("b", final_url="https://other.example/")])
    assert len(offers) == 1
    found = offers.find("b")
    assert found is not None
    assert found.targets == (Target("https://other.example/"),)


@pytest.mark.parametrize(
    "url", ["", "ads.example/go", "javascript:alert(1)", "ftp://ads.example/", "https://", "//a.example/"]
)
def test_an_offer_without_a_usable_url_is_left_out_and_named(url: str) -> None:
    offers = Offers()
    [complaint] = offers.replace([row("bad", final_url=url), row("good")])
    assert complaint.sentence.startswith("offer 'bad': ")
    assert "404" in complaint.sentence
    assert not complaint.usable
    assert offers.find("bad") is None
    assert offers.find("good") is not None


def test_a_complaint_does_not_break_the_log_line() -> None:
    [complaint] = Offers().replace([row("a\r\nb", final_url="\r\n")])
    assert "\n" not in complaint.sentence


def test_landing_schemes_are_compared_in_lower_case_and_never_run_code() -> None:
    offers = Offers()
    complaints = offers.replace([row(landing_schemes=["Market", "JavaScript", "DATA", "intent"])])
    found = offers.find("summer-sale")
    assert found is not None
    assert found.landing_schemes == {"market", "intent"}
    assert not found.landing_schemes & RUNNING_SCHEMES
    assert [complaint.usable for complaint in complaints] == [True, True]


def test_parameter_rules_hosts_and_backends_are_read_from_a_row() -> None:
    found = only(
        stop_at=["Shop.Example.", "bücher.example"],
        param_filter='{"keep": ["gclid", "a b"]}',
        rename='{"gclid": "sub1"}',
        trace_backend="service",
    )
    assert found.stop_at == {"shop.example", "xn--bcher-kva.example"}
    assert found.param_rules == ParamRules(keep=frozenset({"gclid", "a b"}), rename={"gclid": "sub1"})
    assert found.trace_backend == "service"
    assert only(param_filter='{"drop": ["x"]}').param_rules == ParamRules(drop=frozenset({"x"}))
    assert only(param_filter='{"keep": []}').param_rules == ParamRules(keep=frozenset())


def test_null_columns_count_as_not_set() -> None:
    found = only(stop_at=None, param_filter=None, rename=None, tracking_urls=None, trace_backend="default")
    assert found == only()
    assert (found.stop_at, found.param_rules, found.trace_backend) == (frozenset(), ParamRules(), None)
    assert found.target(0.0) == found.target(0.999) == Target("https://ads.example/go")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"stop_at": ["https://shop.example/"]}, "is no host such as shop.example"),
        ({"stop_at": ["shop.example:443"]}, "is no host"),
        ({"stop_at": ["*.shop.example"]}, "it covers the hosts below it"),
        ({"stop_at": [None]}, "None is no host"),
        ({"stop_at": "shop.example"}, "'shop.example' is no list: stop_at is taken as not set"),
        ({"param_filter": "{"}, "param_filter is no JSON"),
        ({"param_filter": "[" * 100_000}, "param_filter is no JSON"),
        ({"param_filter": '["gclid"]'}, 'param_filter must be {"keep": [names]}'),
        ({"param_filter": '{"keep": ["a"], "drop": ["b"]}'}, 'param_filter must be {"keep": [names]}'),
        ({"param_filter": '{"keep": [7]}'}, "7 is no parameter's name"),
        ({"param_filter": '{"keep": [""]}'}, "'' is no parameter's name"),
        ({"param_filter": '{"keep": "gclid"}'}, "'gclid' is no list"),
        ({"rename": '["gclid"]'}, "rename must be an object"),
        ({"rename": '{"gclid": null}'}, "None is no parameter's name"),
        ({"rename": '{"gclid": "a\\u0000"}'}, "is no parameter's name"),
        ({"tracking_urls": '{"url": "https://ads.example/"}'}, "is no list"),
        ({"tracking_urls": '["https://ads.example/"]'}, "tracking_urls must hold objects"),
        ({"tracking_urls": '[{"url": "https://a.example/", "wieght": 3}]'}, "tracking_urls must hold objects"),
        ({"tracking_urls": '[{"url": "https://a.example/", "weight": 0}]'}, "a weight must be a number above 0"),
        ({"tracking_urls": '[{"url": "https://a.example/", "weight": "3"}]'}, "a weight must be a number above 0"),
        ({"tracking_urls": '[{"url": "https://a.example/", "weight": NaN}]'}, "a weight must be a number above 0"),
        ({"tracking_urls": '[{"url": "ads.example"}]'}, "does not start with http"),
        ({"tracking_urls": '[{"url": "https://{a}.example/"}]'}, "stands before the path"),
        ({"tracking_urls": '[{"url": 7}]'}, "url must be text"),
        ({"trace_backend": "remote"}, "trace_backend must be default, local or service, not 'remote'"),
        ({"deadline_s": 0.5}, "deadline_s must be 1 to 60 seconds"),
        ({"deadline_s": "5"}, "deadline_s must be 1 to 60 seconds"),
        ({"user_agent": "curl"}, "user_agent must be default or visitor"),
        ({"landing_schemes": ["a b"]}, "'a b' is no scheme"),
    ],
)
def test_a_bad_value_is_named_in_a_sentence_and_the_offer_serves_without_it(values: dict[str, Any], why: str) -> None:
    offers = Offers()
    one = row()
    [complaint] = offers.replace([{**one, **values}, row("other")])
    assert complaint.usable
    assert complaint.sentence.startswith("offer 'summer-sale': ")
    assert why in complaint.sentence
    assert "\n" not in complaint.sentence
    assert len(complaint.sentence) < 600
    found = offers.find("summer-sale")
    assert found is not None
    plain = Offers()
    plain.replace([one])
    assert found == plain.find("summer-sale")
    assert offers.find("other") is not None


def test_only_the_bad_item_of_a_list_is_left_out() -> None:
    urls = '[{"url": "https://a.example/", "weight": 1}, {"url": "nowhere"}, {"url": "https://b.example/"}]'
    offers = Offers()
    assert len(offers.replace([row(tracking_urls=urls, stop_at=["a b", "shop.example"], final_url="nowhere")])) == 2
    found = offers.find("summer-sale")
    assert found is not None
    assert [target.url for target in found.targets] == ["https://a.example/", "https://b.example/"]
    assert found.cuts == (0.5,)
    assert found.stop_at == {"shop.example"}


def test_an_offer_is_unusable_where_neither_its_urls_nor_its_tracking_urls_can_be_used() -> None:
    offers = Offers()
    first, second = offers.replace([row(tracking_urls='[{"url": "nowhere"}]', final_url="https://{a}.example/")])
    assert (first.usable, second.usable) == (True, False)
    assert "404 until final_url is corrected" in second.sentence
    assert len(offers) == 0


@pytest.mark.parametrize("broken", [{}, {"offer_name": "a"}, {"id": uuid4()}, {"offer_name": None, "id": None}])
def test_a_row_without_a_name_or_an_id_is_no_offer(broken: dict[str, Any]) -> None:
    [complaint] = Offers().replace([broken])
    assert not complaint.usable


def test_rows_cached_by_an_earlier_version_still_serve() -> None:
    old = {name: value for name, value in row().items() if name != "landing_schemes"}
    offers = Offers()
    assert offers.replace([old]) == []
    assert offers.find("summer-sale") is not None


def test_macros_are_read_when_the_offer_is() -> None:
    found = only(final_url="https://ads.example/{gclid}?r={request_id}")
    click = parse_click(b"offer=summer-sale&gclid=a/b")
    assert isinstance(click, Inbound)
    request_id = uuid4()
    assert found.targets[0].of_click(click, request_id) == f"https://ads.example/a%2Fb?r={request_id}"
    plain = only(final_url="https://ads.example/ä?x={}")
    assert plain.targets[0].of_click(click, request_id) == "https://ads.example/ä?x={}", "as it stands in the row"


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers())
def test_tracking_urls_share_the_clicks_by_weight(weights: list[int], seed: int) -> None:
    urls = [{"url": f"https://{n}.example/", "weight": weight} for n, weight in enumerate(weights)]
    found, draw = only(tracking_urls=json.dumps(urls)), Random(seed).random
    clicks = 2_000
    counts = Counter(found.target(draw()).url for _ in range(clicks))
    for url in urls:
        expected = clicks * float(str(url["weight"])) / sum(weights)
        assert abs(counts[str(url["url"])] - expected) <= 6 * expected**0.5 + 6


def test_the_ends_of_the_interval_belong_to_the_first_and_the_last() -> None:
    found = only(tracking_urls='[{"url": "https://a.example/", "weight": 3}, {"url": "https://b.example/"}]')
    drawn = [found.target(draw).url for draw in (0.0, 0.7499, 0.75, 0.999_999_999)]
    assert drawn == ["https://a.example/"] * 2 + ["https://b.example/"] * 2
