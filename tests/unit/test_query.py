"""The query of a click, by the rules of application/x-www-form-urlencoded."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.storable import storable
from daemon.web.query import PARAMS_MAX, Inbound, Param, RefusedClick, as_mapping, parse_click


def params(query: bytes) -> tuple[Param, ...]:
    """The parameters other than the offer."""
    click = parse_click(b"offer=demo&" + query)
    assert isinstance(click, Inbound)
    return click.params


def pairs(query: bytes) -> list[tuple[str, str]]:
    return [(param.name, param.value) for param in params(query)]


def test_the_offer_is_taken_out_and_the_rest_keeps_its_order() -> None:
    assert parse_click(b"gclid=abc&offer=summer-sale&utm=x") == Inbound(
        "summer-sale", (Param("gclid", "abc", "gclid=abc"), Param("utm", "x", "utm=x"))
    )


@pytest.mark.parametrize(
    "query", [b"", b"gclid=1", b"offer", b"offer=", b"offer=&gclid=1", b"Offer=", b"offers=x", b"&&"]
)
def test_a_click_without_an_offer_is_refused(query: bytes) -> None:
    assert parse_click(query) == RefusedClick(400, "offer parameter is required")


@pytest.mark.parametrize("query", [b"offer=a&offer=b", b"offer&offer=a", b"offer=a&x=1&%6Fffer=b", b"Offer=a&OFFER=b"])
def test_an_offer_given_twice_is_refused(query: bytes) -> None:
    assert parse_click(query) == RefusedClick(400, "offer parameter must name one offer")


@pytest.mark.parametrize(
    ("query", "offer"),
    [
        (b"offer=summer+sale", "summer sale"),
        (b"%6fffer=summer%20sale", "summer sale"),
        ("offer=été".encode(), "été"),
        (b"offer=%C3%A9t%C3%A9", "été"),
        (b"offer=a=b", "a=b"),
        (b"offer=" + b"n" * 10_240, "n" * 10_240),
    ],
)
def test_an_offer_name_is_decoded(query: bytes, offer: str) -> None:
    assert parse_click(query) == Inbound(offer, ())


@pytest.mark.parametrize("query", [b"Offer=a&x=1", b"x=1&OFFER=a", b"+offer%20=a&x=1", b"offer=a&x=1&offer=a"])
def test_an_unmistakable_offer_is_found(query: bytes) -> None:
    assert parse_click(query) == Inbound("a", (Param("x", "1", "x=1"),))


def test_a_parameter_in_capitals_stays_beside_an_offer() -> None:
    assert parse_click(b"offer=a&Offer=b") == Inbound("a", (Param("Offer", "b", "Offer=b"),))


def test_repeated_and_empty_parameters_are_kept() -> None:
    assert params(b"a=1&a=&a&=v&=&a=1") == (
        Param("a", "1", "a=1"),
        Param("a", "", "a="),
        Param("a", "", "a"),
        Param("", "v", "=v"),
        Param("", "", "="),
        Param("a", "1", "a=1"),
    )


def test_empty_pieces_are_no_parameters_and_a_semicolon_divides_nothing() -> None:
    assert pairs(b"&&a=1;b=2&") == [("a", "1;b=2")]


def test_plus_and_percent_20_mean_the_same_and_stay_as_they_were_sent() -> None:
    plus, escaped = params(b"q=a+b&q=a%20b")
    assert plus.value == escaped.value == "a b"
    assert (plus.raw, escaped.raw) == ("q=a+b", "q=a%20b")


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"q=%zz", "%zz"),
        (b"q=100%", "100%"),
        (b"q=%4", "%4"),
        (b"q=%%41", "%A"),
        (b"q=%C3", "\ufffd"),
        (b"q=%C3%28", "\ufffd("),
        (b"q=\xff\xfe", "\ufffd\ufffd"),
        (b"q=%ED%A0%80", "\ufffd\ufffd\ufffd"),
        (b"q=%EF%BB%BFx", "\ufeffx"),
        ("q=日本".encode(), "日本"),
        (b"q=%e6%97%a5", "日"),
        (b"q=%00", "\x00"),
        (b"q=%2Bx%26y%3Dz", "+x&y=z"),
    ],
)
def test_broken_escapes_stay_and_broken_utf8_is_replaced(query: bytes, value: str) -> None:
    assert pairs(query) == [("q", value)]


@pytest.mark.parametrize(
    ("sent", "raw"),
    [
        (b"q=a b", "q=a%20b"),
        (b"q=a\r\nSet-Cookie: x", "q=a%0D%0ASet-Cookie:%20x"),
        (b"q=a%0d%0ab", "q=a%0d%0ab"),
        (b"q=\x00\x7f", "q=%00%7F"),
        (b'q="<#>"', "q=%22%3C%23%3E%22"),
        ("q=é".encode(), "q=%C3%A9"),
        (b"q=it's|{x}", "q=it's|{x}"),
    ],
)
def test_the_raw_form_is_safe_in_a_url(sent: bytes, raw: str) -> None:
    (param,) = params(sent)
    assert param.raw == raw


def test_a_parameter_of_8_kb_is_kept_whole() -> None:
    (param,) = params(b"q=" + b"%41" * 2_731)
    assert param.value == "A" * 2_731
    assert len(param.raw) == 2 + 3 * 2_731


def test_as_many_parameters_as_the_bound_are_taken_and_one_more_is_refused() -> None:
    most = b"offer=demo" + b"&a=1" * (PARAMS_MAX - 1)
    click = parse_click(most)
    assert isinstance(click, Inbound)
    assert len(click.params) == PARAMS_MAX - 1
    refused = parse_click(most + b"&a=1")
    assert isinstance(refused, RefusedClick)
    assert refused.status == 400
    assert str(PARAMS_MAX) in refused.error


def test_what_postgres_cannot_hold_is_replaced() -> None:
    assert storable("a\x00b\ud800c\udfffd") == "a\ufffdb\ufffdc\ufffdd"
    assert storable("plain 日本 😀") == "plain 日本 😀"
    assert as_mapping(params(b"a%00=b%00")) == {"a\ufffd": "b\ufffd"}


def test_a_mapping_has_repeated_names_as_lists() -> None:
    assert as_mapping(params(b"a=1&b=2&a=3&a=&=x")) == {"a": ["1", "3", ""], "b": "2", "": "x"}


# Bytes that matter in queries, drawn more often than uniform bytes would be.
queries = st.lists(
    st.one_of(st.sampled_from([b"&", b"=", b"+", b"%", b"%4", b"41", b"%C3", b"%a9", b"#", b" ", b"\r\n"]), st.binary())
).map(b"".join)


@given(queries)
def test_any_query_decodes_as_the_standard_library_decodes_it(query: bytes) -> None:
    expected = [
        (name, value) for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    ]
    as_utf8 = [tuple(part.encode("latin-1").decode("utf-8", "replace") for part in pair) for pair in expected]
    assert pairs(query) == [pair for pair in as_utf8 if pair[0] != "offer"]


@given(queries)
def test_the_raw_form_is_printable_and_decodes_to_the_same_parameter(query: bytes) -> None:
    for param in params(query):
        assert all("!" <= char <= "~" for char in param.raw)
        assert not set(param.raw) & set('"#<>&')
        assert params(param.raw.encode()) == (param,)


@given(queries)
def test_every_mapping_can_be_stored(query: bytes) -> None:
    for name, value in as_mapping(params(query)).items():
        for text in (name, *([value] if isinstance(value, str) else value)):
            assert "\x00" not in text
            text.encode()
