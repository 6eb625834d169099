"""Traces over real sockets through https and SOCKS5 proxies, and through gateways with an exit address header."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
import trustme

from daemon.providers.proxies import ProxyAddress
from daemon.providers.settings import Provider
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Identity, Landed, Limits, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import trace
from tests.fakes import proxies
from tests.fakes.net import START, context_for, fetcher, gave_up, net, ports_of, traced
from tests.fakes.origins import RESETS, Reply, origin, page, redirect, reply
from tests.fakes.proxies import proxy
from tests.fakes.socks import SocksProxy, socks_proxy
from tests.fakes.wire import listening

SECURE = "https://secure.example/"
PLAIN_TO_SECURE: dict[str, Reply | list[Reply]] = {
    "ads.example/start": redirect("http://b.example/two"),
    "b.example/two": redirect(SECURE),
    "ads.example/end": page(),
}
SECURE_TO_PLAIN: dict[str, Reply | list[Reply]] = {
    "secure.example/": redirect("/two"),
    "secure.example/two": redirect("https://s1.example/"),
    "s1.example/": redirect("http://ads.example/end"),
}
END = Landed("http://ads.example/end")
LOGIN = "customer", "canary"


async def through(scheme: str, port: int, url: str = START, *, host: str = "127.0.0.1") -> TraceResult:
    """A trace through a proxy with LOGIN."""
    walk = Walk(url, Identity("tester/1"), Limits(20, allow_private=True))
    address = ProxyAddress(host, port, *LOGIN, scheme)  # type: ignore[arg-type]
    return await trace(fetcher(hop_timeout_s=2), address, walk, timeout_s=10)


@contextlib.asynccontextmanager
async def socks_net(served: SocksProxy) -> AsyncIterator[int]:
    tls = context_for("secure.example", "s1.example")
    async with origin(PLAIN_TO_SECURE) as (_, plain_port), origin(SECURE_TO_PLAIN, tls=tls) as (_, tls_port):
        served.ports = ports_of(plain_port, tls_port)
        async with socks_proxy(served) as port:
            yield port


async def test_an_https_proxy_serves_plain_and_tunnelled_hops_inside_its_own_tls() -> None:
    credentials = ("customer", "canary")
    tls = context_for("127.0.0.1")
    async with net(PLAIN_TO_SECURE, SECURE_TO_PLAIN, credentials=credentials, proxy_tls=tls) as here:
        result = await through("https", here.port)
    assert result.end == END
    assert [head.method for head in here.proxy.seen] == ["GET", "GET", "CONNECT", "CONNECT", "GET"]
    assert here.proxy.connections == 3, "one for the plain hops, one for each tunnel"
    assert all(head.value("proxy-authorization") is None for head in here.secure.requests + here.plain.requests)


@pytest.mark.parametrize("url", [START, SECURE])
async def test_an_https_proxys_certificate_is_verified(url: str) -> None:
    foreign = context_for("127.0.0.1", authority=trustme.CA())
    other_name = context_for("gate.example")
    for tls in (foreign, other_name):
        async with net({}, proxy_tls=tls) as here:
            end = gave_up(await through("https", here.port, url))
            assert here.proxy.seen == [], "no credentials went out"
        assert (end.verdict, end.reason) == (Verdict.IP, "proxy_tls")


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [(proxies.sending(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "proxy_tls"), (proxies.resetting, "proxy_tls"),
     (proxies.closing, "proxy_tls"), (proxies.silent, "proxy_timeout")],
    ids=["plain http", "resets", "closes", "silent"],
)  # fmt: skip
async def test_a_proxy_that_does_not_speak_tls_is_the_ips_fault(misbehave: proxies.Misbehaviour, reason: str) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65_536)
        await misbehave(stream, proxies.NO_HEAD)

    async with listening(serve) as port:
        by = fetcher(hop_timeout_s=5)
        by.connect_timeout_s = 0.3
        walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
        end = gave_up(await trace(by, ProxyAddress("127.0.0.1", port, scheme="https"), walk, timeout_s=10))
    assert (end.verdict, end.reason) == (Verdict.IP, reason)


@pytest.mark.parametrize("url", [START, SECURE])
@pytest.mark.parametrize(
    ("misbehave", "verdict"),
    [(proxies.answering(407), Verdict.CREDENTIALS), (proxies.closing, Verdict.IP), (proxies.resetting, Verdict.IP)],
    ids=["407", "closes", "resets"],
)
async def test_an_https_proxys_behaviour_inside_tls_has_the_same_verdicts(
    url: str, misbehave: proxies.Misbehaviour, verdict: Verdict
) -> None:
    async with proxy({}, misbehave=misbehave, tls=context_for("127.0.0.1")) as (_, port):
        assert gave_up(await through("https", port, url)).verdict is verdict


async def test_an_idle_connection_that_an_https_proxy_has_closed_is_replaced() -> None:
    chain: dict[str, Reply | list[Reply]] = {"ads.example/start": redirect("/next"), "ads.example/next": page()}
    async with net(chain, closes_after_answer=True, proxy_tls=context_for("127.0.0.1")) as here:
        result = await through("https", here.port)
    assert result.end == Landed("http://ads.example/next")
    assert here.proxy.connections == 2


class Relay:
    """Relays bytes to a port, and counts them."""

    def __init__(self, port: int) -> None:
        self.port, self.bytes_in, self.bytes_out = port, 0, 0

    async def serve(self, client: trio.abc.Stream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, upstream, client, nursery.cancel_scope)
            while data := await client.receive_some(65_536):
                self.bytes_in += len(data)
                await upstream.send_all(data)
            nursery.cancel_scope.cancel()

    async def _pass(self, upstream: trio.abc.Stream, client: trio.abc.Stream, both: trio.CancelScope) -> None:
        while data := await upstream.receive_some(65_536):
            self.bytes_out += len(data)
            await client.send_all(data)
        both.cancel()


async def test_bytes_are_those_under_an_https_proxys_tls() -> None:
    async with net(PLAIN_TO_SECURE, SECURE_TO_PLAIN, proxy_tls=context_for("127.0.0.1")) as here:
        relay = Relay(here.port)
        async with listening(relay.serve) as port:
            result = await through("https", port)
            await trio.testing.wait_all_tasks_blocked(0.05)
    assert result.end == END
    assert (result.bytes_received, result.bytes_sent) == (relay.bytes_out, relay.bytes_in)
    assert result.bytes_received > here.proxy.bytes_out + 3_000, "three handshakes with their certificates"


@pytest.mark.parametrize("login", [None, ("customer", "canary")], ids=["open", "login"])
@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "in pieces"])
async def test_a_socks_proxy_tunnels_every_hop_and_resolves_every_name(
    login: tuple[str, str] | None, in_pieces: bool
) -> None:
    served = SocksProxy({}, login=login, in_pieces=in_pieces)
    async with socks_net(served) as port:
        walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
        username, password = login or (None, None)
        address = ProxyAddress("127.0.0.1", port, username, password, "socks5")
        result = await trace(fetcher(), address, walk, timeout_s=10)
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert result.end == END
    assert served.asked == [(3, f"{name}.example") for name in ("ads", "b", "secure", "s1")], "the first is kept open"
    assert served.logins == ([login] * 4 if login else [])
    assert set(served.methods) == ({b"\x02"} if login else {b"\x00"})
    assert (result.bytes_received, result.bytes_sent) == (served.bytes_out, served.bytes_in)


@pytest.mark.parametrize("bound", [bytes((3, 3)) + b"abc" + b"\0\0", bytes((4,)) + bytes(18)], ids=["name", "IPv6"])
async def test_the_bound_address_in_a_socks_reply_is_ignored(bound: bytes) -> None:
    async with socks_net(SocksProxy({}, login=("customer", "canary"), bound=bound)) as port:
        assert (await through("socks5", port)).end == END


async def test_an_ip_address_is_sent_to_a_socks_proxy_as_an_address() -> None:
    served = SocksProxy({})
    async with origin({"127.0.0.1/": page(), "[::1]/": page()}) as (_, plain_port), socks_proxy(served) as port:
        served.ports = {"127.0.0.1:80": plain_port, "::1:80": plain_port}
        for url in ("http://127.0.0.1/", "http://[::1]/"):
            walk = Walk(url, Identity("tester/1"), Limits(20, allow_private=True))
            result = await trace(fetcher(), ProxyAddress("127.0.0.1", port, scheme="socks5"), walk, timeout_s=5)
            assert isinstance(result.end, Landed), result
    assert served.asked == [(1, "127.0.0.1"), (4, "::1")]


REPLIES = {
    1: (Verdict.TARGET, "target_unreachable"),
    2: (Verdict.IP, "proxy_refused"),
    3: (Verdict.TARGET, "target_unreachable"),
    4: (Verdict.TARGET, "target_unreachable"),
    5: (Verdict.TARGET, "target_unreachable"),
    6: (Verdict.TARGET, "target_unreachable"),
    7: (Verdict.IP, "proxy_refused"),
    8: (Verdict.IP, "proxy_refused"),
    9: (Verdict.IP, "proxy_garbage"),
}


@pytest.mark.parametrize("reply_code", REPLIES)
@pytest.mark.parametrize("url", [START, SECURE])
async def test_each_reply_of_socks_has_its_verdict(reply_code: int, url: str) -> None:
    async with socks_proxy(SocksProxy({}, login=("customer", "canary"), reply=reply_code)) as port:
        end = gave_up(await through("socks5", port, url))
    assert (end.verdict, end.reason) == REPLIES[reply_code]


async def test_a_name_that_a_socks_proxy_cannot_resolve_is_the_targets_fault() -> None:
    async with socks_net(SocksProxy({}, login=("customer", "canary"))) as port:
        assert gave_up(await through("socks5", port, "http://nowhere.example/")).verdict is Verdict.TARGET
        assert (
            gave_up(await through("socks5", port, f"http://{'a' * 60}.{'b' * 200}.example/")).verdict is Verdict.TARGET
        )


@pytest.mark.parametrize("login", [("customer", "other"), None], ids=["another password", "no login wanted"])
async def test_a_login_that_a_socks_proxy_refuses_is_the_providers_fault(login: tuple[str, str] | None) -> None:
    """A proxy without logins fails as well, because the login contains the session."""
    async with socks_net(SocksProxy({}, login=login)) as port:
        end = gave_up(await through("socks5", port))
    assert (end.verdict, end.reason) == (Verdict.CREDENTIALS, "proxy_credentials")
    assert "canary" not in end.message


async def test_a_socks_proxy_that_requires_a_login_without_one_in_the_settings_is_the_providers_fault() -> None:
    async with socks_net(SocksProxy({}, login=("customer", "canary"))) as port:
        walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
        result = await trace(fetcher(), ProxyAddress("127.0.0.1", port, scheme="socks5"), walk, timeout_s=5)
    assert gave_up(result).verdict is Verdict.CREDENTIALS


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize(
    ("says", "reason"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "proxy_garbage"), (b"", "proxy_broken"), (b"\x05", "proxy_broken")],
    ids=["http", "nothing", "half"],
)
async def test_a_socks_proxy_that_closes_early_or_answers_with_another_protocol_is_the_ips_fault(
    step: int, says: bytes, reason: str
) -> None:
    async with socks_net(SocksProxy({}, login=("customer", "canary"), says=(step, says))) as port:
        end = gave_up(await through("socks5", port))
    expected = (
        (Verdict.CREDENTIALS, "proxy_credentials") if (step, reason) == (1, "proxy_garbage") else (Verdict.IP, reason)
    )
    assert (end.verdict, end.reason) == expected


@pytest.mark.parametrize("misbehave", [proxies.resetting, proxies.silent], ids=["resets", "silent"])
async def test_a_socks_proxy_that_is_silent_or_resets_is_the_ips_fault(misbehave: proxies.Misbehaviour) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(3)
        await misbehave(stream, proxies.NO_HEAD)

    async with listening(serve) as port:
        walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
        address = ProxyAddress("127.0.0.1", port, scheme="socks5")
        end = gave_up(await trace(fetcher(hop_timeout_s=0.3), address, walk, timeout_s=5))
    assert end.verdict is Verdict.IP


async def test_a_plain_answer_through_a_socks_tunnel_is_the_targets() -> None:
    """A 407 is a landing there, and a broken connection is not the proxy's fault."""
    async with origin({"ads.example/start": reply(407), "ads.example/bad": RESETS}) as (_, plain_port):
        served = SocksProxy({"ads.example:80": plain_port}, login=("customer", "canary"))
        async with socks_proxy(served) as port:
            landed = await through("socks5", port)
            broken = gave_up(await through("socks5", port, "http://ads.example/bad"))
    assert landed.end == Landed(START)
    assert (broken.verdict, broken.reason) == (Verdict.TARGET, "target_broken")


async def trace_with_header(line: str, url: str, header: str = "x-exit-ip") -> TraceResult:
    async with net({"ads.example/start": page(), "ads.example/end": page()}, SECURE_TO_PLAIN, own_header=line) as here:
        return await traced(here.port, url, provider=Provider(exit_ip_header=header))


@pytest.mark.parametrize("url", [START, SECURE])
async def test_the_exit_address_in_a_gateways_header_is_kept(url: str) -> None:
    result = await trace_with_header("X-Exit-IP: 198.51.100.7", url)
    assert isinstance(result.end, Landed)
    assert result.exit_ip == "198.51.100.7"


@pytest.mark.parametrize("line", ["X-Exit-IP: r2d29b70ff204425f8e5add587d860361", "X-Other: 198.51.100.7", ""])
@pytest.mark.parametrize("url", [START, SECURE])
async def test_what_is_no_address_is_no_exit_address(line: str, url: str) -> None:
    assert (await trace_with_header(line, url)).exit_ip is None


async def test_without_the_setting_no_header_is_read() -> None:
    assert (await trace_with_header("X-Exit-IP: 198.51.100.7", START, "")).exit_ip is None


async def test_the_exit_address_is_kept_where_the_target_fails_later() -> None:
    async with proxy({}, misbehave=proxies.sending(b"HTTP/1.1 200 OK\r\nX-Exit-IP: 198.51.100.7\r\n\r\n")) as (_, port):
        result = await traced(port, SECURE, provider=Provider(exit_ip_header="x-exit-ip"))
    assert isinstance(result.end, GaveUp)
    assert result.exit_ip == "198.51.100.7"
