"""The visitor of a request: the trusted address, and headers cut to the stored length."""

import pytest

from daemon.click.visitor import HEADER_CHARACTERS_MAX, trusted_proxies, visitor_of
from daemon.web.forwarded import ADDRESSES_MAX

PROXY = "10.0.0.1"
NETWORKS = ("10.0.0.0/8", "2001:db8::/32")
TRUSTED = trusted_proxies(NETWORKS)


def address(
    peer: str | None, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "2001:db8::/32")
) -> str | None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return visitor_of(peer, headers, trusted_proxies(trusted)).address


def by(header: str, *fields: tuple[str, str], peer: str | None = PROXY) -> str | None:
    """The visitor's address with `click.forwarded_header = header`."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return visitor_of(peer, headers, trusted_proxies(NETWORKS, header)).address


def rfc_7239(*fields: str) -> str | None:
    return by("Forwarded", *[("forwarded", field) for field in fields])


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


@pytest.mark.parametrize("nonsense", ["unknown", "_hidden", "<script>", "999.1.1.1", "010.1.1.1", "1.1.1.1:",
                                      "1.1.1.1:99999", "[1.1.1.1", "::1::2", "1.1.1.1 2.2.2.2",
                                      '"1.1.1.1', "\x00"])  # fmt: skip
def test_addresses_left_of_an_invalid_one_are_ignored(nonsense: str) -> None:
    assert address(PROXY, nonsense) == PROXY
    assert address(PROXY, f"1.1.1.1, {nonsense}, 10.9.9.9") == "10.9.9.9"


def test_if_all_are_proxies_the_first_is_the_visitor() -> None:
    assert address(PROXY, "10.1.1.1, 10.2.2.2") == "10.1.1.1"


def test_a_limited_number_of_addresses_is_read_from_the_right() -> None:
    assert address(PROXY, "203.0.113.9" + ", 10.1.1.1" * (ADDRESSES_MAX - 1)) == "203.0.113.9"
    assert address(PROXY, "203.0.113.9" + ", 10.1.1.1" * (ADDRESSES_MAX + 1)) == "10.1.1.1"


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2a02:db8::9]:4711", "2a02:db8::9"),
        ("[2a02:db8::9]", "2a02:db8::9"),
        ("2a02:DB8::9", "2a02:db8::9"),
        ("2a02:db8:1:2:3:4:5:6:51234", "2a02:db8:1:2:3:4:5:6"),
        ("[fe80::1%eth0]", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::FFFF:cb00:7107]:80", "203.0.113.7"),
        ('"203.0.113.7"', "203.0.113.7"),
        ('"203.0.113.7:80"', "203.0.113.7"),
        ("203.0.113.7:_obfuscated", "203.0.113.7"),
        ("\t203.0.113.7 ", "203.0.113.7"),
    ],
)
def test_an_address_is_read_in_every_notation_of_a_proxy(text: str, expected: str) -> None:
    assert address(PROXY, text) == expected
    assert address(PROXY, f"1.1.1.1, {text}, 10.2.2.2:9") == expected


@pytest.mark.parametrize("empty", ["", " ", ",", ", ,"])
def test_empty_elements_of_the_list_are_ignored(empty: str) -> None:
    assert address(PROXY, empty) == PROXY
    assert address(PROXY, f"203.0.113.9, {empty}, 10.9.9.9,") == "203.0.113.9"


def test_an_ipv4_mapped_address_is_trusted_as_its_ipv4_address() -> None:
    assert address(PROXY, "203.0.113.9, ::ffff:10.9.9.9") == "203.0.113.9"
    assert address(PROXY, "203.0.113.9", trusted=("::ffff:10.0.0.0/104",)) == "203.0.113.9"
    assert address("2a02::1", "203.0.113.9", trusted=("::/0",)) == "203.0.113.9"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["for=203.0.113.9"], "203.0.113.9"),
        (['For="[2a02:db8::9]:4711"'], "2a02:db8::9"),
        (["for=203.0.113.9:4711;proto=https;by=10.0.0.1"], "203.0.113.9"),
        (["proto=https ; for=203.0.113.9 ;"], "203.0.113.9"),
        (["for=1.1.1.1, for=203.0.113.9, for=10.2.2.2"], "203.0.113.9"),
        (["for=1.1.1.1", "for=203.0.113.9, for=10.2.2.2"], "203.0.113.9"),
        (['for="_gazonk", for=203.0.113.9,'], "203.0.113.9"),
        (['for="203.0\\.113.9"'], "203.0.113.9"),
    ],
)
def test_forwarded_is_read_by_rfc_7239(fields: list[str], expected: str) -> None:
    assert rfc_7239(*fields) == expected


@pytest.mark.parametrize(
    "field",
    ["", "for=unknown", "for=_hidden", "proto=https", "for=", "203.0.113.9", 'for="203.0.113.9',
     "for=1.1.1.1;for=2.2.2.2", "for=1.1.1.1, nonsense", "for=1.1.1.1, by=10.0.0.1", "for=1.1.1.1, " + "x" * 600],
)  # fmt: skip
def test_a_forwarded_element_without_an_address_ends_the_list(field: str) -> None:
    assert rfc_7239(field) == PROXY


@pytest.mark.parametrize(
    "before",
    ['for="6.6.6.6', 'for="', 'for="\\', 'for="6.6.6.6"x', "for=6.6.6.6;", 'x="for=6.6.6.6;', '"' * 9, "for=6.6.6.6,,"],
)
@pytest.mark.parametrize("own", ["for=203.0.113.9", 'for="203.0.113.9:80";proto=https;host="shop.example"'])
def test_what_a_visitor_wrote_before_does_not_hide_the_proxys_element(before: str, own: str) -> None:
    assert rfc_7239(f"{before}, {own}") == "203.0.113.9"
    assert rfc_7239(before, own) == "203.0.113.9"


@pytest.mark.parametrize("host", ["a,for=6.6.6.6", ",for=6.6.6.6,", r"a;for=6.6.6.6,for=\"6.6.6.6\"", "for=6.6.6.6"])
def test_a_host_that_the_visitor_chose_is_no_address(host: str) -> None:
    assert rfc_7239(f'for=203.0.113.9;host="{host}"') == "203.0.113.9"
    assert rfc_7239(f'host="{host}";for=203.0.113.9') == "203.0.113.9"


def test_one_header_decides() -> None:
    both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.9"), ("cf-connecting-ip", "7.7.7.7")]
    assert by("auto", *both) == "203.0.113.9", "common proxies set X-Forwarded-For and pass on a visitor's Forwarded"
    assert by("auto", both[0]) == "6.6.6.6"
    assert by("auto", both[0], ("x-forwarded-for", "unknown")) == PROXY, "an unknown address opens no second header"
    assert by("Forwarded", *both) == "6.6.6.6"
    assert by("X-Forwarded-For", both[0]) == PROXY
    assert by("CF-Connecting-IP", *both) == "7.7.7.7"
    assert by("CF-Connecting-IP", both[0], both[1]) == PROXY
    assert by("auto", *both, peer="192.0.2.7") == "192.0.2.7"
