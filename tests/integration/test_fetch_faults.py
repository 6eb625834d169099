"""Traces over real sockets through misbehaving origins and proxies: each ends in time, with its reason and verdict."""

import contextlib
import datetime

import pytest
import trio
import trustme

from daemon.providers.proxies import ProxyAddress, UnusableProxy
from daemon.trace.walk.steps import Identity, Landed, Limits, Walk
from daemon.trace.walk.verdicts import Verdict
from daemon.trace.wire.session import trace
from tests.fakes import origins, proxies
from tests.fakes.net import START, context_for, fetcher, gave_up, net, traced
from tests.fakes.origins import Reply, origin, page, redirect, reply
from tests.fakes.proxies import proxy
from tests.fakes.wire import free_port, listening

MISBEHAVING = {
    "silent": (origins.SILENT, "hop_timeout", Verdict.TARGET),
    "drips": (origins.DRIPS, "hop_timeout", Verdict.TARGET),
    "garbage": (origins.GARBAGE, "garbage", Verdict.TARGET),
    "100 KB of headers": (origins.LARGE_HEAD, "headers_too_large", Verdict.LIMIT),
    "9,000 headers": (origins.MANY_HEADERS, "headers_too_large", Verdict.LIMIT),
    "9,000 short headers": (origins.MANY_SHORT_HEADERS, "headers_too_large", Verdict.LIMIT),
    "1 MB Location": (origins.LARGE_LOCATION, "headers_too_large", Verdict.LIMIT),
    "100 Continue for ever": (origins.CONTINUES_FOREVER, "headers_too_large", Verdict.LIMIT),
    "javascript Location": (redirect("javascript:alert(1)"), "bad_location", Verdict.TARGET),
    "status 503": (reply(503), "status_5xx", Verdict.TARGET),
    "broken head": (origins.CLOSES_IN_HEAD, "target_broken", Verdict.TARGET),
}

# In the first answer over plain http, where the proxy and the target cannot be distinguished.
MISTAKEN_FOR_THE_PROXYS = {"garbage": ("proxy_garbage", Verdict.IP), "status 503": ("provider_busy", Verdict.PROVIDER)}


@pytest.mark.parametrize("name", MISBEHAVING)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_misbehaving_origin_ends_the_trace_with_its_reason(name: str, scheme: str) -> None:
    answer, reason, verdict = MISBEHAVING[name]
    async with net({"ads.example/start": answer}, {"secure.example/start": answer}) as here:
        url = START if scheme == "http" else "https://secure.example/start"
        end = gave_up(await traced(here.port, url, by=fetcher(hop_timeout_s=0.4 if reason == "hop_timeout" else 10)))
    if scheme == "https" or name not in MISTAKEN_FOR_THE_PROXYS:
        assert (end.reason, end.verdict) == (reason, verdict)
    else:
        assert (end.reason, end.verdict) == MISTAKEN_FOR_THE_PROXYS[name]
    assert end.message.startswith(f"hop 1 ({'ads' if scheme == 'http' else 'secure'}.example): ")
    assert len(end.message) < 500


@pytest.mark.parametrize("answer", [origins.RESETS, origins.CLOSES], ids=["resets", "closes"])
async def test_a_broken_connection_is_the_targets_fault_in_a_tunnel_or_after_an_answer(answer: Reply) -> None:
    plain = {"ads.example/start": redirect("/bad"), "ads.example/bad": answer}
    async with net({**plain}, {"secure.example/": answer}) as here:
        behind = gave_up(await traced(here.port, "https://secure.example/"))
        later = gave_up(await traced(here.port))
        first = gave_up(await traced(here.port, "http://ads.example/bad"))
    assert (behind.verdict, behind.reason) == (Verdict.TARGET, "target_broken")
    assert (later.verdict, later.reason) == (Verdict.TARGET, "target_broken")
    assert (first.verdict, first.reason) == (Verdict.IP, "proxy_broken")


@pytest.mark.parametrize("fault", ["foreign", "expired", "other name", "not TLS", "resets", "silent"])
async def test_a_target_whose_tls_is_bad_is_not_trusted(fault: str) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    contexts = {
        "foreign": context_for("secure.example", authority=trustme.CA()),
        "expired": context_for("secure.example", not_after=past),
        "other name": context_for("elsewhere.example"),
    }
    async with contextlib.AsyncExitStack() as stack:
        if fault in contexts:
            _, port = await stack.enter_async_context(origin({"secure.example/": page()}, tls=contexts[fault]))
        else:
            misbehave = {
                "not TLS": proxies.sending(b"220 smtp\r\n"),
                "resets": proxies.resetting,
                "silent": proxies.silent,
            }
            port = await stack.enter_async_context(listening(misbehaving_from_the_start(misbehave[fault])))
        served, proxy_port = await stack.enter_async_context(proxy({"secure.example:443": port}))
        end = gave_up(
            await traced(
                proxy_port, "https://secure.example/", by=fetcher(hop_timeout_s=0.5 if fault == "silent" else 10)
            )
        )
    assert end.verdict is Verdict.TARGET
    expected = {"silent": "hop_timeout"} | dict.fromkeys(contexts, "bad_certificate")
    assert end.reason == expected.get(fault, "tls")
    assert served.connections == 1


def misbehaving_from_the_start(misbehave: proxies.Misbehaviour) -> "proxies.Server":
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65_536)
        await misbehave(stream, proxies.NO_HEAD)

    return serve


async def test_a_name_that_the_proxy_cannot_resolve_is_the_targets_fault() -> None:
    async with net({}) as here:
        for url in ("http://nowhere.example/", "https://nowhere.example/"):
            assert gave_up(await traced(here.port, url)).verdict is Verdict.TARGET


async def test_a_proxy_that_refuses_connections_is_the_ips_fault_and_is_not_bypassed() -> None:
    async with net({"ads.example/start": page()}) as here:
        end = gave_up(await traced(free_port()))
        assert here.plain.connections == 0
    assert (end.verdict, end.reason) == (Verdict.IP, "proxy_unreachable")


async def test_a_proxys_name_is_resolved() -> None:
    async with net({"ads.example/start": page()}) as here:
        walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
        result = await trace(fetcher(), ProxyAddress("localhost", here.port), walk, timeout_s=5)
    assert isinstance(result.end, Landed)


async def test_a_row_that_is_no_address_is_the_ips_fault() -> None:
    walk = Walk(START, Identity("tester/1"), Limits(20, allow_private=True))
    result = await trace(fetcher(), UnusableProxy("ip_port 'x' is not a port"), walk, timeout_s=5)
    assert (gave_up(result).verdict, gave_up(result).reason) == (Verdict.IP, "bad_proxy_address")


@pytest.mark.parametrize("host", [".ads.example", ".", "ads..example", "a" * 70 + ".example"])
async def test_a_host_that_no_certificate_can_contain_is_the_targets_fault(host: str) -> None:
    tls = context_for("ads.example")
    async with origin({}, tls=tls) as (_, port), proxy({f"{host}:443": port}) as (_, proxy_port):
        end = gave_up(await traced(proxy_port, f"https://{host}/"))
    assert (end.verdict, end.reason) == (Verdict.TARGET, "bad_certificate")
