"""The cookies of one trace, by RFC 6265bis."""

from datetime import datetime

import pytest
from ada_url import URL
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.walk.cookie_dates import cookie_date
from daemon.trace.walk.cookies import ATTRIBUTE_CHARACTERS_MAX, COOKIES_MAX, Jar, is_same_site

SET_AT = "https://www.shop.example.com/a/b?c"


def after(*lines: str, at: str = SET_AT, date: str | None = None) -> Jar:
    jar = Jar()
    headers = [(b"Set-Cookie", line.encode("latin-1")) for line in lines]
    if date is not None:
        headers.append((b"Date", date.encode()))
    jar.keep(URL(at), headers)
    return jar


def sent(jar: Jar, url: str = SET_AT) -> str:
    return jar.header(URL(url))


def test_cookies_are_sent_as_received_and_in_order() -> None:
    assert sent(after("a=1", 'b="x y"; HttpOnly', "c==;Secure", "d=\xc3\xbc")) == 'a=1; b="x y"; c==; d=\xc3\xbc'


def test_a_cookie_without_a_domain_is_sent_only_to_its_host() -> None:
    jar = after("a=1; Path=/")
    assert sent(jar, "https://www.shop.example.com/") == "a=1"
    assert sent(jar, "https://shop.example.com/") == ""
    assert sent(jar, "https://x.www.shop.example.com/") == ""


@pytest.mark.parametrize("domain", ["shop.example.com", ".Shop.Example.COM"])
def test_a_cookie_of_a_domain_goes_to_its_subdomains(domain: str) -> None:
    jar = after(f"a=1; Path=/; Domain={domain}")
    assert sent(jar, "https://shop.example.com/") == "a=1"
    assert sent(jar, "https://x.shop.example.com/") == "a=1"
    assert sent(jar, "https://notshop.example.com/") == ""


@pytest.mark.parametrize("domain", ["com", "other.example.com", "x.www.shop.example.com", "ample.com"])
def test_a_cookie_for_a_domain_that_is_not_its_own_is_refused(domain: str) -> None:
    assert sent(after(f"a=1; Domain={domain}")) == ""


def test_an_ip_address_and_a_single_label_may_set_only_their_own_cookies() -> None:
    assert sent(after("a=1; Domain=192.0.2.1", at="http://192.0.2.1/"), "http://192.0.2.1/") == "a=1"
    assert sent(after("a=1; Domain=2.1", at="http://192.0.2.1/"), "http://192.0.2.1/") == ""
    assert sent(after("a=1; Domain=intranet", at="http://intranet/"), "http://intranet/") == "a=1"
    assert sent(after("a=1; Domain=intranet", at="http://intranet/"), "http://x.intranet/") == ""


@pytest.mark.parametrize(
    ("path", "goes", "stays_away"),
    [("; Path=/a", "/a/x", "/ab"), ("; Path=/a/", "/a/x", "/a"), ("", "/a/other", "/b"), ("; Path=x", "/a/z", "/")],
)
def test_a_path_limits_where_a_cookie_goes(path: str, goes: str, stays_away: str) -> None:
    jar = after(f"a=1{path}")
    assert sent(jar, f"https://www.shop.example.com{goes}") == "a=1"
    assert sent(jar, f"https://www.shop.example.com{stays_away}") == ""


def test_longer_paths_come_first() -> None:
    assert sent(after("a=1; Path=/", "b=2; Path=/a")) == "b=2; a=1"


def test_a_secure_cookie_is_neither_accepted_nor_sent_over_plain_http() -> None:
    assert sent(after("a=1; Secure; Path=/"), "http://www.shop.example.com/") == ""
    assert sent(after("a=1; Secure; Path=/", at="http://www.shop.example.com/")) == ""


@pytest.mark.parametrize(
    "removal",
    [
        "Max-Age=0",
        "Max-Age=-1; Expires=Fri, 31 Dec 9999 23:59:59 GMT",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Thu, 01-Jan-70 00:00:01 GMT",
    ],
)
def test_a_cookie_set_to_expire_is_removed(removal: str) -> None:
    assert sent(after("a=1", "b=2", f"a=gone; {removal}")) == "b=2"


def test_expires_is_compared_to_the_answers_own_date() -> None:
    expires = "a=1; Expires=Wed, 01 Jan 2020 00:00:00 GMT"
    assert sent(after(expires, date="Wed, 01 Jan 2020 00:00:01 GMT")) == ""
    assert sent(after(expires, date="Tue, 31 Dec 2019 23:59:59 GMT")) == "a=1"
    assert sent(after("a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT")) == "a=1"


def test_a_new_value_replaces_the_old_one() -> None:
    assert sent(after("a=1", "b=2", "a=3")) == "b=2; a=3"
    assert sent(after("a=1", "b=2", "a=1")) == "a=1; b=2"


def test_a_cookie_of_the_host_alone_is_another_one_than_that_of_its_domain() -> None:
    domain = "Domain=www.shop.example.com"
    assert sent(after(f"a=1; {domain}", "a=2", "b=3", f"b=4; {domain}; Max-Age=0")) == "a=1; a=2; b=3"


@pytest.mark.parametrize("line", ["", "=", ";Path=/", "a\x01=1", "a=" + "x" * 5_000])
def test_a_malformed_or_too_large_cookie_is_ignored(line: str) -> None:
    assert sent(after(line)) == ""


def test_an_attribute_that_is_too_long_is_ignored() -> None:
    path = "/a/" + "b" * ATTRIBUTE_CHARACTERS_MAX
    assert sent(after(f"c=1;path={path}"), "https://www.shop.example.com/a/x") == "c=1"
    assert sent(after(f"c=1;path=/;path={path}"), "https://www.shop.example.com/") == "c=1"


def test_a_full_jar_removes_its_oldest_cookie() -> None:
    jar = after(*(f"c{number}=1" for number in range(COOKIES_MAX + 1)))
    names = [pair.partition("=")[0] for pair in sent(jar).split("; ")]
    assert names == [f"c{number}" for number in range(1, COOKIES_MAX + 1)]


@given(st.lists(st.binary(max_size=80), max_size=5), st.binary(max_size=40))
def test_no_set_cookie_raises(lines: list[bytes], date: bytes) -> None:
    jar = Jar()
    jar.keep(URL(SET_AT), [*((b"set-cookie", line) for line in lines), (b"date", date)])
    jar.keep(URL(SET_AT), [*((b"set-cookie", b"a=1; expires=" + line) for line in lines), (b"date", date)])
    assert "\n" not in sent(jar)


DATES: list[tuple[str, str | None]] = [
    ("Wed, 09 Jun 2021 10:18:14 GMT", "2021-06-09T10:18:14"),
    ("Wednesday, 09-Jun-21 10:18:14 GMT", "2021-06-09T10:18:14"),
    ("Wed Jun  9 10:18:14 2021", "2021-06-09T10:18:14"),
    ("Wed, 09/Jun/2021 10:18:14", "2021-06-09T10:18:14"),
    ("Wed, 9-Juneau-2021 1:8:4 CET", "2021-06-09T01:08:04"),
    ("10:18:14 GMT, 9 jun 70", "1970-06-09T10:18:14"),
    ("Never, 09-Jun-69;10:18:14", "2069-06-09T10:18:14"),
    ('"9-Jun-21"10:18:14"GMT"', "2021-06-09T10:18:14"),
    ("9th Jun 2021ad 10:18:14.5", "2021-06-09T10:18:14"),
    ("31 Jun 2021 10:18:14", None),
    ("32 Jun 2021 10:18:14", None),
    ("0 Jun 2021 10:18:14", None),
    ("97 June 17 10:18:14", None),
    ("9 Jun 1600 10:18:14", None),
    ("9 Jun 20211 10:18:14", None),
    ("9 Jun 2021 24:00:00", None),
    ("9 Jun 2021 10:60:00", None),
    ("9 Jun 2021 10:18:60", None),
    ("9 Jun 2021 10:18", None),
    ("9 2021 10:18:14", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "moment"), DATES)
def test_a_date_is_read_as_browsers_read_the_dates_of_cookies(text: str, moment: str | None) -> None:
    expected = None if moment is None else datetime.fromisoformat(moment + "+00:00").timestamp()
    assert cookie_date(text) == expected


def test_an_invalid_date_or_max_age_is_ignored() -> None:
    assert sent(after("a=1; Expires=40 Jan 1970 00:00:00")) == "a=1"
    assert sent(after("a=1; Expires=1 Jan 1970 00:00:00; Expires=soon")) == ""
    assert sent(after("a=1; Max-Age=; Expires=1 Jan 1970 00:00:00")) == ""
    assert sent(after("a=1; Max-Age=1.5")) == "a=1"


@pytest.mark.parametrize(
    "line",
    [
        "__Secure-a=1; Secure",
        "__SECURE-a=1; Secure",
        "__Host-a=1; Secure; Path=/",
        "__Host-a=1; Secure; Path=/; Domain=",
        "__Http-a=1; Secure; HttpOnly",
        "__Host-Http-a=1; Secure; HttpOnly; Path=/",
        "__Hosta=1",
        "a=__Host-",
    ],
)
def test_a_cookie_with_a_prefix_is_kept_if_it_has_what_the_prefix_requires(line: str) -> None:
    assert sent(after(line)) == line.partition(";")[0]


@pytest.mark.parametrize(
    "line",
    [
        "__Secure-a=1",
        "__secure-a=1",
        "__Host-a=1; Secure",
        "__Host-a=1; Path=/",
        "__host-a=1; Secure; Path=/a",
        "__Host-a=1; Secure; Path=/; Domain=www.shop.example.com",
        "__Http-a=1; Secure",
        "__Host-Http-a=1; Secure; Path=/",
        "__Host-",
        "=__Secure-a=1; Secure",
        "=__host-a; Secure; Path=/",
    ],
)
def test_a_cookie_whose_name_promises_more_than_its_attributes_is_refused(line: str) -> None:
    assert sent(after(line)) == ""


def test_a_cookie_for_other_sites_must_be_secure() -> None:
    assert sent(after("a=1; SameSite=None")) == ""
    assert sent(after("a=1; SameSite=None; Secure", "b=2; SameSite=Strict")) == "a=1; b=2"


@pytest.mark.parametrize(
    ("page", "method", "cookies"),
    [
        (None, "GET", "a=1; b=2; c=3; d=4; e=5"),
        ("https://shop.example.com/", "POST", "a=1; b=2; c=3; d=4; e=5"),
        ("https://other.example/", "GET", "b=2; c=3; d=4; e=5"),
        ("https://other.example/", "POST", "c=3; d=4; e=5"),
        ("http://www.shop.example.com/", "GET", "b=2; c=3; d=4; e=5"),
    ],
)
def test_a_page_of_another_site_sends_no_cookie_that_is_for_its_own_site(
    page: str | None, method: str, cookies: str
) -> None:
    kinds = ("a=1; SameSite=strict", "b=2; SameSite=LAX", "c=3; Secure; SameSite=None", "d=4", "e=5; SameSite=x")
    assert after(*kinds).header(URL(SET_AT), URL(page) if page else None, method) == cookies


def test_a_cookie_over_plain_http_replaces_and_hides_no_secure_one() -> None:
    jar = after("a=1; Secure; Path=/x")
    plain = URL("http://www.shop.example.com/x")
    for line in (b"a=2; Path=/x", b"a=2; Path=/x/y; Domain=example.com"):
        jar.keep(plain, [(b"set-cookie", line)])
        assert jar.header(plain) == ""
    jar.keep(plain, [(b"set-cookie", b"a=2; Path=/")])
    assert jar.header(plain) == "a=2"


@pytest.mark.parametrize("domain", ["co.uk", "github.io", "uk"])
def test_a_public_suffix_is_no_domain_of_a_cookie(domain: str) -> None:
    assert sent(after(f"a=1; Domain={domain}", at=f"https://x.{domain}/"), f"https://x.{domain}/") == ""
    assert sent(after(f"a=1; Domain={domain}", at=f"https://{domain}/"), f"https://{domain}/") == "a=1"
    assert sent(after(f"a=1; Domain={domain}", at=f"https://{domain}/"), f"https://x.{domain}/") == ""


def test_a_tab_inside_a_value_is_kept_and_any_other_control_character_refuses_the_cookie() -> None:
    assert sent(after(" a = 1\t2 ")) == "a=1\t2"
    for line in ("a=1\x7f", "a=1; Path=/\x0b", "a\x00=1"):
        assert sent(after(line)) == ""


def scripted(jar: Jar, *lines: str) -> str:
    """document.cookie after these assignments."""
    jar.keep_from_script(URL(SET_AT), [], lines)
    return jar.document_cookie(URL(SET_AT))


def test_a_script_sees_and_sets_each_cookie_that_is_not_http_only() -> None:
    jar = after("a=1", "b=2; HttpOnly")
    assert jar.document_cookie(URL(SET_AT)) == "a=1"
    assert scripted(jar, "b=3", "c=4; HttpOnly", "d=5; Path=/", "__Http-e=6; Secure; HttpOnly") == "a=1; d=5"
    assert sent(jar) == "a=1; b=2; d=5"


def test_a_script_removes_its_cookie_but_none_that_is_http_only() -> None:
    jar = after("a=1", "b=2; HttpOnly")
    assert scripted(jar, "a=; Max-Age=0", "b=; expires=Thu, 01 Jan 1970 00:00:00 GMT") == ""
    assert sent(jar) == "b=2"


def test_the_cookies_of_a_script_are_sent_in_utf_8() -> None:
    jar = Jar()
    assert scripted(jar, "a=ü") == "a=ü"
    assert sent(jar).encode("latin-1") == "a=ü".encode()


@pytest.mark.parametrize(
    ("url", "other", "same"),
    [
        ("https://a.example.com/", "https://b.example.com/", True),
        ("https://example.com/", "https://b.example.com:8443/", True),
        ("https://a.example.com/", "http://a.example.com/", False),
        ("https://a.example.com/", "https://a.example.org/", False),
        ("https://a.co.uk/", "https://b.co.uk/", False),
        ("https://192.0.2.1/", "https://192.0.2.1:8443/", True),
        ("https://192.0.2.1/", "https://192.0.2.2/", False),
    ],
)
def test_a_site_is_a_scheme_and_a_registrable_domain(url: str, other: str, same: bool) -> None:
    assert is_same_site(URL(url), URL(other)) is same
