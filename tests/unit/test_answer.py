"""The URLs of redirects: parameters are set on a URL, and everything else stays byte for byte."""

import re

import pytest
from ada_url import URL
from hypothesis import assume, given
from hypothesis import strategies as st

from daemon.click.answer import fallback_location
from daemon.errors import BadInput
from daemon.offers.macros import tracking_url
from daemon.web.query import Inbound, Param, extracted_params, parse_click, with_params
from daemon.web.urls import SHOWN_CHARS_MAX, decoded


def params(query: str | bytes) -> tuple[Param, ...]:
    click = parse_click(b"offer=demo&" + (query.encode() if isinstance(query, str) else query))
    assert isinstance(click, Inbound)
    return click.params


@pytest.mark.parametrize(
    ("url", "query", "location"),
    [
        # a URL without a query
        ("https://shop.example/l", "gclid=a", "https://shop.example/l?gclid=a"),
        ("https://shop.example", "gclid=a", "https://shop.example?gclid=a"),
        ("https://shop.example/l?", "gclid=a", "https://shop.example/l?gclid=a"),
        ("https://shop.example/l", "", "https://shop.example/l"),
        ("https://shop.example/l?", "", "https://shop.example/l?"),
        # a URL with a query, which stays byte for byte
        ("https://shop.example/l?b=%7E+~%20|{x}'\"", "a=1", "https://shop.example/l?b=%7E+~%20|{x}'\"&a=1"),
        ("https://shop.example/l?justtext", "gclid=a", "https://shop.example/l?justtext&gclid=a"),
        ("https://shop.example/l?/path/?x", "gclid=a", "https://shop.example/l?/path/?x&gclid=a"),
        ("https://shop.example/l?b=1&", "a=1", "https://shop.example/l?b=1&a=1"),
        ("https://shop.example/l?&&b=1&&", "a=1", "https://shop.example/l?&&b=1&&a=1"),
        # before a fragment
        ("https://shop.example/l#top", "a=1", "https://shop.example/l?a=1#top"),
        ("https://shop.example/l?b=1#/r?a=2#x", "a=1", "https://shop.example/l?b=1&a=1#/r?a=2#x"),
        ("https://shop.example/l?#", "a=1", "https://shop.example/l?a=1#"),
        # a parameter of that name is replaced
        ("https://shop.example/?x=0&a=9&y=%20", "a=1", "https://shop.example/?x=0&a=1&y=%20"),
        ("https://shop.example/?a=8&x&a=9&y", "a=1", "https://shop.example/?a=1&x&y"),
        ("https://shop.example/?x&a=8&a=9&", "a=1", "https://shop.example/?x&a=1&"),
        ("https://shop.example/?a&x", "a=1", "https://shop.example/?a=1&x"),
        ("https://shop.example/?%61=9&x", "a=1", "https://shop.example/?a=1&x"),
        ("https://shop.example/?a=9&x", "%61=1", "https://shop.example/?%61=1&x"),
        ("https://shop.example/?a+b=9", "a%20b=1", "https://shop.example/?a%20b=1"),
        ("https://shop.example/?A=9", "a=1", "https://shop.example/?A=9&a=1"),
        ("https://shop.example/?justtext", "justtext=1", "https://shop.example/?justtext=1"),
        # repeated and empty parameters
        ("https://shop.example/?x", "a=1&a=2", "https://shop.example/?x&a=1&a=2"),
        ("https://shop.example/?a=9&x&a=8", "a=1&a=2&a=", "https://shop.example/?a=1&a=2&a=&x"),
        ("https://shop.example/?x", "a=&b&=v", "https://shop.example/?x&a=&b&=v"),
        ("https://shop.example/?=9&&x", "=v", "https://shop.example/?=v&&x"),
        # values stay as the visitor sent them
        ("https://shop.example/", "q=a+b&r=a%20b&s=%zz&t=%C3", "https://shop.example/?q=a+b&r=a%20b&s=%zz&t=%C3"),
        ("https://shop.example/", "q=é", "https://shop.example/?q=%C3%A9"),
        # the part before the query is unchanged
        ("http://u:p%40w@shop.example:8080/a/../b;c", "a=1", "http://u:p%40w@shop.example:8080/a/../b;c?a=1"),
        ("HTTP://Shop.Example:80/", "a=1", "HTTP://Shop.Example:80/?a=1"),
        ("http://[2001:db8::1]:81/x", "a=1", "http://[2001:db8::1]:81/x?a=1"),
        # other schemes stay
        ("market://details?id=com.example", "a=1", "market://details?id=com.example&a=1"),
        ("intent://x/y#Intent;scheme=https;end", "a=1", "intent://x/y?a=1#Intent;scheme=https;end"),
        ("mailto:someone@shop.example", "a=1", "mailto:someone@shop.example?a=1"),
    ],
)
def test_parameters_are_set_and_the_rest_stays_byte_for_byte(url: str, query: str, location: str) -> None:
    assert with_params(url, params(query)) == location


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://münchen.example/", "https://xn--mnchen-3ya.example/"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example/"),
        ("https://例え.example/?x=a|b'\"", "https://xn--r8jz45g.example/?x=a|b'\""),
        ("https://shop.example/a b/é?q=a b&r=é#ü x", "https://shop.example/a%20b/%C3%A9?q=a%20b&r=%C3%A9#%C3%BC%20x"),
        ("https://shop.example/x #top", "https://shop.example/x%20#top"),
        ("  https://shop.example/x \n", "https://shop.example/x"),
        ("https://shop.example/a\r\nSet-Cookie: b=1", "https://shop.example/aSet-Cookie:%20b=1"),
        ("https://shop.example/?a\r\nSet-Cookie: b=1", "https://shop.example/?aSet-Cookie:%20b=1"),
        ("https://shop.example/a%0d%0ab?c%0D%0Ad", "https://shop.example/a%0d%0ab?c%0D%0Ad"),
        ("https://shop.example/?a\x00b\x7f\ud800", "https://shop.example/?a%00b%7F%EF%BF%BD"),
        ("https://shop.example\\@other.example/", "https://shop.example/@other.example/"),
        ("https://shop%2Eexample/", "https://shop.example/"),
        ("https:/shop.example/x?y", "https://shop.example/x?y"),
        ("https://a@b@shop.example/", "https://a%40b@shop.example/"),
        ("market://details?id=é x", "market://details?id=%C3%A9%20x"),
        ("http://a b/ é", "http://a%20b/%20%C3%A9"),
    ],
)
def test_a_url_is_encoded_only_where_a_header_needs_it(url: str, location: str) -> None:
    assert with_params(url, ()) == location


@pytest.mark.parametrize("piece", ["a=1\r\nX: y", "a=1&b=2", "a=1#x", "a=\x00\xe9 ", 'a="<>'])
def test_a_parameter_cannot_end_its_piece_of_the_query(piece: str) -> None:
    location = with_params("https://shop.example/?x=0#end", [Param("a", "1", piece)])
    assert re.fullmatch(r"https://shop\.example/\?x=0&a=[^&#\s]*#end", location, re.ASCII)
    assert all("!" <= char <= "~" for char in location)


def test_a_parameter_of_8_kb_arrives_whole() -> None:
    value = "%C3%A9" * 1_366
    assert with_params("https://shop.example/?gclid=x#f", params(f"gclid={value}")).endswith(f"/?gclid={value}#f")


@pytest.mark.parametrize(
    "url",
    [
        *("", "/x", "//shop.example/x", "shop.example", "?x=1", "javascript:alert(1)", "ftp://shop.example/"),
        *("market://details?id=x", "http://", "https:///", "http://?x", "http://a b/", "http://shop.example:99999/"),
        *("http://[::1", "http://1.2.3.4.5/", "data:text/html,x", "\ud800", "http://\ud800\x00/"),
    ],
)
def test_a_url_that_a_browser_would_not_open_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match=r"https://ads\.example"):
        fallback_location(url, ())


def test_a_usable_location_stays_as_it_is() -> None:
    url = "https://u:p@Shop.Example:443/a/../b?x=%zz&y=|#'"
    assert fallback_location(url, ()) == url


def test_a_message_about_a_long_url_is_short_and_one_line() -> None:
    with pytest.raises(BadInput) as caught:
        fallback_location("nothing\n" + "x" * 100_000, ())
    assert len(str(caught.value)) < 2 * SHOWN_CHARS_MAX
    assert "\n" not in str(caught.value)


def test_a_fallback_is_the_tracking_url_with_the_visitors_parameters() -> None:
    assert (
        fallback_location("https://ads.example/click?id=1&gclid={gclid}", params("gclid=a+b&x=2"))
        == "https://ads.example/click?id=1&gclid=a+b&x=2"
    )
    with pytest.raises(BadInput):
        fallback_location("ads.example/click", params("gclid=a"))


def test_extracted_parameters_are_decoded_grouped_and_storable() -> None:
    assert extracted_params("https://shop.example/?a=1&b=x+y&a=%C3%A9&text&n=%00#c=3") == {
        "a": ["1", "é"],
        "b": "x y",
        "text": "",
        "n": "\ufffd",
    }
    assert extracted_params("https://shop.example/?q=é è") == {"q": "é è"}
    assert extracted_params("market://details?id=com.example") == {"id": "com.example"}
    assert extracted_params("https://shop.example/#?a=1") == {}


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://ads.example/click?id={request_id}&x=a|b", "https://ads.example/click?id={request_id}&x=a|b"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
    ],
)
def test_an_operators_tracking_url_is_kept(url: str, stored: str) -> None:
    assert tracking_url(url, allow_private=False) == stored


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ads.example/click", "does not start with http://"),
        ("ftp://ads.example/", "does not start with http://"),
        ("http://ads.example:port/", "its port a number"),
        ("http://127.1/", "127.0.0.1 is a loopback address"),
        ("http://0x7f000001/", "127.0.0.1 is a loopback address"),
        ("http://user@[::1]:80/", "::1 is a loopback address"),
        ("http://intranet/", "single-label host 'intranet'"),
        ("http://ads.localhost/", "local name"),
    ],
)
def test_a_tracking_url_that_cannot_be_used_says_why(url: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        tracking_url(url, allow_private=False)
    assert says in str(caught.value)


def test_a_private_tracking_url_is_taken_where_private_hosts_are_allowed() -> None:
    assert tracking_url("http://127.0.0.1:9000/click", allow_private=True) == "http://127.0.0.1:9000/click"
    with pytest.raises(BadInput):
        tracking_url("127.0.0.1:9000/click", allow_private=True)


# Pieces that collide in names, in escapes and in characters that end a query.
_scraps = st.sampled_from(
    ["a", "b", "%61", "+", "%20", " ", "=", "é", "%zz", "%", "\r\n", "%0d%0a", "@", "//", ":", "?"]
)
_text = st.lists(st.one_of(_scraps, st.text(max_size=4)), max_size=5).map("".join)
queries = st.lists(_text, max_size=6).map("&".join).map(lambda text: text.encode("utf-8", "surrogatepass"))
hosts = st.sampled_from(
    ["shop.example", "münchen.example", "u:p@shop.example:81", "[2001:db8::1]", "127.1", "SHOP.example"]
)
urls = st.builds(
    lambda host, path, query, fragment: f"https://{host}{path}{query}{fragment}",
    hosts,
    st.one_of(st.just(""), _text.map(lambda text: f"/{text}")),
    st.one_of(st.just(""), st.lists(_text, max_size=5).map(lambda pieces: f"?{'&'.join(pieces)}")),
    st.one_of(st.just(""), _text.map(lambda text: f"#{text}")),
)


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2]


@given(st.one_of(urls, st.text(), st.text().map(lambda text: f"http://{text}")), queries)
def test_any_url_becomes_fit_for_a_header(url: str, query: bytes) -> None:
    assert re.fullmatch(r"[!-~]*", with_params(url, params(query)))


@given(st.one_of(urls, st.text().map(lambda text: f"http://{text}")), queries)
def test_no_visitor_chooses_the_host(url: str, query: bytes) -> None:
    try:
        expected = URL(url)
    except ValueError:
        assume(False)
    location = URL(with_params(url, params(query)))
    assert (location.protocol, location.host, location.username, location.password, location.pathname) == (
        *(expected.protocol, expected.host, expected.username, expected.password, expected.pathname),
    )


@given(urls, queries)
def test_setting_parameters_twice_changes_nothing_more(url: str, query: bytes) -> None:
    once = with_params(url, params(query))
    assert with_params(once, params(query)) == once


@given(urls, queries)
def test_the_urls_other_parameters_and_its_fragment_survive_byte_for_byte(url: str, query: bytes) -> None:
    arriving = params(query)
    names = {param.name for param in arriving}

    def others(location: str) -> list[str]:
        return [
            piece for piece in _query(location).split("&") if piece and decoded(piece.partition("=")[0]) not in names
        ]

    before, after = with_params(url, ()), with_params(url, arriving)
    assert others(after) == others(before)
    assert after.partition("#")[1:] == before.partition("#")[1:]


@given(urls, queries)
def test_every_inbound_value_arrives_in_order(url: str, query: bytes) -> None:
    arriving = params(query)
    landed = extracted_params(with_params(url, arriving))
    for name in {param.name for param in arriving if "\x00" not in param.name and "\ufffd" not in param.name}:
        values = [param.value.replace("\x00", "\ufffd") for param in arriving if param.name == name]
        assert landed[name] == (values if len(values) > 1 else values[0])
