"""The canonical form of an endpoint, and what an error says. An integration test compares it with PostgreSQL's."""

import pytest

from daemon.errors import BadInput
from daemon.web.endpoints import HOST_HINT, IPV4_HINT, NO_HOST_HINT, canonical_endpoint, endpoint_name


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        *((host, "127.32.0.1") for host in
          ("127.32.0.1", " 127.32.0.1\n", "127.32.0.1.", "0x7f.32.0.1", "0X7F.0x20.0.1", "::ffff:127.32.0.1",
           "[::FFFF:7F20:1]", "0:0:0:0:0:ffff:127.32.0.1", "１２７.32.0.1")),
        *((host, "2001:db8::7") for host in ("2001:db8::7", "[2001:DB8::0007]", "2001:db8:0:0:0:0:0:7")),
        *((host, "gate.example") for host in ("gate.example", "GATE.Example.", "\tgate.example ")),
        *((host, "xn--bcher-kva.example") for host in ("bücher.example", "BÜCHER.example.", "xn--BCHER-kva.example")),
        ("fe80::7%Eth0", "fe80::7%Eth0"),
        ("luna-us-17", "luna-us-17"),
        ("4711", "4711"),
    ],
)  # fmt: skip
def test_an_endpoint_has_one_spelling(host: str, canonical: str) -> None:
    assert canonical_endpoint(host, " 055451") == (canonical, "55451")


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        *((host, IPV4_HINT) for host in
          ("256.1.1.1", "1.2.3", "127.1", "127.32.1", "2130706433", "017700000001", "0x7f000001", "127.0.0.01")),
        *((host, NO_HOST_HINT) for host in ("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1")),
        *((host, HOST_HINT) for host in
          ("", "::::", "a b", "a..b", "-a", "a\0", "[127.0.0.1]", "[gate.example]", "a,b", "a_b\u3000", "x" * 64)),
        ("192.0.2.7:3128", "the port belongs into ip_port"),
        ("localhost:", "the port belongs into ip_port"),
        ("http://gate.example", "without a scheme and a path"),
        ("2001:db8::7%eth0", "only a link-local address has a zone"),
        ("fe80::7%1", "only a link-local address has a zone"),
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused_with_the_value_and_what_is_right(host: str, hint: str) -> None:
    with pytest.raises(BadInput) as raised:
        canonical_endpoint(host, "7000")
    assert str(raised.value).startswith(f"ip_address {host!r} is neither")
    assert hint in str(raised.value)


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "+80", "8 0", "80.0", "http", "٨٠", "9" * 5_000])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(BadInput, match=r"^ip_port '.* is not a port from 1 to 65535$"):
        canonical_endpoint("gate.example", port)


def test_an_ipv6_endpoint_is_shown_in_brackets() -> None:
    assert endpoint_name("2001:db8::7", "3128") == "[2001:db8::7]:3128"
    assert endpoint_name("192.0.2.7", 3128) == "192.0.2.7:3128"
