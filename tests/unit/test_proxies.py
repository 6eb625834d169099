"""The proxy address of a row, its provider's settings and its lease."""

import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from daemon.providers.proxies import Login, ProxyAddress, UnusableProxy, address_of, exit_ip_in, login_of, proxy_for
from daemon.providers.settings import PLACEHOLDERS, Provider
from daemon.web.addresses import host_and_port

WORD = SecretStr("canary-word")
GATE = Provider(
    username="customer",
    password=WORD,
    gateway="gate.example:9000",
    username_pattern="{username}-{country}-{session}-{lock_minutes}",
)


def changed(provider: Provider, **keys: object) -> Provider:
    return provider.model_copy(update=keys)


def with_sessions(characters: str, length_min: int, length_max: int) -> Provider:
    lengths = {"session_length_min": length_min, "session_length_max": length_max}
    return changed(GATE, session_characters=characters, **lengths)


ALPHANUMERIC = with_sessions("alphanumeric", 4, 24)
EIGHT = with_sessions("alphanumeric", 8, 8)
DIGITS = with_sessions("digits", 1, 12)


def login(
    provider: Provider, address: str = "luna-us-1", port: str = "7000", country: str = "us", lease: str = "a"
) -> str:
    proxy = proxy_for(address, port, provider, name="luna", country=country, lease=lease, lock_s=90)
    assert isinstance(proxy, ProxyAddress), proxy
    assert proxy.username is not None
    return proxy.username


def session(provider: Provider, address: str = "luna-us-1", port: str = "7000", lease: str = "a") -> str:
    return login(changed(provider, username_pattern="{session}"), address, port, lease=lease)


@pytest.mark.parametrize(
    ("ip_address", "host"),
    [
        ("198.51.100.7", "198.51.100.7"),
        (" 198.51.100.7\n", "198.51.100.7"),
        ("test-ip-1", "test-ip-1"),
        ("Gate_1.proxy.example.", "gate_1.proxy.example"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_an_address_or_a_name_is_a_host(ip_address: str, host: str) -> None:
    assert proxy_for(ip_address, "7000") == ProxyAddress(host, 7000)


@pytest.mark.parametrize(
    "ip_address", ["", " ", "a b", "http://x", "a/b", "a\r\nHost: b", "a@b", "-x", "x-", "4711", "a" * 300]
)
def test_a_text_that_is_no_host_is_a_value_not_an_exception(ip_address: str) -> None:
    assert isinstance(proxy_for(ip_address, "7000"), UnusableProxy)


@pytest.mark.parametrize("ip_port", ["", "0", "-1", "65536", "70 00", "7000.0", "٧", "http", "9" * 5_000])
def test_a_text_that_is_no_port_is_a_value_not_an_exception(ip_port: str) -> None:
    assert isinstance(proxy_for("198.51.100.7", ip_port), UnusableProxy)


def test_no_repr_shows_a_password_or_a_username() -> None:
    provider = changed(GATE, username_pattern="{username}-{password}", password_pattern="{password}_x")
    proxy = proxy_for("198.51.100.7", "7000", provider)
    assert isinstance(proxy, ProxyAddress)
    assert "canary" not in repr(provider) + repr(proxy)
    assert (proxy.username, proxy.password) == ("customer-canary-word", "canary-word_x")


def test_credentials_are_sent_as_basic_and_empty_ones_are_not_sent() -> None:
    proxy = proxy_for("198.51.100.7", "7000", Provider(username="user", password=WORD))
    assert isinstance(proxy, ProxyAddress)
    assert proxy.authorization == "Basic dXNlcjpjYW5hcnktd29yZA=="
    assert proxy_for("198.51.100.7", "7000", Provider()) == ProxyAddress("198.51.100.7", 7000)
    assert ProxyAddress("198.51.100.7", 7000).authorization is None


def test_a_provider_without_a_gateway_is_dialled_at_the_rows_own_address() -> None:
    proxy = proxy_for(
        "198.51.100.7", "7001", Provider(username="user", password=WORD, scheme="socks5"), country="nowhere"
    )
    assert proxy == ProxyAddress("198.51.100.7", 7001, "user", "canary-word", "socks5")


def test_a_row_of_a_gateway_is_a_session_there() -> None:
    assert proxy_for("luna-us-1", "7000", GATE, country="us", lock_s=90) == ProxyAddress(
        "gate.example", 9000, "customer-us-luna-us-1-2", "canary-word"
    )


def test_rows_that_differ_in_their_port_alone_have_sessions_of_their_own() -> None:
    assert login(GATE, port="7001") == "customer-us-luna-us-1-7001-2"


@pytest.mark.parametrize(
    ("country", "case", "code"),
    [
        ("usa", "lower", "us"),
        (" GB ", "upper", "GB"),
        ("Germany", "lower", "de"),
        ("uk", "lower", "gb"),
        ("De", "upper", "DE"),
    ],
)
def test_a_country_goes_by_its_code_in_the_gateways_case(
    country: str, case: Literal["lower", "upper"], code: str
) -> None:
    provider = changed(GATE, country_case=case, username_pattern="{country}")
    assert login(provider, country=country) == code


@pytest.mark.parametrize("country", ["", "germanya", "d-e", "ü1", "u"])
def test_a_country_without_a_code_is_refused_if_the_login_needs_it(country: str) -> None:
    assert isinstance(proxy_for("luna-us-1", "7000", GATE, country=country), UnusableProxy)
    assert login(changed(GATE, username_pattern="{session}"), country=country) == "luna-us-1"


def test_a_text_that_the_gateway_refuses_becomes_an_accepted_one() -> None:
    assert re.fullmatch(r"lunaus1[a-z0-9]{12}", session(ALPHANUMERIC))
    assert re.fullmatch(r"[a-z0-9]{8}", session(EIGHT))
    assert re.fullmatch(r"[1-9][0-9]{11}", session(DIGITS, "198.51.100.7"))
    assert session(ALPHANUMERIC, "abc1") == session(changed(GATE, username_pattern="x"), "abc1") == "abc1"


def test_a_generated_row_has_its_number_where_sessions_are_numbers() -> None:
    assert session(DIGITS, "luna-us-17") == "17"
    assert len(session(DIGITS, "other-17")) == 12, "another prefix may have the same number"
    assert len(session(DIGITS, "luna-us-017")) == 12
    assert session(DIGITS, "4711") == "4711"


@pytest.mark.parametrize(
    "provider", [GATE, ALPHANUMERIC, EIGHT, DIGITS], ids=["any", "alphanumeric", "eight", "digits"]
)
def test_rows_have_sessions_of_their_own_that_fit_and_stay(provider: Provider) -> None:
    rows = [f"luna-us-{number}" for number in range(1, 500)] + [f"lunaus{number}" for number in range(1, 500)]
    rows += [f"198.51.{number}.7" for number in range(250)] + [f"1985.1.{number}.x" for number in range(250)]
    sessions = {session(provider, row) for row in rows}
    assert len(sessions) == len(rows)
    assert all(provider.allows_session(text) for text in sessions)
    assert sessions == {session(provider, row, lease="another") for row in rows}


@given(st.from_regex(r"[A-Za-z]([A-Za-z0-9-]{0,40}[A-Za-z0-9])?(\.[a-z]{1,40})?", fullmatch=True), st.integers(1, 64))
def test_any_row_gets_a_session_of_the_lengths_allowed(address: str, length: int) -> None:
    provider = with_sessions("alphanumeric", length, length)
    assert provider.allows_session(session(provider, address))


def test_a_session_for_each_lease_is_new_each_time_and_the_same_within_it() -> None:
    leased = changed(ALPHANUMERIC, session="lease")
    sessions = {session(leased, lease=f"request/{number}") for number in range(100)}
    assert len(sessions) == 100
    assert all(leased.allows_session(text) for text in sessions)
    assert session(leased, lease="request/1") in sessions
    assert len(session(changed(EIGHT, session="lease"))) == 8


def test_a_login_too_long_for_socks_is_refused() -> None:
    long = Provider(username="u" * 256, password=WORD, scheme="socks5")
    assert isinstance(proxy_for("198.51.100.7", "7000", long), UnusableProxy)
    assert isinstance(proxy_for("198.51.100.7", "7000", changed(long, scheme="http")), ProxyAddress)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gate.example:7000", ("gate.example", 7000)),
        ("[2001:db8::7]:80", ("2001:db8::7", 80)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("2001:db8::7", None),
        ("gate.example", None),
        (":7000", None),
        ("http://gate.example:7000", None),
        ("gate.example:7000\r\nx", None),
    ],
)
def test_a_text_is_a_host_and_a_port(text: str, found: tuple[str, int] | None) -> None:
    assert host_and_port(text) == found


@pytest.mark.parametrize("text", ["gate.example:0", "gate.example", "a b:80", "gate.example:7000\r\nx", "-x:80"])
def test_a_gateway_without_a_host_or_a_port_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="must be host:port"):
        Provider(username="customer", gateway=text)


@pytest.mark.parametrize(
    "pattern", ["{sesion}", "{}", "{0}", "{username!r}", "{session:>9}", "{username.x}", "{", "a}"]
)
def test_an_unknown_placeholder_is_named_with_the_allowed_ones(pattern: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Provider(password_pattern="{password}" + pattern)
    assert all(f"{{{name}}}" in str(refused.value) for name in PLACEHOLDERS)


def test_known_placeholders_and_doubled_braces_are_fine() -> None:
    assert Provider(username_pattern="a-{username}{{x}}-{session}").username_pattern == "a-{username}{{x}}-{session}"


@pytest.mark.parametrize(
    ("text", "address"),
    [(" 198.51.100.7 ", "198.51.100.7"), ("2001:DB8::0:7", "2001:db8::7"), ("r2d29b", None), ("", None), (None, None),
     ("1" * 100, None), ("198.51.100.7:80", None)],
)  # fmt: skip
def test_an_exit_address_is_an_address(text: str | None, address: str | None) -> None:
    assert address_of(text) == address
    if text is not None:
        assert exit_ip_in([(b"Date", b"x"), (b"X-Exit", text.encode())], "x-exit") == address


def test_no_header_no_exit_address() -> None:
    assert exit_ip_in([(b"X-Exit", b"198.51.100.7")], None) is None
    assert exit_ip_in([(b"X-Exit", b"\xff\xfe")], "x-exit") is None


def test_an_ip_with_its_own_login_is_dialled_at_its_own_endpoint_with_it() -> None:
    login = Login("bob", "canary")
    for provider in (None, Provider(username="customer", password=WORD), GATE):
        proxy = proxy_for("198.51.100.7", "3128", provider, login=login)
        assert isinstance(proxy, ProxyAddress)
        assert (proxy.host, proxy.port, proxy.username, proxy.password) == ("198.51.100.7", 3128, "bob", "canary")
        assert "canary" not in repr(proxy) + repr(login)
    socks = Provider(scheme="socks5")
    assert proxy_for("198.51.100.7", "3128", socks, login=login) == ProxyAddress(
        "198.51.100.7", 3128, "bob", "canary", "socks5"
    )
    assert isinstance(proxy_for("198.51.100.7", "3128", socks, login=Login("bob", "x" * 256)), UnusableProxy)
    assert isinstance(proxy_for("4711", "7000", GATE, login=login), UnusableProxy), "a session has no endpoint"


@pytest.mark.parametrize(("username", "password", "login"), [
    ("bob", "secret", Login("bob", "secret")), ("bob", None, Login("bob", "")), (None, None, None), ("", "x", None),
])  # fmt: skip
def test_a_row_has_a_login_if_it_has_a_username(
    username: str | None, password: str | None, login: Login | None
) -> None:
    assert login_of(username, password) == login
