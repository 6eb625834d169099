"""The visitor of a request: the trusted address, and headers cut to the stored length."""

import pytest

from daemon.click.visitor import FORWARDED_MAX, HEADER_CHARACTERS_MAX, networks, visitor_of

PROXY = "10.0.0.1"
TRUSTED = networks(["10.0.0.0/8", "2001:db8::/32"])


def address(
    peer: str | None, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "2001:db8::/32")
) -> str | None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return visitor_of(peer, headers, networks(trusted)).address


def test_without_trusted_proxies_the_peer_is_the_visitor() -> None:
    assert address("192.0.2.7", "203.0.113.9", trusted=()) == "192.0.2.7"
    assert address(PROXY, "203.0.113.9", trusted=()) == PROXY


def test_the_forwarded_address_of_a_trusted_proxy_is_used() -> None:
    assert address(PROXY, "203.0.113.9") == "203.0.113.9"
    assert address("2001:db8::1", "2001:4860::8") == "2001:4860::8"


def test_the_forwarded_address_of_an_untrusted_peer_is_ignored() -> None:
    assert address("192.0.2.7", "203.0.113.9") == "192.0.2.7"


def test_addresses_that_the_visitor_forwarded_are_ignored() -> None:
    assert address(PROXY, "1.1.1.1, 203.0.113.9") == "203.0.113.9"
    assert address(PROXY, "1.1.1.1, 203.0.113.9, 10.2.3.4") == "203.0.113.9"


def test_several_header_lines_are_one_list() -> None:
    """A proxy may add its own field after the one that the visitor sent."""
    assert address(PROXY, "1.1.1.1", "203.0.113.9") == "203.0.113.9"
    assert address(PROXY, "1.1.1.1, 203.0.113.9", "10.2.3.4") == "203.0.113.9"


@pytest.mark.parametrize("nonsense", ["", " ", "unknown", "203.0.113.9:4711", "<script>", "999.1.1.1", ",", "\x00"])
def test_addresses_left_of_an_invalid_one_are_ignored(nonsense: str) -> None:
    assert address(PROXY, nonsense) == PROXY
    assert address(PROXY, f"1.1.1.1, {nonsense}, 10.9.9.9") == "10.9.9.9"


def test_if_all_are_proxies_the_first_is_the_visitor() -> None:
    assert address(PROXY, "10.1.1.1, 10.2.2.2") == "10.1.1.1"


def test_a_limited_number_of_addresses_is_read_from_the_right() -> None:
    assert address(PROXY, "203.0.113.9" + ", 10.1.1.1" * (FORWARDED_MAX - 1)) == "203.0.113.9"
    assert address(PROXY, "203.0.113.9" + ", 10.1.1.1" * (FORWARDED_MAX + 1)) == "10.1.1.1"


def test_addresses_are_canonical() -> None:
    assert address(PROXY, "2A02:0:0::7") == "2a02::7"


def test_a_unix_socket_has_no_address() -> None:
    assert address(None, "203.0.113.9") is None


def test_a_proxy_at_a_unix_socket_is_believed_where_it_is_trusted() -> None:
    assert address(None, "203.0.113.9", trusted=("unix",)) == "203.0.113.9"
    assert address(None, "6.6.6.6, 203.0.113.9", trusted=("unix",)) == "203.0.113.9", "it is the only one that is"
    assert address("10.0.0.1", "203.0.113.9", trusted=("unix",)) == "10.0.0.1"
    assert address(None, trusted=("unix",)) is None


@pytest.mark.parametrize("peer", ["", "not-an-address", "fe80::1%eth0"])
def test_an_invalid_peer_is_no_proxy(peer: str) -> None:
    assert address(peer, "203.0.113.9") == peer


def test_headers_are_cut_and_empty_ones_are_none() -> None:
    headers = [(b"user-agent", b"x" * 10_000), (b"accept-language", b""), (b"referer", b"https://search.example/?q=1")]
    visitor = visitor_of("192.0.2.7", headers, TRUSTED)
    assert visitor.user_agent == "x" * HEADER_CHARACTERS_MAX
    assert visitor.accept_language is None
    assert visitor.referrer == "https://search.example/?q=1"


def test_a_network_may_be_written_with_host_bits() -> None:
    assert address("10.3.2.1", "203.0.113.9", trusted=("10.3.2.9/24",)) == "203.0.113.9"
