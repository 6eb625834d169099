"""One suite of chains for every backend of a trace: its end, its hops, its verdict and its bytes."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio.testing

from daemon.host.clocks import read_boot_clock
from daemon.providers.proxies import Login
from daemon.trace.walk.steps import GaveUp, Landed
from daemon.trace.walk.verdicts import Verdict
from tests.fakes import origins, proxies
from tests.fakes.net import START, net
from tests.fakes.origins import Reply, page, redirect, reply
from tests.fakes.proxies import proxy
from tests.fakes.wire import free_port
from tests.integration.tracers import backend_of, traced_by
from tests.support.tracers import tracer_settings

BACKENDS = ("local", "service", "browser")
SECURE = "https://secure.example/"
Replies = Mapping[str, Reply | list[Reply]]


@dataclass(frozen=True, slots=True)
class Chain:
    """Replies by host and path, and the end of a trace of `url`: a landing URL, or (verdict, reason)."""

    end: str | tuple[Verdict, str]
    hops: list[tuple[int | None, str]]
    plain: Replies = field(default_factory=dict)
    secure: Replies = field(default_factory=dict)
    url: str = START
    limits: Mapping[str, Any] = field(default_factory=dict)


CHAINS = {
    "five plain hops": Chain(
        "http://d.example/five?a=1&a=2&%C3%BC=%20",
        [(302, "http"), (301, "http"), (307, "http"), (308, "http"), (200, "final")],
        {
            "ads.example/start": redirect("http://b.example/two"),
            "b.example/two": redirect("/three", status=301),
            "b.example/three": redirect("//c.example/four", status=307),
            "c.example/four": redirect("http://d.example/five?a=1&a=2&ü=%20", status=308),
            "d.example/five?a=1&a=2&%C3%BC=%20": page(),
        },
    ),
    "tunnels": Chain(
        "https://s1.example/end#part",
        [(302, "http"), (302, "http"), (200, "final")],
        {"ads.example/start": redirect(SECURE)},
        {"secure.example/": redirect("https://s1.example/end#part"), "s1.example/end": page()},
    ),
    "a 404 is a landing": Chain("http://ads.example/start", [(404, "final")]),
    "a scheme that the offer allows": Chain(
        "market://details?id=1",
        [(302, "http")],
        {"ads.example/start": redirect("market://details?id=1")},
        limits={"landing_schemes": frozenset({"http", "https", "market"})},
    ),
    "a scheme that it does not allow": Chain(
        (Verdict.TARGET, "bad_location"), [(302, "http")], {"ads.example/start": redirect("javascript:alert(1)")}
    ),
    "a loop": Chain(
        (Verdict.TARGET, "loop"),
        [(302, "http"), (302, "http")],
        {"ads.example/start": redirect("/again"), "ads.example/again": redirect("/start")},
        limits={"hops_max": 2},
    ),
    "too many hops": Chain(
        (Verdict.LIMIT, "hops_max"),
        [(302, "http"), (302, "http")],
        {"ads.example/start": redirect("/2"), "ads.example/2": redirect("/3"), "ads.example/3": page()},
        limits={"hops_max": 2},
    ),
    "a broken landing": Chain(
        (Verdict.TARGET, "status_5xx"),
        [(302, "http"), (503, "failed")],
        {"ads.example/start": redirect("/end"), "ads.example/end": reply(503)},
    ),
    "a host that the proxy cannot reach": Chain(
        (Verdict.TARGET, "target_unreachable"), [(502, "failed")], url="https://nowhere.example/"
    ),
    "a target that breaks off behind the tunnel": Chain(
        (Verdict.TARGET, "target_broken"), [(None, "failed")], secure={"secure.example/": origins.RESETS}, url=SECURE
    ),
    "a target that is no HTTP": Chain(
        (Verdict.TARGET, "garbage"),
        [(302, "http"), (None, "failed")],
        {"ads.example/start": redirect("/bad"), "ads.example/bad": origins.GARBAGE},
    ),
    "a tracking URL that is none": Chain((Verdict.OPERATOR, "bad_tracking_url"), [], url="ftp://ads.example/"),
}
ENDS_OF_PROXIES = {
    "refused": (proxies.answering(405), (Verdict.IP, "proxy_refused")),
    "refused credentials": (proxies.answering(407), (Verdict.CREDENTIALS, "proxy_credentials")),
    "a busy gateway": (proxies.answering(429), (Verdict.PROVIDER, "provider_busy")),
    "closes": (proxies.closing, (Verdict.IP, "proxy_broken")),
    "no HTTP": (proxies.sending(b"hello\r\n\r\n"), (Verdict.IP, "proxy_garbage")),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CHAINS)
async def test_a_chain_ends_where_and_how_it_does_by_every_backend(name: str, backend: str) -> None:
    chain = CHAINS[name]
    async with net(dict(chain.plain), dict(chain.secure)) as here, backend_of(backend, tracer_settings()) as tracing:
        result = await traced_by(tracing, here.port, chain.url, **chain.limits)
        await trio.testing.wait_all_tasks_blocked(0.01)
    if isinstance(chain.end, str):
        assert result.end == Landed(chain.end)
    else:
        assert isinstance(result.end, GaveUp)
        assert (result.end.verdict, result.end.reason) == chain.end
    assert [(hop.status, hop.kind) for hop in result.hops] == chain.hops
    assert (result.bytes_received, result.bytes_sent) == (here.proxy.bytes_out, here.proxy.bytes_in)
    assert sum(hop.bytes_received for hop in result.hops) == result.bytes_received


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ENDS_OF_PROXIES)
async def test_a_proxys_fault_has_the_same_verdict_by_every_backend(name: str, backend: str) -> None:
    misbehave, expected = ENDS_OF_PROXIES[name]
    async with proxy({}, misbehave=misbehave) as (_, port), backend_of(backend, tracer_settings()) as tracing:
        result = await traced_by(tracing, port, SECURE)
    assert isinstance(result.end, GaveUp)
    assert (result.end.verdict, result.end.reason) == expected


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_closed_port_of_a_proxy_is_the_ips_fault_by_every_backend(backend: str) -> None:
    async with backend_of(backend, tracer_settings()) as tracing:
        result = await traced_by(tracing, free_port())
    assert isinstance(result.end, GaveUp)
    assert (result.end.verdict, result.end.reason) == (Verdict.IP, "proxy_unreachable")


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_identity_reaches_the_origin_by_every_backend(backend: str) -> None:
    async with net({"ads.example/start": page()}) as here, backend_of(backend, tracer_settings()) as tracing:
        await traced_by(tracing, here.port)
    (head,) = here.plain.requests
    assert head.value("user-agent") == "tester/1"
    assert head.value("accept-language") == "en"
    assert head.value("referer") == "https://referrer.example/"


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_providers_login_is_in_the_settings_of_the_daemon_that_traces(backend: str) -> None:
    settings = tracer_settings({"acme": {"username": "customer", "password": "canary"}})
    async with (
        net({"ads.example/start": page()}, credentials=("customer", "canary")) as here,
        backend_of(backend, settings) as tracing,
    ):
        landed = await traced_by(tracing, here.port, provider="acme")
        refused = await traced_by(tracing, here.port, provider="another")
    assert isinstance(landed.end, Landed)
    assert isinstance(refused.end, GaveUp)
    assert refused.end.verdict is Verdict.CREDENTIALS


async def test_a_gateway_gets_the_same_login_for_one_lease_and_its_exit_address_is_kept_by_every_backend() -> None:
    logins = []
    async with net({"ads.example/start": page()}, own_header="X-Exit-IP: 198.51.100.7") as here:
        acme = {
            "username": "customer",
            "password": "canary",
            "gateway": f"127.0.0.1:{here.port}",
            "username_pattern": "{username}-{country}-{session}",
            "session": "lease",
            "exit_ip_header": "x-exit-ip",
        }
        for backend in BACKENDS:
            async with backend_of(backend, tracer_settings({"acme": acme})) as tracing:
                result = await traced_by(tracing, 7_000, provider="acme")
            assert isinstance(result.end, Landed)
            assert result.exit_ip == "198.51.100.7"
            logins.append(here.proxy.seen[-1].value("proxy-authorization"))
    assert logins[0] == logins[1] is not None


@pytest.mark.parametrize("backend", BACKENDS)
async def test_an_ip_with_its_own_login_gets_it_at_its_own_endpoint_by_every_backend(backend: str) -> None:
    acme = {"username": "customer", "password": "other", "gateway": "127.0.0.1:1"}
    async with (
        net({"ads.example/start": page()}) as here,
        backend_of(backend, tracer_settings({"acme": acme})) as tracing,
    ):
        result = await traced_by(tracing, here.port, provider="acme", login=Login("bob", "ca:nary"))
        assert isinstance(result.end, Landed)
        wanted = base64.b64encode(b"bob:ca:nary").decode()
        assert here.proxy.seen[-1].value("proxy-authorization") == f"Basic {wanted}"


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_trace_whose_request_is_read_after_the_lease_sends_nothing(backend: str) -> None:
    """The tracer was suspended while the request waited: on one machine the boot clock tells."""
    async with net({"ads.example/start": page()}) as here, backend_of(backend, tracer_settings()) as tracing:
        late = await traced_by(tracing, here.port, ends_boot_s=read_boot_clock() - 0.001)
        assert isinstance(late.end, GaveUp)
        assert (late.end.reason, here.proxy.connections) == ("trace_timeout", 0)
        in_time = await traced_by(tracing, here.port, ends_boot_s=read_boot_clock() + 60)
        assert isinstance(in_time.end, Landed)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_trace_ends_at_its_timeout_by_every_backend(backend: str) -> None:
    replies: Replies = {"ads.example/start": redirect("/slow"), "ads.example/slow": origins.SILENT}
    async with net(dict(replies)) as here, backend_of(backend, tracer_settings()) as tracing:
        result = await traced_by(tracing, here.port, timeout_s=1.5)
    assert isinstance(result.end, GaveUp)
    assert (result.end.verdict, result.end.reason) == (Verdict.LIMIT, "trace_timeout")
    assert [hop.kind for hop in result.hops] == ["http", "failed"]


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_private_address_is_refused_by_every_backend(backend: str) -> None:
    settings = tracer_settings(allow_private=False)
    replies: Replies = {"ads.example/start": redirect("http://127.0.0.1/")}
    async with net(dict(replies)) as here, backend_of(backend, settings) as tracing:
        result = await traced_by(tracing, here.port, "http://ads.example/start", allow_private=False)
    assert isinstance(result.end, GaveUp)
    assert (result.end.verdict, result.end.reason) == (Verdict.LIMIT, "refused_address")
