"""Answers that a gateway gives for itself, over real sockets: never a landing, and never mistaken for the target's."""

import pytest

from daemon.providers.settings import Provider
from daemon.trace.walk.steps import Landed
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.net import START, gave_up, net, traced
from tests.fakes.origins import Reply, origin, page, redirect, reply
from tests.fakes.proxies import Proxy, proxy, sending
from tests.fakes.wire import listening

LANDED = "http://b.example/landed"
PAGES: dict[str, Reply | list[Reply]] = {"ads.example/start": redirect(LANDED), "b.example/landed": page()}
NO_EXIT = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>No exit for this session</h1>" + b"<p>x" * 1_000
SAYS_SO = Provider.model_validate({"answers": [{"status": [200], "body": "no exit", "verdict": "provider"}]})


async def test_a_page_of_the_gateway_is_recognized_by_its_text() -> None:
    async with proxy({}, misbehave=sending(NO_EXIT)) as (_, port):
        end = gave_up(await traced(port, provider=SAYS_SO))
        assert isinstance((await traced(port)).end, Landed)
    assert (end.verdict, end.reason) == (Verdict.PROVIDER, "proxy_failed")
    assert end.message == "hop 1 (ads.example): the proxy answered with status 200"


async def test_a_page_with_another_text_is_read_as_without_the_rule() -> None:
    meta = reply(200, ("Content-Type", "text/html"), body=f"<meta http-equiv=refresh content='0;{LANDED}'>".encode())
    async with net({"ads.example/start": meta, "b.example/landed": page()}) as here:
        assert (await traced(here.port, provider=SAYS_SO)).end == Landed(LANDED)


@pytest.mark.parametrize("status", [403, 502])
async def test_a_header_through_a_tunnel_is_the_targets(status: int) -> None:
    marked = reply(status, ("X-Error-Description", "no"), ("Proxy-Status", "x; error=dns_error"))
    async with net({}, {"secure.example/": marked}) as here:
        result = await traced(here.port, "https://secure.example/")
    if status == 403:
        assert result.end == Landed("https://secure.example/")
    else:
        assert gave_up(result).reason == "status_5xx"


async def test_a_proxy_that_only_opens_tunnels_gets_plain_hops_through_them() -> None:
    async with origin(PAGES) as (_, port):
        served = Proxy({"ads.example:80": port, "b.example:80": port}, only_tunnels=True)
        async with listening(served.serve) as proxy_port:
            result = await traced(proxy_port)
    assert result.end == Landed(LANDED)
    assert [request.method for request in served.seen] == ["GET", "CONNECT", "CONNECT"]
    assert [hop.status for hop in result.hops] == [302, 200]


async def test_a_405_without_a_tunnel_is_the_targets() -> None:
    async with origin({"ads.example/start": reply(405)}) as (_, port):
        served = Proxy({"ads.example:80": port}, misbehave=sending(b"HTTP/1.1 403 No\r\n\r\n"), misbehaves_from=2)
        async with listening(served.serve) as proxy_port:
            result = await traced(proxy_port)
    assert result.end == Landed(START)
    assert [request.method for request in served.seen] == ["GET", "CONNECT"]


async def test_a_405_of_a_proxy_that_forwards_is_the_targets() -> None:
    async with net({"ads.example/start": redirect(LANDED), "b.example/landed": reply(405)}) as here:
        assert (await traced(here.port)).end == Landed(LANDED)
        assert all(request.method == "GET" for request in here.proxy.seen)
