"""Checks of IPs over real sockets: the result for each behaviour of a proxy, and the exit address."""

import pytest
import trustme

from daemon.checks.checker import CheckKind, CheckResult, check
from daemon.providers.proxies import ProxyAddress, UnusableProxy
from tests.fakes import proxies
from tests.fakes.net import context_for, fetcher, net
from tests.fakes.origins import SILENT, Reply, reply
from tests.fakes.proxies import proxy
from tests.fakes.socks import SocksProxy, socks_proxy
from tests.fakes.wire import free_port

PLAIN, SECURE = "http://ads.example/ip", "https://secure.example/ip"


async def checked(port: int, url: str = PLAIN, *, timeout_s: float = 5, slow_s: float = 5) -> CheckResult:
    return await check(fetcher(), ProxyAddress("127.0.0.1", port), url, timeout_s=timeout_s, slow_s=slow_s)


BODIES = {
    "text": (b" 198.51.100.7\n", "198.51.100.7"),
    "version 6": (b"2001:DB8::7", "2001:db8::7"),
    "JSON": (b'{"country": "US", "ip": "198.51.100.7"}', "198.51.100.7"),
    "JSON without it": (b'{"origin": "198.51.100.7"}', None),
    "JSON of another kind": (b'{"ip": 7}', None),
    "broken JSON": (b'{"ip": "198.51.100.7"', None),
    "a page": (b"<html>198.51.100.7</html>", None),
    "nothing": (b"", None),
    "too much": (b"1" * 100_000, None),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("url", [PLAIN, SECURE])
async def test_the_exit_address_is_read_from_the_body(name: str, url: str) -> None:
    body, exit_ip = BODIES[name]
    answer: dict[str, Reply | list[Reply]] = {url.partition("://")[2]: reply(200, body=body)}
    async with net(answer, answer) as here:
        result = await checked(here.port, url)
    assert (result.kind, result.exit_ip, result.works) == (CheckKind.WORKING, exit_ip, True)


FAULTS = {
    "407": (proxies.answering(407), CheckKind.CREDENTIALS),
    "403": (proxies.answering(403), CheckKind.REFUSED),
    "502": (proxies.answering(502), CheckKind.FAILED),
    "429": (proxies.answering(429), CheckKind.FAILED),
    "closes": (proxies.closing, CheckKind.FAILED),
    "silent": (proxies.silent, CheckKind.FAILED),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("url", [PLAIN, SECURE])
async def test_each_fault_of_a_proxy_has_its_name(name: str, url: str) -> None:
    misbehave, kind = FAULTS[name]
    async with proxy({}, misbehave=misbehave) as (_, port):
        result = await checked(port, url, timeout_s=0.5)
    assert (result.kind, result.exit_ip, result.works) == (kind, None, False)
    assert result.message


async def test_a_closed_port_is_refused() -> None:
    assert (await checked(free_port())).kind is CheckKind.REFUSED


async def test_an_ip_that_takes_longer_than_the_threshold_is_slow() -> None:
    async with net({"ads.example/ip": reply(200, body=b"198.51.100.7")}) as here:
        result = await checked(here.port, slow_s=0.000_001)
    assert (result.kind, result.exit_ip, result.works) == (CheckKind.SLOW, "198.51.100.7", True)


async def test_a_check_ends_at_its_timeout() -> None:
    async with net({"ads.example/ip": SILENT}) as here:
        result = await checked(here.port, timeout_s=0.2)
    assert (result.kind, result.message) == (CheckKind.FAILED, "no answer within 0.2 s")


async def test_a_row_that_is_no_address_fails() -> None:
    result = await check(fetcher(), UnusableProxy("ip_port 'x' is not a port"), PLAIN, timeout_s=1)
    assert (result.kind, result.message) == (CheckKind.FAILED, "ip_port 'x' is not a port")


@pytest.mark.parametrize("url", [PLAIN, SECURE])
async def test_the_exit_address_in_the_providers_header_has_precedence_over_the_body(url: str) -> None:
    answer: dict[str, Reply | list[Reply]] = {url.partition("://")[2]: reply(200, body=b"198.51.100.7")}
    async with net(answer, answer, own_header="X-Exit-IP: 198.51.100.9") as here:
        proxy = ProxyAddress("127.0.0.1", here.port, exit_ip_header="x-exit-ip")
        result = await check(fetcher(), proxy, url, timeout_s=5)
        assert (await checked(here.port, url)).exit_ip == "198.51.100.7"
    assert result.exit_ip == "198.51.100.9"


async def test_a_proxy_whose_certificate_is_not_trusted_fails() -> None:
    async with net({}, proxy_tls=context_for("127.0.0.1", authority=trustme.CA())) as here:
        result = await check(fetcher(), ProxyAddress("127.0.0.1", here.port, scheme="https"), PLAIN, timeout_s=5)
    assert (result.kind, result.message) == (CheckKind.FAILED, "the proxy's certificate does not verify")


@pytest.mark.parametrize(
    ("served", "kind"),
    [
        (SocksProxy({}, login=("customer", "word")), CheckKind.CREDENTIALS),
        (SocksProxy({}, reply=2), CheckKind.REFUSED),
        (SocksProxy({}), CheckKind.FAILED),
    ],
    ids=["login", "rules", "name"],
)
async def test_a_socks_proxys_faults_have_the_same_names(served: SocksProxy, kind: CheckKind) -> None:
    async with socks_proxy(served) as port:
        result = await check(fetcher(), ProxyAddress("127.0.0.1", port, scheme="socks5"), PLAIN, timeout_s=5)
    assert result.kind is kind
