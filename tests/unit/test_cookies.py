"""The cookies of one trace, by RFC 6265."""

import pytest
from ada_url import URL
from hypothesis import given
from hypothesis import strategies as st

from daemon.trace.walk.cookies import ATTRIBUTE_CHARACTERS_MAX, COOKIES_MAX, Jar

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
    assert sent(after("a=1", "b=2", "a=3")) == "a=3; b=2"


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
