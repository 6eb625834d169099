"""The client of a remote trace service: every answer becomes a verdict, none an exception."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

from daemon.providers.proxies import LeasedProxy
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.backends import Backends
from daemon.trace.service import ANSWER_BYTES_MAX, ServiceBackend
from daemon.trace.walk.steps import GaveUp, Hop, Landed, Limits, Walk
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.net import AUTHORITY, context_for, fetcher
from tests.fakes.wire import free_port, listening
from tests.integration.tracers import IDENTITY, LEASE, service_settings, traced_by, tracer_face
from tests.support.tracers import tracer_settings

LANDING = "https://shop.example/?a=1"
OTHERS_WORDS: dict[str, Any] = {
    "success": True,
    "chain": [
        {
            "url": "https://ads.example/go",
            "status": 302,
            "redirect_type": "http",
            "timing_ms": 12.5,
            "params": {"id": "7"},
            "error": None,
        },
        {"url": "https://b.example", "status": 200, "redirect_type": "javascript", "timing_ms": 3, "params": {}},
        {"url": "https://c.example/", "status": 200, "redirect_type": "meta_refresh", "timing_ms": 3, "params": {}},
        {"url": LANDING, "status": 200, "redirect_type": None, "timing_ms": 40, "params": {"a": "1"}},
    ],
    "total_steps": 4,
    "final_url": LANDING,
    "total_timing_ms": 58.5,
    "mode_used": "http_only",
    "proxy_ip": "127.0.0.1",
}


class Service:
    """Answers each request with the same bytes; `asked` are the requests' bodies, `heads` their heads."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[Any] = []
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, stream: trio.abc.Stream) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(65_536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += await stream.receive_some(65_536)
        self.heads.append(head.decode())
        self.asked.append(json.loads(body))
        await stream.send_all(self.answer)


def answering(body: Any, status: int = 200, *, kind: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (
        f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
    )


@asynccontextmanager
async def service(answer: bytes, **trace: Any) -> AsyncIterator[tuple[Service, ServiceBackend]]:
    served = Service(answer)
    async with listening(served.serve) as port:
        served.url = f"http://127.0.0.1:{port}/base/"
        backend = ServiceBackend(LiveSettings(service_settings(served.url, **trace)))
        try:
            yield served, backend
        finally:
            await backend.aclose()


def fault(end: Landed | GaveUp) -> GaveUp:
    assert isinstance(end, GaveUp)
    assert end.verdict is Verdict.SERVICE, end
    return end


async def test_a_service_gets_the_agreed_fields_and_its_kinds_are_translated() -> None:
    async with service(answering(OTHERS_WORDS)) as (served, backend):
        result = await traced_by(backend, 7_000, "https://ads.example/go", timeout_s=10, hops_max=6)
    assert result.end == Landed(LANDING)
    assert [hop.kind for hop in result.hops] == ["http", "script", "meta", "final"]
    assert result.hops[1] == Hop("https://b.example/", 200, 3.0, "script", 0, 0)
    assert served.heads[0].startswith("POST /base/trace HTTP/1.1\r\n")
    assert "authorization: bearer a-token-for-the-tracer" in served.heads[0].lower()
    assert served.asked[0] == {
        "url": "https://ads.example/go",
        "proxy_ip": "127.0.0.1",
        "proxy_port": "7000",
        "target_country": "us",
        "max_redirects": 5,
        "timeout_ms": 9_000,
        "mode": "http_only",
        "referrer": "https://referrer.example/",
        "user_agent": "tester/1",
        "provider": "luna",
        "lease": LEASE,
        "accept_language": "en",
        "landing_schemes": [],
        "stop_at": [],
    }


async def test_without_a_token_none_is_sent() -> None:
    async with service(answering(OTHERS_WORDS), service_token="") as (served, backend):
        await traced_by(backend, 7_000)
    assert "authorization" not in served.heads[0].lower()


@pytest.mark.parametrize(
    ("answer", "verdict", "reason", "message"),
    [
        ({"success": False}, Verdict.TARGET, "service_trace_failed", "the trace service gives no reason"),
        ({"success": False, "chain": [], "error": "no\r\nluck"}, Verdict.TARGET, "service_trace_failed", "no��luck"),
        (
            {"success": False, "chain": [{"url": "https://a.example/", "error": "DNS"}], "final_url": None},
            Verdict.TARGET,
            "service_trace_failed",
            "DNS",
        ),
        ({"success": False, "verdict": "ip", "reason": "proxy_broken"}, Verdict.IP, "proxy_broken", None),
        ({"success": False, "verdict": "ok", "reason": "Not A Word"}, Verdict.TARGET, "service_trace_failed", None),
        ({"success": False, "verdict": "everybody"}, Verdict.TARGET, "service_trace_failed", None),
    ],
)
async def test_a_failed_trace_is_the_targets_fault_unless_the_answer_has_a_verdict(
    answer: dict[str, Any], verdict: Verdict, reason: str, message: str | None
) -> None:
    async with service(answering(answer)) as (_, backend):
        end = (await traced_by(backend, 7_000)).end
    assert isinstance(end, GaveUp)
    assert (end.verdict, end.reason) == (verdict, reason)
    assert message is None or end.message == message


CHAIN = OTHERS_WORDS["chain"]
WRONG_SHAPES: dict[str, Any] = {
    "nothing": b"",
    "no JSON": b"<html>",
    "half of it": json.dumps(OTHERS_WORDS).encode()[:-5],
    "no UTF-8": b'{"success": false, "error": "\xff"}',
    "a lone surrogate": b'{"success": false, "error": "\\ud800"}',
    "not a number": b'{"success": false, "total_timing_ms": NaN}',
    "nested without end": b"[" * 100_000,
    "a list": [OTHERS_WORDS],
    "null": None,
    "no success": {**OTHERS_WORDS, "success": None},
    "success as a word": {**OTHERS_WORDS, "success": "yes"},
    "success that lands nowhere": {**OTHERS_WORDS, "final_url": None},
    "success without a chain": {**OTHERS_WORDS, "chain": []},
    "a chain of words": {**OTHERS_WORDS, "chain": ["https://a.example/"]},
    "a chain without end": {**OTHERS_WORDS, "chain": CHAIN * 100},
    "a hop without a URL": {**OTHERS_WORDS, "chain": [{"status": 200}]},
    "a status that is none": {**OTHERS_WORDS, "chain": [{"url": LANDING, "status": 10**9}]},
    "time that runs backwards": {**OTHERS_WORDS, "chain": [{"url": LANDING, "timing_ms": -1}]},
    "bytes beyond number": {**OTHERS_WORDS, "bytes_received": 10**18},
    "a landing that is no URL": {**OTHERS_WORDS, "final_url": "shop.example"},
    "a landing that is a script": {**OTHERS_WORDS, "final_url": "javascript:alert(1)"},
    "a landing in a file": {**OTHERS_WORDS, "final_url": "file:///etc/passwd"},
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
async def test_an_invalid_answer_is_the_services_fault(name: str) -> None:
    async with service(answering(WRONG_SHAPES[name])) as (_, backend):
        end = fault((await traced_by(backend, 7_000)).end)
    assert end.reason == "service_shape"
    assert end.message.startswith("the trace service answered")
    assert len(end.message) < 500


async def test_a_service_that_lands_at_a_private_address_is_not_followed() -> None:
    answer = answering({**OTHERS_WORDS, "final_url": "http://169.254.169.254/latest"})
    async with service(answer) as (_, backend):
        end = (await traced_by(backend, 7_000, "https://ads.example/go", allow_private=False)).end
    assert isinstance(end, GaveUp)
    assert (end.verdict, end.reason) == (Verdict.LIMIT, "refused_address")


BROKEN: dict[str, tuple[bytes, str]] = {
    "401": (answering({"success": True}, 401), "service_status"),
    "500": (answering(OTHERS_WORDS, 500), "service_status"),
    "201": (answering(OTHERS_WORDS, 201), "service_status"),
    "a redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: javascript:alert(1)\r\nContent-Length: 0\r\n\r\n",
        "service_status",
    ),
    "closed": (b"", "service_unreachable"),
    "no HTTP": (b"SSH-2.0-hello\r\n", "service_unreachable"),
    "closed in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", "service_unreachable"),
    "closed in the body": (answering(OTHERS_WORDS)[:-20], "service_unreachable"),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 100_000, "service_unreachable"),
    "too large": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * (ANSWER_BYTES_MAX + 100_000),
        "service_shape",
    ),
    "inflated": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" + b"\0" * 18,
        "service_shape",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_service_without_a_usable_answer_is_at_fault(name: str) -> None:
    answer, reason = BROKEN[name]
    async with service(answer) as (_, backend):
        result = await traced_by(backend, 7_000)
    assert fault(result.end).reason == reason
    assert result.hops == ()


async def test_a_service_whose_port_is_closed_is_at_fault() -> None:
    backend = ServiceBackend(LiveSettings(service_settings(f"http://127.0.0.1:{free_port()}")))
    assert fault((await traced_by(backend, 7_000)).end).reason == "service_unreachable"
    await backend.aclose()


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"], ids=["silent", "stuck"])
async def test_a_slow_service_has_the_time_of_the_trace(begins: bytes) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65_536)
        await stream.send_all(begins)
        while await stream.receive_some(65_536):
            continue
        left.set()

    left = trio.Event()
    async with listening(serve) as port:
        backend = ServiceBackend(LiveSettings(service_settings(f"http://127.0.0.1:{port}")))
        with trio.fail_after(10):
            result = await traced_by(backend, 7_000, timeout_s=0.4)
            await left.wait()
        await backend.aclose()
    assert fault(result.end).reason == "service_timeout"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_services_certificate_is_verified(trusted: bool) -> None:
    served = Service(answering(OTHERS_WORDS))
    trusting = context_trusting(AUTHORITY if trusted else trustme.CA())
    async with listening(served.serve, tls=context_for("127.0.0.1")) as port:
        backend = ServiceBackend(LiveSettings(service_settings(f"https://127.0.0.1:{port}")), trusting)
        result = await traced_by(backend, 7_000)
        await backend.aclose()
    if trusted:
        assert result.end == Landed(LANDING)
    else:
        assert "certificate" in fault(result.end).message.lower()
        assert not served.asked, "nothing was said to a stranger"


def context_trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_cancelled_trace_closes_the_connection_to_the_service() -> None:
    entered, left = trio.Event(), trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65_536)
        entered.set()
        while await stream.receive_some(65_536):
            continue
        left.set()

    async with listening(serve) as port:
        backend = ServiceBackend(LiveSettings(service_settings(f"http://127.0.0.1:{port}")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traced_by, backend, 7_000)
            await entered.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await left.wait()
        await backend.aclose()


async def test_the_setting_chooses_and_an_offer_may_choose_otherwise() -> None:
    async with service(answering(OTHERS_WORDS)) as (served, _), tracer_face(tracer_settings()) as other:
        first = Settings(trace={"backend": "service", "service_url": served.url, "allow_private": True})
        live = LiveSettings(first)
        backends = Backends(live, fetcher())
        dead = LeasedProxy("127.0.0.1", str(free_port()), "us", "luna", "lease")

        async def ends(name: str | None) -> Verdict:
            walk = Walk("https://ads.example/go", IDENTITY, Limits(20, allow_private=True))
            end = (await backends.trace(name, walk, dead, timeout_s=5)).end
            return Verdict.OK if isinstance(end, Landed) else end.verdict

        assert [await ends(None), await ends("service"), await ends("local")] == [Verdict.OK, Verdict.OK, Verdict.IP]
        live.replace(service_settings(other.url, allow_private=True))
        assert [await ends(None), await ends("service")] == [Verdict.IP, Verdict.IP]
        assert len(served.asked) == 2
        live.replace(Settings())
        assert await ends("service") is Verdict.OPERATOR, "no address is left to ask"
        await backends.aclose()


async def test_an_offer_with_a_service_that_is_not_set_is_the_operators_fault() -> None:
    backends = Backends(LiveSettings(Settings()), fetcher())
    walk = Walk("https://ads.example/go", IDENTITY, Limits(20, allow_private=True))
    end = (await backends.trace("service", walk, LeasedProxy("127.0.0.1", "1", "us", "luna", "lease"), timeout_s=5)).end
    assert isinstance(end, GaveUp)
    assert (end.verdict, end.reason) == (Verdict.OPERATOR, "no_service")
    await backends.aclose()
