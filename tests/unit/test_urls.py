"""URLs from untrusted input: parsing, escaping, and header fields."""

import pytest
import webencodings
from ada_url import URL

from daemon.trace.page.charsets import percent_encoded, url_in_document
from daemon.web.headers import AUTHORITY_CHARACTERS_MAX, location_in, parsed, refresh_in, value_of, values_of
from daemon.web.urls import unescaped

HERE = URL("http://ads.example/a/")
LONG = "é" * (AUTHORITY_CHARACTERS_MAX + 1)


@pytest.mark.parametrize("scheme", ["http://", "HTTPS:", "//", "\\\\", "ht\ttp:/\n/", " \x01wss://", "http:////"])
def test_a_host_that_no_server_has_is_refused_before_it_is_parsed(scheme: str) -> None:
    assert parsed(f"{scheme}{LONG}/", HERE.href) is None
    assert parsed(f"{scheme}user@{LONG}", HERE.href) is None
    assert url_in_document(f"{scheme}{LONG}/", HERE, webencodings.UTF8) is None


@pytest.mark.parametrize("text", [f"/{LONG}", LONG, f"?{LONG}", f"http://a.example/{LONG}", f"//a.example?{LONG}"])
def test_a_long_path_or_query_is_none_of_that(text: str) -> None:
    assert parsed(text, HERE.href) is not None


def test_what_an_encoding_lacks_is_escaped_wherever_it_stands() -> None:
    latin = webencodings.lookup("windows-1252")
    assert latin is not None
    text = "é&\N{GREEK SMALL LETTER PI}" * 2_000
    assert percent_encoded(text, latin, "") == "%E9%26%26%23960%3B" * 2_000


@pytest.mark.parametrize(
    ("text", "data"),
    [("", b""), ("%61%C3%a9", b"a\xc3\xa9"), ("%", b"%"), ("%%61%6", b"%a%6"), ("%zz%4", b"%zz%4"), ("a%2Bb", b"a+b")],
)
def test_escapes_are_undone_and_broken_ones_stay(text: str, data: bytes) -> None:
    assert unescaped(text) == data


def test_a_header_field_is_found_by_its_name_in_any_case() -> None:
    headers = [(b"Via", b"a"), (b"X-Via", b"b"), (b"VIA", b"c")]
    assert values_of(headers, b"via") == [b"a", b"c"]
    assert value_of(headers, b"via") == b"a"
    assert (values_of(headers, b"age"), value_of(headers, b"age")) == ([], None)


def test_the_first_location_that_is_not_empty_counts_and_any_refresh() -> None:
    headers = [
        (b"Location", b" "),
        (b"location", b"/\xc3\xa9"),
        (b"LOCATION", b"/later"),
        (b"Refresh", b""),
        (b"refresh", b"1"),
    ]
    assert (location_in(headers), refresh_in(headers)) == ("/%C3%A9", "")
    assert location_in([(b"location", b"/\xe9")]) == "/%E9"
    assert (location_in([]), refresh_in([])) == (None, None)
