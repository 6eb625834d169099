"""POST /trace of a daemon that traces for others: requests, bounds, and one trace per proxy."""

from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from daemon.pool.states import Endpoint
from tests.fakes import origins
from tests.fakes.net import START, net
from tests.fakes.origins import Reply, page, redirect
from tests.fakes.wire import free_port
from tests.integration.control_faces import Served
from tests.integration.tracers import tracer_face
from tests.support.tracers import TOKEN, tracer_settings
from tests.support.waiting import until

CHAIN: dict[str, Reply | list[Reply]] = {
    "ads.example/start": redirect("/two?x=1&x=2"),
    "ads.example/two?x=1&x=2": page(),
    "ads.example/slow": origins.SILENT,
}


async def post_trace(served: Served, token: str | None = TOKEN, **body: Any) -> httpx.Response:
    return await served.ask("/trace", "POST", token, json={"proxy_ip": "127.0.0.1", **body})


async def test_a_trace_is_answered_with_the_fields_of_every_trace_service() -> None:
    async with net(CHAIN) as here, tracer_face(tracer_settings()) as served:
        answer = await post_trace(served, url=START, proxy_port=here.port)
    assert answer.status_code == 200
    answered = answer.json()
    for timed in (answered, *answered["chain"]):
        assert timed.pop("total_timing_ms" if timed is answered else "timing_ms") >= 0
        assert timed.pop("bytes_received") > 0
        assert timed.pop("bytes_sent") > 0
    assert answered == {
        "success": True,
        "chain": [
            {
                "url": START,
                "status": 302,
                "redirect_type": "http",
                "tier": "markup",
                "why": None,
                "params": {},
                "error": None,
            },
            {
                "url": "http://ads.example/two?x=1&x=2",
                "status": 200,
                "redirect_type": "final",
                "tier": "markup",
                "why": None,
                "params": {"x": ["1", "2"]},
                "error": None,
            },
        ],
        "total_steps": 2,
        "final_url": "http://ads.example/two?x=1&x=2",
        "mode_used": "http_only",
        "proxy_ip": "127.0.0.1",
        "error": None,
        "verdict": "ok",
        "reason": None,
        "exit_ip": None,
    }


async def test_a_failed_trace_is_a_200_with_its_verdict() -> None:
    async with tracer_face(tracer_settings()) as served:
        answer = await post_trace(served, url=START, proxy_port=str(free_port()))
    assert answer.status_code == 200
    answered = answer.json()
    assert (answered["success"], answered["verdict"], answered["reason"]) == (False, "ip", "proxy_unreachable")
    assert answered["final_url"] is None
    assert "refuses connections" in answered["error"]
    assert answered["chain"][0]["error"] == answered["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": START}, "proxy_port"),
        ({"url": "", "proxy_port": 1}, "url"),
        ({"url": START, "proxy_port": 0}, "proxy_port"),
        ({"url": START, "proxy_port": 1, "proxy_ip": ""}, "proxy_ip"),
        ({"url": START, "proxy_port": 1, "max_redirects": -1}, "max_redirects"),
        ({"url": START, "proxy_port": 1, "timeout_ms": 0}, "timeout_ms"),
        ({"url": START, "proxy_port": 1, "timeout_ms": "soon"}, "timeout_ms"),
        ({"url": START, "proxy_port": 1, "referrer": 7}, "referrer"),
        ({"url": START, "proxy_port": 1, "user_agent": "x" * 5_000}, "user_agent"),
    ],
)
async def test_the_error_of_an_invalid_request_has_its_field(body: dict[str, Any], field: str) -> None:
    async with tracer_face(tracer_settings()) as served:
        answer = await post_trace(served, **body)
    assert answer.status_code == 400
    assert any(error["field"].startswith(field) for error in answer.json()["errors"])


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"null", b"[" * 100_000, b'{"url": "\xff"}', b'{"url": NaN}'])
async def test_a_body_that_is_no_json_object_is_a_problem(body: bytes) -> None:
    async with tracer_face(tracer_settings()) as served:
        answer = await served.ask("/trace", "POST", TOKEN, content=body, headers={"Content-Type": "application/json"})
        other_type = await served.ask("/trace", "POST", TOKEN, content=b"url=1")
    assert answer.status_code == 400
    assert other_type.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://a.example/\x00", "proxy_port": 1},
        {"url": START, "proxy_port": "seven"},
        {"url": START, "proxy_port": "١"},
        {"url": START, "proxy_port": 1, "proxy_ip": "a b\r\nc"},
        {"url": START, "proxy_port": 1, "user_agent": "x\r\nEvil: 1", "referrer": "\r\n"},
        {"url": START, "proxy_port": 1, "target_country": "\x00", "mode": "browser", "landing_schemes": ["x", ""]},
        {"url": "x" * 100_000, "proxy_port": 1},
    ],
)
async def test_odd_values_fail_only_the_trace(body: dict[str, Any]) -> None:
    async with tracer_face(tracer_settings(connect_timeout_s=0.2)) as served:
        answer = await post_trace(served, **body)
    assert answer.status_code == 200
    assert answer.json()["success"] is False


async def test_a_proxy_serves_one_trace_at_a_time_and_is_free_again_after_it() -> None:
    async with net(CHAIN) as here, tracer_face(tracer_settings()) as served, trio.open_nursery() as nursery:
        slow = "http://ads.example/slow"
        first = trio.CancelScope()

        async def ask_slowly() -> None:
            with first:
                await post_trace(served, url=slow, proxy_port=here.port)

        nursery.start_soon(ask_slowly)
        await until(lambda: here.plain.requests)
        again = await post_trace(served, url=START, proxy_port=f" {here.port}", proxy_ip="127.0.0.1 ")
        assert again.status_code == 409
        assert again.json()["type"] == "/problems/proxy-in-use"
        other = await post_trace(served, url=START, proxy_port=here.port, proxy_ip="127.0.0.2")
        assert other.json()["reason"] == "proxy_unreachable", "another address is another proxy"
        first.cancel()  # the client disconnects: the trace ends

        async def is_free() -> bool:
            return (await post_trace(served, url=START, proxy_port=here.port)).status_code == 200

        await until(is_free)


async def test_beyond_trace_workers_the_answer_is_busy() -> None:
    async with net(CHAIN) as here, tracer_face(tracer_settings(workers=1)) as served, trio.open_nursery() as nursery:
        nursery.start_soon(partial(post_trace, served, url="http://ads.example/slow", proxy_port=here.port))
        await until(lambda: here.plain.requests)
        answer = await post_trace(served, url=START, proxy_port=free_port())
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/busy")
        assert answer.headers["retry-after"]
        nursery.cancel_scope.cancel()


async def test_own_clicks_count_too_and_the_own_pool_is_not_for_others() -> None:
    async def is_ours(endpoint: Endpoint) -> bool:
        return endpoint == ("127.0.0.1", "7000", "")

    async with tracer_face(tracer_settings(workers=5), workers_busy=lambda: 4, is_of_the_pool=is_ours) as one:
        assert (await post_trace(one, url=START, proxy_port=free_port())).status_code == 200
        refused = await post_trace(one, url=START, proxy_port=7000)
        assert refused.status_code == 409
        assert "own pool" in refused.json()["detail"]
    async with tracer_face(tracer_settings(workers=5), workers_busy=lambda: 5) as full:
        assert (await post_trace(full, url=START, proxy_port=free_port())).status_code == 503


async def test_the_daemons_own_limits_apply_to_each_request() -> None:
    settings = tracer_settings(hops_max=2, timeout_s=1, allow_private=False)
    replies: dict[str, Reply | list[Reply]] = {
        "ads.example/start": redirect("/2"),
        "ads.example/2": redirect("/3"),
        "ads.example/slow": origins.SILENT,
    }
    async with net(replies) as here, tracer_face(settings) as served:

        async def reason(url: str, **more: Any) -> Any:
            return (await post_trace(served, url=url, proxy_port=here.port, **more)).json()["reason"]

        assert await reason(START, max_redirects=100) == "hops_max"
        assert await reason(START, max_redirects=0) == "hops_max"
        assert await reason("http://ads.example/slow", timeout_ms=3_600_000) == "trace_timeout"
        assert await reason("http://10.0.0.1/") == "refused_address"


async def test_a_trace_needs_the_token() -> None:
    async with tracer_face(tracer_settings()) as served:
        assert (await post_trace(served, None, url=START, proxy_port=1)).status_code == 401
        assert (await post_trace(served, "another-token-than-it", url=START, proxy_port=1)).status_code == 401
        assert (await served.ask("/api/status", token=TOKEN)).status_code == 404, "a tracer has no other resource"
        document = (await served.ask("/openapi.json", token=TOKEN)).json()
        assert list(document["paths"]) == ["/trace"]
