"""Parameter rules: filters, renames, and both together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.offers.param_rules import ParamRules
from daemon.web.query import Inbound, Param, parse_click, with_params
from daemon.web.urls import decoded

URL = "https://shop.example/l"


def params(query: str) -> tuple[Param, ...]:
    click = parse_click(b"offer=demo&" + query.encode())
    assert isinstance(click, Inbound)
    return click.params


def keep(*names: str, **rename: str) -> ParamRules:
    return ParamRules(keep=frozenset(names), rename=rename)


def drop(*names: str, **rename: str) -> ParamRules:
    return ParamRules(drop=frozenset(names), rename=rename)


@pytest.mark.parametrize(
    ("passing", "query", "landing", "fallback"),
    [
        (ParamRules(), "a=1&b=2&a=3", "?a=1&a=3&b=2", "?a=1&a=3&b=2"),
        (keep("a"), "a=1&b=2&a=3", "?a=1&a=3", "?a=1&a=3&b=2"),
        (keep(), "a=1", "", "?a=1"),
        (drop("a"), "a=1&b=2&a=3", "?b=2", "?a=1&a=3&b=2"),
        (drop("A"), "a=1", "?a=1", "?a=1"),
        (keep("a b"), "a+b=1&a%20b=2&c=3", "?a+b=1&a%20b=2", "?a+b=1&a%20b=2&c=3"),
        (drop(gclid="sub1"), "gclid=a+b%zz&x=1", "?sub1=a+b%zz&x=1", "?sub1=a+b%zz&x=1"),
        # the filter compares inbound names
        (keep("gclid", gclid="sub1"), "gclid=1&sub1=2", "?sub1=1", "?sub1=1"),
        (keep("sub1", gclid="sub1"), "gclid=1&sub1=2", "?sub1=2", "?sub1=1"),
        (drop("gclid", gclid="sub1"), "gclid=1&x=2", "?x=2", "?sub1=1&x=2"),
        # a renamed parameter replaces an inbound one of its new name; otherwise the inbound one stays
        (drop(gclid="sub1"), "sub1=2&gclid=1", "?sub1=1", "?sub1=1"),
        (drop(gclid="sub1"), "sub1=2", "?sub1=2", "?sub1=2"),
        (drop(a="b", b="a"), "a=1&b=2", "?b=1&a=2", "?b=1&a=2"),
        (drop(a="x", b="x"), "b=2&a=1&x=3", "?x=2&x=1", "?x=2&x=1"),
        (drop(a="a"), "a=1", "?a=1", "?a=1"),
        (drop(a="b"), "a&a=", "?b&b=", "?b&b="),
    ],
)
def test_filters_and_renames_choose_the_added_parameters(
    passing: ParamRules, query: str, landing: str, fallback: str
) -> None:
    assert with_params(URL, passing.at_landing(params(query))) == URL + landing
    assert with_params(URL, passing.at_fallback(params(query))) == URL + fallback


def test_a_new_name_cannot_end_its_piece_of_the_query() -> None:
    renamed = ParamRules(rename={"a": "x=1&y#é \r\n"}).at_landing(params("a=1"))
    assert with_params(URL, renamed) == f"{URL}?x%3D1%26y%23%C3%A9%20%0D%0A=1"
    assert decoded("x%3D1%26y%23%C3%A9%20%0D%0A") == renamed[0].name


def test_a_renamed_parameter_takes_the_place_of_the_landing_urls_own() -> None:
    renamed = drop(gclid="sub1").at_landing(params("gclid=7"))
    assert with_params(f"{URL}?sub1=0&gclid=keep", renamed) == f"{URL}?sub1=7&gclid=keep"


_names = st.sampled_from(["a", "b", "c", "%61", "a+b", "é"])
queries = st.lists(st.builds("{}={}".format, _names, st.integers(0, 9)), max_size=6).map("&".join)
names = st.frozensets(st.sampled_from(["a", "b", "c", "a b", "é"]), max_size=3)
renames = st.dictionaries(st.sampled_from(["a", "b", "c", "a b"]), st.sampled_from(["a", "b", "x", "y"]), max_size=3)


@given(queries, names)
def test_keeping_and_dropping_the_same_names_share_the_parameters_between_them(
    query: str, chosen: frozenset[str]
) -> None:
    came = params(query)
    kept, rest = ParamRules(keep=chosen).at_landing(came), ParamRules(drop=chosen).at_landing(came)
    assert sorted([*kept, *rest], key=came.index) == sorted(came, key=came.index)
    assert {param.name for param in kept} <= chosen
    assert not {param.name for param in rest} & chosen


@given(queries, names, renames)
def test_a_landing_gets_the_fallbacks_result_for_the_kept_parameters(
    query: str, chosen: frozenset[str], rename: dict[str, str]
) -> None:
    kept = ParamRules(keep=chosen).at_landing(params(query))
    renamed = ParamRules(rename=rename).at_fallback(kept)
    assert ParamRules(keep=chosen, rename=rename).at_landing(params(query)) == renamed


@given(queries, renames)
def test_each_renamed_value_arrives_under_its_new_name_in_order(query: str, rename: dict[str, str]) -> None:
    came = params(query)
    passed = ParamRules(rename=rename).at_fallback(came)
    for new in set(rename.values()):
        expected = [param.value for param in came if rename.get(param.name) == new]
        if expected:
            assert [param.value for param in passed if param.name == new] == expected
    untouched = [param for param in came if param.name not in rename and param.name not in rename.values()]
    assert [param for param in passed if param in untouched] == untouched


@given(queries, renames)
def test_a_renamed_parameters_raw_form_says_the_same_as_its_name_and_value(query: str, rename: dict[str, str]) -> None:
    for param in ParamRules(rename=rename).at_fallback(params(query)):
        name, _, value = param.raw.partition("=")
        assert (decoded(name), decoded(value)) == (param.name, param.value)
