"""The click face over real sockets: headers and bodies are as documented for every query."""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
import structlog
import trio

from daemon.click.clicks import Clicks
from daemon.click.routes import click_handler
from daemon.host.clocks import read_clocks
from daemon.journal.entries import Hit
from daemon.offers.model import Offers
from daemon.pool.states import Ip
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.dispatch import Dispatcher
from daemon.trace.jobs import Finished, TraceJob
from tests.fakes.entries import of_kind
from tests.fakes.journal import MemoryJournal
from tests.fakes.pools import PlayedPools
from tests.integration.faces import limits_with, read_all, running

LANDING = "https://shop.example/item?x=1#top"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def location(self) -> str:
        return self.headers["location"]

    @property
    def error(self) -> str:
        assert self.headers["content-type"] == "application/json"
        document = json.loads(self.body)
        assert list(document) == ["error"]
        return str(document["error"])


Get = Callable[..., Awaitable[Reply]]


class Face:
    def __init__(self, get: Get, journal: MemoryJournal) -> None:
        self.get = get
        self.journal = journal

    def hit(self) -> Hit:
        [hit] = of_kind(Hit, self.journal.entries)
        return hit


@asynccontextmanager
async def face(
    landing: str | None = LANDING, *, ready: bool = True, dual_stack: bool = False, **settings: Any
) -> AsyncIterator[Face]:
    """The click face; its traces land at `landing`, or fail if `landing` is None."""
    configured = Settings(**{**settings, "click": {"repeat_s": 0, **settings.get("click", {})}})
    send, receive = trio.open_memory_channel[TraceJob](100)
    journal, offers = MemoryJournal(), Offers()
    row: dict[str, Any] = {
        "final_url": "https://ads.example/go?c=1",
        "deadline_s": None,
        "user_agent": "default",
        "landing_schemes": [],
    }
    names = ("sale", "sommer & Söhne", "a+b")
    offers.replace([{**row, "id": uuid4(), "offer_name": name, "target_country": "us"} for name in names])
    directory = PlayedPools().directory
    directory.open("us", [Ip(uuid4(), "198.51.100.1", "7000", "us", "luna")])
    live = LiveSettings(configured)
    dispatcher = Dispatcher(directory, journal, send, live, read_clocks)
    clicks = Clicks(offers, dispatcher, journal, read_clocks, live)

    async def work() -> None:
        async for job in receive:
            job.listener.send_nowait(Finished(landing, None if landing else "trace_failed"))

    handler = click_handler(configured, lambda: clicks if ready else None)
    limits = limits_with(head_bytes_max=65_536)
    async with trio.open_nursery() as nursery, running(limits, handler=handler, dual_stack=dual_stack) as served:
        nursery.start_soon(work)

        async def get(target: str | bytes, *headers: str, method: str = "GET", body: str = "") -> Reply:
            raw = target if isinstance(target, bytes) else target.encode()
            lines = [b"%s %s HTTP/1.1" % (method.encode(), raw), b"Host: clicks.example", b"Connection: close"]
            async with await served.connect() as client:
                head = b"\r\n".join([*lines, *(h.encode("latin-1") for h in headers), b"", b""])
                await client.send_all(head + body.encode())
                return parsed(await read_all(client))

        yield Face(get, journal)
        nursery.cancel_scope.cancel()


def parsed(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names)), f"a header twice in {head!r}"
    return Reply(int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}, body)


@pytest.mark.parametrize("path", ["/track-hit", "/functions/v1/track-hit"])
async def test_a_click_gets_its_redirect_with_the_documented_headers(path: str) -> None:
    async with face() as public:
        answer = await public.get(f"{path}?offer=sale&gclid=7")
    assert (answer.status, answer.body) == (302, b"")
    assert answer.location == "https://shop.example/item?x=1&gclid=7#top"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer-when-downgrade"
    assert UUID(answer.headers["x-request-id"]) == public.hit().request_id
    known = {"location", "cache-control", "referrer-policy", "x-request-id", "content-type", "content-length", "date"}
    assert set(answer.headers) - {"connection"} <= known


async def test_a_fallback_has_the_same_headers() -> None:
    async with face(None) as public:
        answer = await public.get("/track-hit?offer=sale&gclid=7")
    assert (answer.status, answer.location) == (302, "https://ads.example/go?c=1&gclid=7")
    assert (answer.headers["cache-control"], public.hit().reason) == ("no-store", "trace_failed")


async def test_head_gets_the_fallback_without_a_trace_and_a_marked_hit() -> None:
    async with face() as public:
        answer = await public.get("/track-hit?offer=sale&gclid=7", method="HEAD")
        assert (answer.status, answer.location, answer.body) == (302, "https://ads.example/go?c=1&gclid=7", b"")
        assert (public.hit().kind, public.hit().reason, len(public.journal.entries)) == ("preview", "preview", 1)
        assert (await public.get("/track-hit?offer=other", method="HEAD")).status == 404
        assert (await public.get("/track-hit", method="HEAD")).status == 400
        assert (await public.get("/track-hit", method="HEAD")).body == b""
        assert (await public.get("/livez", method="HEAD")).status == 200


@pytest.mark.parametrize("header", ["X-Purpose: preview", "User-Agent: WhatsApp/2.23.20.0 A"])
async def test_a_preview_gets_the_fallback_without_a_trace_and_a_marked_hit(header: str) -> None:
    async with face() as public:
        answer = await public.get("/track-hit?offer=sale", header)
        assert (answer.status, answer.location) == (302, "https://ads.example/go?c=1")
        assert (public.hit().kind, len(public.journal.entries)) == ("preview", 1)


@pytest.mark.parametrize(
    "header",
    [
        "Sec-Purpose: prefetch",
        "Sec-Purpose: prefetch;prerender",
        "Sec-Purpose: prefetch;anonymous-client-ip",
        "Purpose: Prefetch",
        "X-Moz: prefetch",
        "X-Purpose: prefetch",
    ],
)
async def test_a_prefetch_is_refused_so_that_the_browser_asks_again(header: str) -> None:
    async with face() as public:
        answer = await public.get("/track-hit?offer=sale", header)
        assert (answer.status, answer.headers["cache-control"]) == (503, "no-store")
        assert answer.headers["content-type"].startswith("text/html"), "if it is shown, it goes on by itself"
        assert b'<meta http-equiv="refresh" content="1">' in answer.body
        assert "location" not in answer.headers
        assert not public.journal.entries
        assert (await public.get("/track-hit?offer=sale", "Purpose: other")).status == 302


@pytest.mark.parametrize("body", ["", "0123456789", "x" * 65_536])
async def test_a_post_is_answered_like_get_and_its_body_is_ignored(body: str) -> None:
    async with face() as public:
        answer = await public.get("/track-hit?offer=sale", f"Content-Length: {len(body)}", method="POST", body=body)
        assert (answer.status, answer.location) == (302, LANDING)
        assert public.hit().outcome == "resolved"


@pytest.mark.parametrize(
    "target",
    [
        "/track-hit/?offer=sale",
        "/track-hit.?offer=sale",
        "//track-hit?offer=sale",
        "/functions//v1/track-hit/?offer=sale",
        "/Track-Hit?Offer=SALE",
        "/track-hit%20?offer=sale.",
        "/track-hit?offer=sale%20#top",
        "/track-hit?offer=SOMMER+%26+so%CC%88hne",
    ],
)
async def test_a_link_as_people_copy_it_is_a_click(target: str) -> None:
    async with face() as public:
        assert (await public.get(target)).location == LANDING
        assert public.hit().offer_name in ("sale", "sommer & Söhne")


@pytest.mark.parametrize("query", ["", "?", "?gclid=1", "?offer=", "?offer", "?OFFER="])
async def test_without_an_offer_it_is_400(query: str) -> None:
    async with face() as public:
        answer = await public.get(f"/track-hit{query}")
        assert (answer.status, answer.error) == (400, "offer parameter is required")
        assert answer.body == b'{"error": "offer parameter is required"}'
        assert "location" not in answer.headers
        assert UUID(answer.headers["x-request-id"])
        assert answer.headers["cache-control"] == "no-store"


async def test_an_offer_given_twice_is_400() -> None:
    async with face() as public:
        for query in ("offer=sale&offer=sold", "offer=sale&%6Fffer=x", "offer=sale&offer="):
            answer = await public.get(f"/track-hit?{query}")
            assert (answer.status, answer.error) == (400, "offer parameter must name one offer")
    assert not public.journal.entries


async def test_an_unknown_offer_is_404_and_a_long_name_is_logged_cut_short() -> None:
    with structlog.testing.capture_logs() as logs:
        async with face() as public:
            answer = await public.get("/track-hit?offer=" + "x" * 10_240)
            assert answer.body == b'{"error": "Offer not found or inactive"}'
            assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
            assert (await public.get("/track-hit?offer=sail")).status == 404
    assert {len(line["offer"]) for line in logs if line["event"] == "click_refused"} == {100, 4}


@pytest.mark.parametrize("name", ["sommer & Söhne", "a+b"])
async def test_a_name_may_hold_any_character(name: str) -> None:
    async with face() as public:
        assert (await public.get(f"/track-hit?offer={quote(name)}")).status == 302


async def test_before_anything_is_known_of_the_offers_clicks_wait_until_their_deadline() -> None:
    async with face(ready=False, click={"deadline_s": 1}) as public:
        answer = await public.get("/track-hit?offer=sale")
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert "starting" in answer.error
        assert (await public.get("/readyz")).status == 503
        assert (await public.get("/livez")).status == 200


async def test_readyz_of_a_ready_daemon_is_200() -> None:
    async with face() as public:
        assert [(await public.get(path)).status for path in ("/readyz", "/livez")] == [200, 200]


async def test_a_beacon_of_json_is_allowed_from_any_page() -> None:
    asked = ("Origin: https://shop.example", "Access-Control-Request-Method: POST")
    async with face() as public:
        answer = await public.get(
            "/track-hit?offer=sale", *asked, "Access-Control-Request-Headers: content-type", method="OPTIONS"
        )
        assert (answer.status, answer.body, "content-length" in answer.headers) == (204, b"", False)
        allowed = {name.removeprefix("access-control-allow-"): value for name, value in answer.headers.items()}
        assert (allowed["origin"], allowed["headers"]) == ("https://shop.example", "content-type")
        assert "POST" in allowed["methods"]
        assert (await public.get("/livez", *asked, method="OPTIONS")).status == 405
        assert not public.journal.entries


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"])
@pytest.mark.parametrize("path", ["/track-hit?offer=sale", "/functions/v1/track-hit", "/livez"])
async def test_other_methods_are_405_with_those_allowed(method: str, path: str) -> None:
    async with face() as public:
        answer = await public.get(path, method=method)
        assert (await public.get("/livez", method="POST")).status == 405
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD" if path == "/livez" else "GET, HEAD, POST")
    assert not public.journal.entries


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/track-hits",
        "/x/track-hit?offer=sale",
        "/functions/v2/track-hit?offer=sale",
        "//evil.example/track-hit",
        "/static/x",
        "/track-hit/../etc",
        "/%2e%2e/x",
    ],
)
async def test_other_paths_are_404_and_never_a_redirect(path: str) -> None:
    """A framework's own redirect would lead to the request's Host."""
    async with face() as public:
        answer = await public.get(path)
    assert (answer.status, "location" in answer.headers) == (404, False)
    assert answer.error == "Not Found"


@pytest.mark.parametrize(
    "hostile", ["%0d%0aX-Injected:%201", "%0aSet-Cookie:a=b", "%E5%98%8A%E5%98%8DX:1", "a%00b", "%0d"]
)
@pytest.mark.parametrize("landing", [LANDING, None])
async def test_line_breaks_in_parameters_reach_no_header(hostile: str, landing: str | None) -> None:
    async with face(landing) as public:
        answer = await public.get(f"/track-hit?offer=sale&gclid={hostile}&{hostile}=1")
    assert answer.status == 302
    assert not {"x-injected", "set-cookie", "x"} & answer.headers.keys()
    assert f"gclid={hostile}" in answer.location
    assert "\n" not in public.hit().location


@pytest.mark.parametrize("landing", ["https://shop.example/\r\nX-Injected: 1", "https://shop.example/?q=a b\tc\x00ü"])
async def test_odd_characters_of_a_landing_url_reach_no_header(landing: str) -> None:
    async with face(landing) as public:
        answer = await public.get("/track-hit?offer=sale")
    assert answer.status == 302
    assert "x-injected" not in answer.headers
    assert answer.location.isascii()
    assert answer.location.isprintable()
    assert " " not in answer.location


async def test_parameters_of_8_kb_arrive_whole() -> None:
    value = "v" * 8_192
    async with face() as public:
        answer = await public.get(f"/track-hit?offer=sale&gclid={value}&other={value}")
    assert answer.location == f"https://shop.example/item?x=1&gclid={value}&other={value}#top"


async def test_parameters_replace_those_of_their_name_and_stay_as_they_came() -> None:
    async with face("https://shop.example/?gclid=old&keep=%7e&gclid=older") as public:
        answer = await public.get("/track-hit?gclid=a+b%20c&offer=sale&tag=1&tag=&x=%zz")
    assert answer.location == "https://shop.example/?gclid=a+b%20c&keep=%7e&tag=1&tag=&x=%zz"


@pytest.mark.parametrize(
    "query", ["url=https://evil.example", "offer=sale&//evil.example", "offer=sale&x=@evil.example/"]
)
async def test_nothing_that_the_visitor_sends_chooses_the_host(query: str) -> None:
    query = query if "offer=" in query else f"offer=sale&{query}"
    async with face() as public:
        answer = await public.get(f"/track-hit?{query}", "X-Forwarded-Host: evil.example")
    assert answer.location.startswith("https://shop.example/item?")


async def test_the_visitors_address_is_the_peers_unless_a_trusted_proxy_says_otherwise() -> None:
    forged = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.77")
    async with face() as public:
        await public.get("/track-hit?offer=sale", *forged)
    assert public.hit().visitor_address == "127.0.0.1"
    async with face(click={"trusted_proxies": ["127.0.0.0/8"]}) as public:
        await public.get("/track-hit?offer=sale", *forged)
    assert public.hit().visitor_address == "198.51.100.77"
    async with face(click={"trusted_proxies": ["10.0.0.0/8"]}) as public:
        await public.get("/track-hit?offer=sale", *forged)
    assert public.hit().visitor_address == "127.0.0.1"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_an_ipv4_client_of_a_dual_stack_socket_has_its_ipv4_address() -> None:
    async with face(dual_stack=True) as public:
        await public.get("/track-hit?offer=sale")
    assert public.hit().visitor_address == "127.0.0.1"
    async with face(dual_stack=True, click={"trusted_proxies": ["127.0.0.1"]}) as public:
        await public.get("/track-hit?offer=sale", 'Forwarded: for="[2a02::9]:4711"')
    assert public.hit().visitor_address == "2a02::9"


async def test_the_visitors_headers_are_kept_with_the_hit() -> None:
    async with face() as public:
        await public.get("/track-hit?offer=sale", "User-Agent: Br\xfcwser/1", "Referer: https://search.example/?q=1")
    assert public.hit().user_agent is not None
    assert public.hit().user_agent.startswith("Br")  # type: ignore[union-attr]
    assert public.hit().referrer == "https://search.example/?q=1"


async def test_raw_bytes_in_a_query_are_encoded() -> None:
    async with face() as public:
        answer = await public.get(b"/track-hit?offer=sale&q=\xc3\xbc\xff")
    assert answer.status == 302
    assert answer.location.isascii()
    assert "q=%C3%BC" in answer.location
