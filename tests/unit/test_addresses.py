"""Public and refused hosts, in every spelling."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.web.addresses import refused_host


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0X7F.0.0.1", "0177.0.0.1"),
        *(
            "017700000001",
            "0x7f.0x1.",
            "127.0.0.1.",
            "１２７.０.０.１",
            "127。0。0。1",
            "127．0.0.1",
            "%31%32%37.0.0.1",
        ),
    ],
)
def test_every_spelling_of_loopback_is_loopback(host: str) -> None:
    assert refused_host(host) == "127.0.0.1 is a loopback address"
    assert refused_host(f"http://user:pw@{host}:8080/path?q=shop.example#x") == "127.0.0.1 is a loopback address"
    assert refused_host(f"ftp://{host}/") == "127.0.0.1 is a loopback address"
    assert refused_host(f"intent://{host}/") is not None


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("0.0.0.0", "this network"),
        ("0", "this network"),
        ("0.255.255.255", "this network"),
        ("10.0.0.1", "private"),
        ("10.255.255.255", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "metadata"),
        ("0xa9fea9fe", "metadata"),
        ("169.254.1.1", "link-local"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "IETF"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.255", "documentation"),
        ("192.88.99.1", "6to4"),
        ("198.18.0.1", "benchmark"),
        ("198.19.255.255", "benchmark"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("4294967295", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("0:0:0:0:0:0:0:1", "loopback"),
        ("::127.0.0.1", "not a global"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "metadata"),
        ("::ffff:0:10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::1", "NAT64"),
        ("100::1", "discard"),
        ("2001::1", "Teredo"),
        ("2001:2::1", "IETF"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("2002:7f00:1::", "loopback"),
        ("2002:c0a8:101::1", "private"),
        ("fd00::1", "unique local"),
        ("fd00:ec2::254", "unique local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "not a global"),
        ("5f00::1", "not a global"),
    ],
)
def test_an_address_that_is_not_public_is_refused_by_its_kind(host: str, kind: str) -> None:
    assert kind in (refused_host(host) or "")
    in_url = f"[{host}]" if ":" in host else host
    assert kind in (refused_host(in_url) or "")
    assert kind in (refused_host(f"https://{in_url}:444/x") or "")


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("localhost", "local name"),
        ("LOCALHOST", "local name"),
        ("localhost.", "local name"),
        ("ｌｏｃａｌｈｏｓｔ", "local name"),
        ("a.b.localhost", "local name"),
        ("a.localhost.", "local name"),
        ("printer.local", "local name"),
        ("localhost.localdomain", "local name"),
        ("metadata.google.internal", "local name"),
        ("router.home.arpa", "local name"),
        ("intranet", "single-label host 'intranet'"),
        ("intranet.", "single-label host 'intranet.'"),
        ("intranet..", "single-label host"),
        ("com", "single-label host 'com'"),
    ],
)
def test_a_name_that_is_not_public_is_refused(host: str, kind: str) -> None:
    assert kind in (refused_host(host) or "")
    assert kind in (refused_host(f"http://{host}/") or "")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            " ",
            ".",
            "a b",
            "shop.example/x",
            "x@shop.example",
            "1.2.3.4.5",
            "256.256.256.256",
            "[::1",
            "::g",
            "fe80::1%eth0",
        ),
        *(
            "http://",
            "https:///",
            "file:///etc/hosts",
            "http://[fe80::1%25eth0]/",
            "http:\\\\shop.example",
            "\ud800.example",
        ),
    ],
)
def test_a_text_that_is_no_host_is_refused(host: str) -> None:
    assert refused_host(host) is not None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "shop.example",
            "SHOP.example.",
            "münchen.example",
            "local.example",
            "notlocalhost.example",
            "xlocal.example",
        ),
        *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
        *("172.15.255.255", "172.32.0.0", "169.253.255.255", "192.0.1.0", "198.20.0.0", "223.255.255.255"),
        *(
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "127.0.0.1.shop.example",
            "a_b.example",
        ),
    ],
)
def test_a_public_host_is_allowed(host: str) -> None:
    assert refused_host(host) is None
    assert refused_host(f"https://{f'[{host}]' if ':' in host else host}/x") is None


@given(st.ip_addresses(v=4))
def test_no_address_that_python_calls_local_is_allowed(address: IPv4Address) -> None:
    local = address.is_private or address.is_multicast or address.is_reserved or not address.is_global
    dotted, number, hexadecimal = str(address), str(int(address)), hex(int(address))
    reasons = {refused_host(spelling) for spelling in (dotted, number, hexadecimal)}
    assert len(reasons) == 1
    if local:
        assert reasons != {None}


@given(st.one_of(st.ip_addresses(v=6), st.ip_addresses(v=6, network="2000::/3")))
def test_no_ipv6_address_that_python_calls_local_is_allowed(address: IPv6Address) -> None:
    if not address.is_global and address.ipv4_mapped is None:
        assert refused_host(str(address)) is not None


@pytest.mark.slow
@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    refused_host(text)
    refused_host(f"http://{text}")
