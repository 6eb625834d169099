"""From a row's texts to a proxy."""

import pytest

from daemon.trace.proxies import Credentials, ProxyAddress, UnusableProxy, proxy_for


@pytest.mark.parametrize(
    ("ip_address", "host"),
    [
        ("198.51.100.7", "198.51.100.7"),
        (" 198.51.100.7\n", "198.51.100.7"),
        ("test-ip-1", "test-ip-1"),
        ("gate_1.proxy.example.", "gate_1.proxy.example."),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_an_address_or_a_name_is_a_host(ip_address: str, host: str) -> None:
    assert proxy_for(ip_address, "7000") == ProxyAddress(host, 7000)


@pytest.mark.parametrize(
    "ip_address", ["", " ", "a b", "http://x", "a/b", "a\r\nHost: b", "a@b", "-x", "x-", "é", "a" * 300]
)
def test_a_text_that_is_no_host_is_a_value_not_an_exception(ip_address: str) -> None:
    assert isinstance(proxy_for(ip_address, "7000"), UnusableProxy)


@pytest.mark.parametrize("ip_port", ["", "0", "-1", "65536", "70 00", "7000.0", "٧", "http", "9" * 5_000])
def test_a_text_that_is_no_port_is_a_value_not_an_exception(ip_port: str) -> None:
    assert isinstance(proxy_for("198.51.100.7", ip_port), UnusableProxy)


def test_a_password_shows_in_no_repr() -> None:
    credentials = Credentials("user", "canary-word")
    proxy = proxy_for("198.51.100.7", "7000", credentials)
    assert isinstance(proxy, ProxyAddress)
    assert "canary" not in repr(credentials) + repr(proxy)
    assert proxy.authorization == b"Basic dXNlcjpjYW5hcnktd29yZA=="


def test_empty_credentials_are_none() -> None:
    assert proxy_for("198.51.100.7", "7000", Credentials("", "")) == ProxyAddress("198.51.100.7", 7000)
    assert ProxyAddress("198.51.100.7", 7000).authorization is None
