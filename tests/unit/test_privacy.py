"""What is kept of a visitor: addresses, User-Agents and referrers, in full, truncated, or not at all."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.click.visitor import Visitor
from daemon.settings.model import Privacy
from daemon.web.privacy import kept_address, kept_referrer, kept_user_agent, truncated_address

CHROME = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro Build/UD1A.230803.041) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.6478.122 Mobile Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
        ("203.0.0.0/16", None),
        ("somebody", None),
        ("", None),
    ],
)
def test_a_truncated_address_is_its_network(address: str, network: str | None) -> None:
    assert truncated_address(address) == kept_address(address, "truncated") == network
    assert kept_address(address, "full") == address
    assert kept_address(address, "none") is None


@given(st.ip_addresses())
def test_the_network_has_the_address_and_nothing_of_its_last_bits(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    network = ipaddress.ip_network(truncated_address(str(address)) or "")
    assert address in network
    assert network.prefixlen == (24 if address.version == 4 else 48)


@pytest.mark.parametrize(
    ("user_agent", "kept"),
    [
        (CHROME, "Chrome/126 Android/14"),
        (f"{CHROME} EdgA/126.0.2592.81", "Edge/126 Android/14"),
        (f"{CHROME} [FB_IAB/FB4A;FBAV/471.0.0.48.84;]", "Facebook/471 Android/14"),
        (f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1", "Safari/17 iOS/17"),
        (f"{IPHONE} CriOS/126.0.6478.35 Mobile/15E148", "Chrome/126 iOS/17"),
        (f"{IPHONE} Mobile/15E148 Instagram 335.0.0 (iPhone15,4; de_DE)", "Instagram/335 iOS/17"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox/127 Windows/10"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/17.4 Safari/605",
            "Safari/17 macOS/10",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/125.0.0.0 Safari/537.36 OPR/111.0", "Opera/111 Linux"),
        ("curl/8.5.0", "curl/8"),
        ("Anna's own browser 3", None),
        ("\x00\xff", None),
    ],
)
def test_a_truncated_user_agent_names_browser_and_system_with_major_versions(user_agent: str, kept: str | None) -> None:
    assert kept_user_agent(user_agent, "truncated") == kept
    assert kept_user_agent(user_agent, "full") == user_agent
    assert kept_user_agent(user_agent, "none") is None


@pytest.mark.parametrize(
    ("referrer", "kept"),
    [
        ("https://News.example/a/b?user=anna#top", "https://news.example/"),
        ("http://news.example:8080", "http://news.example:8080/"),
        ("https://anna:secret@news.example/", "https://news.example/"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/"),
        ("android-app://com.google.android.googlequicksearchbox/", "android-app://com.google.android.googlequicksearchbox/"),
        ("about:blank", None),
        ("anna@example.org", None),
        ("https:///x", None),
    ],
)  # fmt: skip
def test_a_truncated_referrer_is_its_origin(referrer: str, kept: str | None) -> None:
    assert kept_referrer(referrer, "truncated") == kept
    assert kept_referrer(referrer, "full") == referrer
    assert kept_referrer(referrer, "none") is None


@given(st.text(max_size=200))
def test_of_a_truncated_value_little_is_kept(text: str) -> None:
    assert len(kept_user_agent(text, "truncated") or "") <= 60
    origin = kept_referrer(text, "truncated")
    assert origin is None or origin.count("/") == 3


def test_a_visitor_is_kept_as_the_settings_say() -> None:
    visitor = Visitor("203.0.113.77", CHROME, "de-DE", "https://news.example/a?b=c")
    assert visitor.kept(Privacy()) is visitor, "nothing is computed where all is kept"
    mixed = Privacy(visitor_address="none", user_agent="truncated", referrer="full")
    assert visitor.kept(mixed) == Visitor(None, "Chrome/126 Android/14", None, visitor.referrer)
    nothing = Privacy(visitor_address="none", user_agent="none", referrer="none")
    assert visitor.kept(nothing) == Visitor(None, None, None, None)
