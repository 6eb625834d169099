"""Traces by the browser: what only a browser can follow, what pages do to it, and what is left of it afterwards."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from daemon.providers.proxies import LeasedProxy, ProxyAddress
from daemon.settings.live import LiveSettings
from daemon.trace.browser import browser as browser_module
from daemon.trace.browser import command, guard, process, resources, visit
from daemon.trace.browser import tracing as tracing_module
from daemon.trace.browser.browser import Browser
from daemon.trace.browser.needs import PROBED_EACH, TRACES_MIN
from daemon.trace.browser.tracing import browse
from daemon.trace.local import LocalBackend
from daemon.trace.service import ServiceBackend
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import GaveUp, Identity, Landed, Limits, Walk
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.chains import LANDED, LANDING, says
from tests.fakes.net import START, Net, context_for, fetcher, net, ports_of
from tests.fakes.origins import SILENT, Reply, origin, page, redirect, reply
from tests.fakes.socks import SocksProxy, socks_proxy
from tests.integration.tracers import service_settings, tracer_face
from tests.support.tracers import browser_or_skip, browser_running, tracer_settings
from tests.support.waiting import until, wait_until

Replies = dict[str, Reply | list[Reply]]
LIMITS = Limits(20, allow_private=True)
ASKS = "<script>fetch('/where').then((answer) => answer.text()).then((to) => { location = to })</script>"
ASKING: Replies = {
    "ads.example/start": redirect("/asks", ("Set-Cookie", "visit=1")),
    "ads.example/asks": says(f"<title>x</title>{ASKS}"),
    "ads.example/where": says(LANDING, kind="text/plain"),
    "b.example/landed?cid=7": LANDED,
}
UNRESOLVED = [("http", "markup"), ("script_unresolved", "engine")]


@asynccontextmanager
async def tracing(**trace: Any) -> AsyncIterator[tuple[LocalBackend, Browser]]:
    live = LiveSettings(tracer_settings(**({"tracer": "auto"} | trace)))
    async with browser_running(live) as browser:
        yield LocalBackend(live, fetcher(), browser), browser


async def traced(
    backend: LocalBackend | ServiceBackend, here: Net, url: str = START, offer: str | None = None, languages: str = "de"
) -> TraceResult:
    walk = Walk(url, Identity("tester/1", languages, "https://referrer.example/"), LIMITS)
    proxy = LeasedProxy("127.0.0.1", str(here.port), "us", "luna", "lease")
    return await backend.trace(walk, proxy, timeout_s=20, offer=offer)


def hops_of(result: TraceResult) -> list[tuple[str, str]]:
    return [(hop.kind, hop.tier) for hop in result.hops]


def end_of(result: TraceResult) -> str | tuple[Verdict, str]:
    return result.end.url if isinstance(result.end, Landed) else (result.end.verdict, result.end.reason)


async def test_the_browser_goes_on_from_a_page_that_is_not_requested_again() -> None:
    async with net(dict(ASKING)) as here, tracing() as (backend, _):
        result = await traced(backend, here)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert end_of(result) == LANDING
        assert hops_of(result) == [("http", "markup"), ("script", "browser"), ("final", "browser")]
        assert result.hops[1].why == "fetch"
        heads = here.plain.requests
        assert [f"{head.value('host')}{head.target}" for head in heads] == list(ASKING)
        assert (heads[2].value("cookie"), heads[2].value("user-agent")) == ("visit=1", "tester/1")
        assert (heads[3].value("referer"), heads[3].value("accept-language")) == ("http://ads.example/", "de")
        assert (result.bytes_received, result.bytes_sent) == (here.proxy.bytes_out, here.proxy.bytes_in)
        assert sum(hop.bytes_received for hop in result.hops) == result.bytes_received


FOREIGN = "http://b.example/over"


@pytest.mark.parametrize(
    ("tracer", "script"),
    [
        ("http", f"location = '{FOREIGN}'"),
        ("auto", f"fetch('/where').then(() => {{ location = '{FOREIGN}' }})"),
        ("browser", f"location = '{FOREIGN}'"),
    ],
)
async def test_a_host_to_which_another_site_leads_back_learns_the_same_from_each_tracer(
    tracer: str, script: str
) -> None:
    own, others = ("Set-Cookie", "own=1; SameSite=Strict"), ("Set-Cookie", "others=2")
    replies: Replies = {
        "ads.example/start": redirect("/page?secret", own, others),
        "ads.example/page?secret": says(f"<script>{script}</script>"),
        "ads.example/where": says("", kind="text/plain"),
        "b.example/over": redirect("http://ads.example/back"),
        "ads.example/back": redirect("http://b.example/page"),
        "b.example/page": says("<script>location = 'http://ads.example/last'</script>"),
        "ads.example/last": redirect(LANDING),
        "b.example/landed?cid=7": LANDED,
    }
    async with net(replies) as here, tracing(tracer=tracer) as (backend, _):
        assert end_of(await traced(backend, here)) == LANDING
        heads = {head.target: head for head in here.plain.requests}
    cookies = [(target, head.value("cookie")) for target, head in heads.items() if head.value("cookie")]
    assert [cookies[0], *cookies[-2:]] == [
        ("/page?secret", "own=1; others=2"), ("/back", "own=1; others=2"), ("/last", "others=2"),
    ]  # fmt: skip
    assert heads["/back"].value("referer") == "http://ads.example/"


async def test_the_browser_sends_cookies_that_are_not_ascii_as_they_were_set() -> None:
    before, own = "n\xfc=v\xfc; Path=/".encode(), "own=\u20ac; Path=/".encode()
    replies: Replies = {
        "ads.example/start": redirect("/asks", ("Set-Cookie", before)),
        "ads.example/asks": reply(200, ("Content-Type", "text/html"), ("Set-Cookie", own), body=ASKS.encode()),
        "ads.example/where": says("/back", kind="text/plain"),
        "ads.example/back": redirect(LANDING),
        "b.example/landed?cid=7": LANDED,
    }
    async with net(replies) as here, tracing() as (backend, _):
        assert end_of(await traced(backend, here)) == LANDING
        sent = next(head.value("cookie") for head in here.plain.requests if head.target == "/back")
    assert sent is not None
    assert sent.encode("latin-1").decode() == "n\xfc=v\xfc; own=\u20ac"


@pytest.mark.parametrize(
    ("first", "url", "kind"),
    [
        (redirect("/x?\xfc".encode()), "http://ads.example/x?%C3%BC", "http"),
        (redirect("http://user:word@ads.example/x"), "http://user:word@ads.example/x", "http"),
        (says("<meta http-equiv=refresh content='0;http://user:word@ads.example/x'>"),
         "http://user:word@ads.example/x", "meta"),
        (says("<meta http-equiv=refresh content=\"0;url='/x?a='b'&c'\">"), "http://ads.example/x?a=%27b%27&c", "meta"),
    ],
)  # fmt: skip
async def test_an_odd_url_is_the_same_for_each_tracer(first: Reply, url: str, kind: str) -> None:
    for tracer in ("http", "browser"):
        async with net({"ads.example/start": first}) as here, tracing(tracer=tracer) as (backend, _):
            result = await traced(backend, here)
            assert (end_of(result), [hop.kind for hop in result.hops]) == (url, [kind, "final"]), tracer


async def test_the_browser_has_the_visitor_s_languages() -> None:
    script = "location = 'http://b.example/landed?cid=7#' + navigator.languages"
    replies: Replies = {**ASKING, "ads.example/start": says(f"<script>{script}</script>")}
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        result = await traced(backend, here, languages="fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5")
        assert end_of(result) == f"{LANDING}#fr-CH,fr,en"
        sent = {head.value("accept-language") for head in here.plain.requests}
    assert sent == {"fr-CH,fr;q=0.9,en;q=0.8"}


async def test_an_offer_starts_in_the_browser_after_some_traces_that_needed_it() -> None:
    async with net(dict(ASKING)) as here, tracing() as (backend, _):
        first = [hops_of(await traced(backend, here, offer="shoes"))[0][1] for _ in range(TRACES_MIN)]
        assert first == ["markup"] * TRACES_MIN
        result = await traced(backend, here, offer="shoes")
        assert hops_of(result) == [("http", "browser"), ("script", "browser"), ("final", "browser")]
        assert result.hops[0].why == f"the offer's last {TRACES_MIN} traces without the browser needed it: fetch"
        assert hops_of(await traced(backend, here, offer="boots"))[0][1] == "markup"
    assert PROBED_EACH > 1


async def test_an_offer_starts_in_the_browser_of_a_remote_tracer_too() -> None:
    settings = tracer_settings(tracer="auto")
    async with (
        net(dict(ASKING)) as here,
        browser_running(LiveSettings(settings)) as browser,
        tracer_face(settings, browser=browser) as served,
    ):
        backend = ServiceBackend(LiveSettings(service_settings(served.url)))
        tiers = [hops_of(await traced(backend, here, offer="shoes"))[0][1] for _ in range(TRACES_MIN + 1)]
        await backend.aclose()
    assert tiers == [*["markup"] * TRACES_MIN, "browser"]


WORKER = "new Worker(URL.createObjectURL(new Blob(['setTimeout(() => postMessage(1), 500)'])))"
PAGES_ON_THE_REAL_CLOCK = {
    "a worker": f"{WORKER}.onmessage = go",
    "a database": "const opened = indexedDB.open('x'); opened.onsuccess = go",
    "an idle page": "requestIdleCallback(go)",
    "a frame": "requestAnimationFrame(go)",
    "a WebSocket": "new WebSocket('ws://b.example/socket').onerror = go",
}


async def test_a_page_is_given_real_time_for_what_knows_no_other() -> None:
    async with tracing(tracer="browser") as (backend, _):
        for name, script in PAGES_ON_THE_REAL_CLOCK.items():
            first = says(f"<body><script>const go = () => {{ location = '{LANDING}' }}; {script}</script>")
            replies: Replies = {
                "ads.example/start": first,
                "b.example/landed?cid=7": LANDED,
                "b.example/socket": Reply((b"HTTP/1.1 404 No\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=1),
            }
            async with net(replies) as here:
                assert end_of(await traced(backend, here)) == LANDING, name


ANIMATED = {
    "an animation": (
        "<style>@keyframes fill { from { width: 0 } } p { animation: fill 1s 3 }</style><p onanimationend=go()>Wait"
    ),
    "a transition": (
        "<style>p { width: 0; transition: width 3s }</style><p id=bar ontransitionend=go()>Wait"
        "<script>setTimeout(() => { bar.style.width = '9px' }, 50)</script>"
    ),
    "an animation of a script": (
        "<p id=bar>Wait<script>bar.animate([{ opacity: 0 }, { opacity: 1 }], 3000).onfinish = go</script>"
    ),
    "animations that follow each other": (
        "<style>@keyframes a { from { width: 0 } } @keyframes b { from { width: 0 } }</style>"
        "<p id=bar style='animation: a 1s'>Wait<script>bar.onanimationend = (event) => {"
        " if (event.animationName === 'b') go(); bar.style.animation = 'b 1s' }</script>"
    ),
}


@pytest.mark.parametrize("name", ANIMATED)
async def test_a_page_s_animations_end_in_its_own_time(name: str) -> None:
    late = "setTimeout(() => { location = 'http://b.example/late' }, 9000)"
    script = f"<script>function go() {{ location = '{LANDING}' }}; {late}</script>"
    replies: Replies = {
        "ads.example/start": says(f"{script}<body>{ANIMATED[name]}"),
        "b.example/landed?cid=7": LANDED,
        "b.example/late": LANDED,
    }
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        assert end_of(await traced(backend, here)) == LANDING


async def test_a_page_that_requests_have_left_connects_a_websocket_through_the_leased_ip() -> None:
    script = f"fetch('/where'); new WebSocket('ws://b.example/socket').onerror = () => {{ location = '{LANDING}' }}"
    replies: Replies = {**ASKING, "ads.example/asks": says(f"<body><script>{script}</script>")}
    async with net(replies) as here, tracing() as (backend, _):
        assert end_of(await traced(backend, here)) == LANDING
        assert "b.example/socket" in [f"{head.value('host')}{head.target}" for head in here.plain.requests]


WHAT_NEVER_ANSWERS = {
    "a request": "fetch('/never')",
    "a script": "const script = document.createElement('script'); script.src = '/never'; document.head.append(script)",
    "an image": "new Image().src = '/never'",
    "a frame": "document.body.append(Object.assign(document.createElement('iframe'), { src: '/never' }))",
    "a worker": "new Worker(URL.createObjectURL(new Blob(['for (;;);'])))",
}


async def test_a_page_is_not_held_up_by_what_never_answers() -> None:
    jump = f"setTimeout(() => {{ location = '{LANDING}' }}, 500)"
    async with tracing(tracer="browser") as (backend, _):
        for name, script in WHAT_NEVER_ANSWERS.items():
            replies: Replies = {
                "ads.example/start": says(f"<body><script>{jump}; {script}</script>"),
                "ads.example/never": SILENT,
                "b.example/landed?cid=7": LANDED,
            }
            async with net(replies) as here:
                assert end_of(await traced(backend, here)) == LANDING, name


IMAGE = "const image = new Image(); image.onload = {}; image.onerror = {}; image.src = '{}'"
STYLE = "document.head.innerHTML = '<link rel=stylesheet onload={}() onerror={}() href={}>'"
WHAT_PAGES_ASK_FOR = {
    "an image": IMAGE.format("go", "other", "/image"),
    "an image behind a redirect": IMAGE.format("go", "other", "/moved"),
    "an image that does not exist": IMAGE.format("other", "go", "/none"),
    "an image that is none": IMAGE.format("other", "go", "/empty"),
    "a style": STYLE.format("go", "other", "/style"),
    "a style that does not exist": STYLE.format("other", "go", "/none"),
    "the right to notify": "Notification.requestPermission().then(go)",
    "voices": "speechSynthesis.getVoices(); go()",
    "a prefetch": "document.head.innerHTML = '<link rel=prefetch onload=go() onerror=other() href=/next>'",
}


async def test_a_page_goes_on_as_if_all_that_it_asks_for_had_been_loaded() -> None:
    both = f"var go = () => {{ location = '{LANDING}' }}, other = () => {{ location = 'http://b.example/blocked' }}"
    async with tracing(tracer="browser") as (backend, _):
        for name, script in WHAT_PAGES_ASK_FOR.items():
            first = says(f"<head></head><body><script>{both}; {script}</script>")
            replies: Replies = {
                "ads.example/start": first,
                "ads.example/image": head_of("image/png"),
                "ads.example/moved": redirect("/image"),
                "ads.example/empty": reply(204),
                "ads.example/style": head_of("text/css"),
                "b.example/landed?cid=7": LANDED,
            }
            async with net(replies) as here:
                assert end_of(await traced(backend, here)) == LANDING, name
                methods = [request.method for request in here.plain.requests]
                assert methods == ["GET", *["HEAD"] * (len(methods) - 2), "GET"], "no image or style is loaded"


async def test_a_few_images_of_a_page_are_asked_for() -> None:
    images = "".join(f"<img src=/image{number}>" for number in range(50))
    async with net({"ads.example/start": says(f"<body>{images}<script>0</script>")}) as here:
        async with tracing(tracer="browser") as (backend, _):
            assert end_of(await traced(backend, here)) == START
        assert len(here.plain.requests) == 1 + resources.ASKED_MAX


async def test_a_page_prefetches_nothing() -> None:
    replies: Replies = {
        "ads.example/start": says(
            "<link rel=prefetch href=/next><script>fetch('/where').then(() => fetch('/more'))</script>"
        ),
        "ads.example/where": Reply((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=0.5),
        "ads.example/more": LANDED,
        "ads.example/next": LANDED,
    }
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        assert end_of(await traced(backend, here)) == START
        assert [head.target for head in here.plain.requests] == ["/start", "/where", "/more"]


def head_of(kind: str) -> Reply:
    return Reply((f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 5\r\n\r\n".encode(),), end="close")


async def test_a_page_that_replaces_its_jump_after_a_redirect_of_it_has_one_hop() -> None:
    script = f"fetch('/slow').then(() => {{ location = '{LANDING}' }}); location = '/redirects'"
    replies: Replies = {
        "ads.example/start": says(f"<body><script>{script}</script>"),
        "ads.example/redirects": redirect("/never"),
        "ads.example/never": SILENT,
        "ads.example/slow": Reply((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=0.3),
        "b.example/landed?cid=7": LANDED,
    }
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        result = await traced(backend, here)
        assert (end_of(result), hops_of(result)) == (LANDING, [("script", "browser"), ("final", "browser")])


async def test_a_trace_ends_at_a_jump_to_no_document_unless_the_page_jumps_again() -> None:
    begins = "setTimeout(() => { location = '/moved' }, 300)"
    again = f"setTimeout(() => {{ location = '{LANDING}' }}, 2000)"
    async with tracing(tracer="browser") as (backend, _):
        for no_document in (reply(204), reply(200, ("Content-Disposition", "attachment"), body=b"PK")):
            for script, landing in {begins: "http://ads.example/file", f"{begins}; {again}": LANDING}.items():
                replies: Replies = {
                    "ads.example/start": says(f"<body><script>{script}</script>"),
                    "ads.example/moved": redirect("/file"),
                    "ads.example/file": no_document,
                    "b.example/landed?cid=7": LANDED,
                }
                async with net(replies) as here:
                    result = await traced(backend, here)
                jumps = [("script", "browser"), ("http", "browser")] if landing != LANDING else [("script", "browser")]
                assert (end_of(result), hops_of(result)) == (landing, [*jumps, ("final", "browser")]), no_document


async def test_scripts_of_an_xml_document_run() -> None:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><script>location = '{LANDING}'</script></svg>"
    async with tracing(tracer="browser") as (backend, _):
        for kind in ("image/svg+xml", "text/xml"):
            async with net({"ads.example/start": says(svg, kind=kind), "b.example/landed?cid=7": LANDED}) as here:
                assert end_of(await traced(backend, here)) == LANDING, kind
        async with net({"ads.example/start": says("<a/>", kind="text/xml")}) as here:
            result = await traced(backend, here)
            assert (end_of(result), hops_of(result)) == (START, [("final", "browser")])


async def test_a_page_that_goes_back_to_where_nothing_was_has_settled() -> None:
    replies: Replies = {"ads.example/start": says("<body><script>history.back()</script>")}
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        result = await traced(backend, here)
        assert (end_of(result), hops_of(result)) == (START, [("final", "browser")])


PAGES_THAT_MISBEHAVE = {
    "alerts": "alert(1); confirm(2); prompt(3)",
    "asks before it is left": "onbeforeunload = (event) => { event.preventDefault(); return 'stay' }",
    "opens windows": "for (let n = 0; n < 50; n++) open('/where', '_blank')",
    "downloads": "const a = document.createElement('a'); a.download = 'x'; a.href = 'data:,x'; a.click()",
    "sets a thousand timers": "for (let n = 0; n < 1000; n++) setInterval(() => {}, n)",
    "animates": "(function go() { requestAnimationFrame(go) })()",
    "goes to an app that nobody has": "location = 'exampleapp://open'",
    "replaces its own jump": f"location = '/never'; setTimeout(() => {{ location.href = '{LANDING}' }})",
    "leaves its document open": "document.open(); document.write('<p>hi')",
}


async def test_a_page_that_misbehaves_is_left_as_any_other() -> None:
    jump = f"setTimeout(() => {{ location = '{LANDING}' }}, 500)"
    async with tracing(tracer="browser") as (backend, _):
        for name, script in PAGES_THAT_MISBEHAVE.items():
            first = says(f"<body><script>{script}\n{jump}</script>")
            replies: Replies = {
                "ads.example/start": first,
                "b.example/landed?cid=7": LANDED,
                "ads.example/never": SILENT,
            }
            async with net(replies) as here:
                result = await traced(backend, here)
                assert (end_of(result), len(result.hops)) == (LANDING, 2), (name, result)


async def test_a_page_that_jumps_to_a_host_which_only_the_browser_accepts_is_unresolved() -> None:
    async with tracing(tracer="browser") as (backend, _):
        for url in ("http://a b/", "http://a b/#x"):
            async with net({"ads.example/start": says(f"<body><script>location = '{url}'</script>")}) as here:
                result = await traced(backend, here)
                assert (end_of(result), hops_of(result)) == (START, [("script_unresolved", "browser")])
                assert "a%20b" in (result.hops[0].why or "")


async def test_a_page_whose_text_has_half_a_surrogate_pair_ends_no_other_trace() -> None:
    ends: list[object] = []
    jump = f"setTimeout(() => {{ location = '{LANDING}' }}, 500)"
    replies: Replies = {
        "ads.example/start": says(f"<body><script>{jump}; fetch('/slow').then(() => alert('\\ud800'))</script>"),
        "ads.example/other": says(f"<body><script>fetch('/later').then(() => {{ location = '{LANDING}' }})</script>"),
        "ads.example/slow": Reply((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=0.3),
        "ads.example/later": Reply((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=0.9),
        "b.example/landed?cid=7": LANDED,
    }

    async def trace(url: str, here: Net) -> None:
        ends.append(end_of(await traced(backend, here, url)))

    async with (
        tracing(tracer="browser") as (backend, _),
        net(replies) as one,
        net(replies) as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(trace, START, one)
        nursery.start_soon(trace, START.replace("start", "other"), two)
    assert ends == [LANDING, LANDING]


ENDLESS = {
    "loops": "for (;;);",
    "reloads itself": "location.reload()",
    "goes round": "location = '/start?' + Math.random()",
    "floods its loop": "const go = () => { for (let n = 0; n < 1e5; n++); setTimeout(go) }; setInterval(go); go()",
    "asks its server for ever": "(async () => { for (;;) await fetch('/where') })()",
}


async def test_a_page_that_never_settles_ends_in_a_verdict_and_the_next_trace_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visit, "PAGE_S", 1.0)
    async with tracing(tracer="browser") as (backend, _):
        for name, script in ENDLESS.items():
            replies = {**ASKING, "ads.example/start": says(f"<body><script>{script}</script>")}
            async with net(replies) as here:
                with trio.fail_after(10):
                    result = await traced(backend, here)
                assert len(result.hops) < 25, name
        async with net(dict(ASKING)) as here:
            assert end_of(await traced(backend, here)) == LANDING


@pytest.mark.parametrize("second", [False, True])
async def test_a_page_that_is_not_received_whole_is_unresolved(monkeypatch: pytest.MonkeyPatch, second: bool) -> None:
    monkeypatch.setattr(tracing_module, "TRACE_BYTES_MAX", 1 << 20)
    large = says("<body>" + "x" * (2 << 20) + f"<script>location = '{LANDING}'</script>")
    first = says("<body><script>location = '/large'</script>") if second else large
    replies: Replies = {"ads.example/start": first, "ads.example/large": large}
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        result = await traced(backend, here)
    assert (end_of(result), len(result.hops)) == ("http://ads.example/large" if second else START, 1 + second)
    assert (result.hops[-1].kind, result.hops[-1].why) == ("script_unresolved", "the trace received more than 1 MB")


async def test_a_page_that_sends_requests_for_ever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "REQUESTS_MAX", 20)
    replies = {**ASKING, "ads.example/start": says(f"<body><script>{ENDLESS['asks its server for ever']}</script>")}
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):
        result = await traced(backend, here)
        assert len(here.plain.requests) <= 21
    assert [(hop.kind, hop.why) for hop in result.hops] == [
        ("script_unresolved", "the page sent more than 20 requests")
    ]


async def test_a_page_that_floods_the_connection_to_the_browser_ends_its_own_trace_only() -> None:
    flood = "fetch('/where', {method: 'POST', body: 'x'.repeat(2e7)})"
    quiet = "fetch('/slow').then(() => { location = 'http://b.example/landed?cid=7' })"
    replies: Replies = {
        "ads.example/start": says(f"<body><script>{flood}</script>"),
        "ads.example/quiet": says(f"<body><script>{quiet}</script>"),
        "ads.example/slow": Reply((b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"), pause_s=2),
        "b.example/landed?cid=7": LANDED,
    }
    ends = {}
    async with net(replies) as here, tracing(tracer="browser") as (backend, _):

        async def note(url: str) -> None:
            result = await traced(backend, here, url)
            ends[url] = result.hops[0].kind, end_of(result)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, "http://ads.example/quiet")
            await until(lambda: here.plain.requests)
            nursery.start_soon(note, START)
    assert ends == {START: ("script_unresolved", START), "http://ads.example/quiet": ("script", LANDING)}


EATERS = {
    "buffers": "const all = []; for (;;) { const one = new Uint8Array(5e7); one.fill(1); all.push(one) }",
    "canvases": """const all = []; for (;;) { const one = document.createElement('canvas'); all.push(one);
        one.width = one.height = 4000; one.getContext('2d').fillRect(0, 0, 4000, 4000) }""",
}


async def test_a_page_that_eats_memory_is_stopped_and_the_next_trace_works() -> None:
    async with tracing(tracer="browser") as (backend, _):
        for name, script in EATERS.items():
            async with net({"ads.example/start": says(f"<body><script>{script}</script>")}) as here:
                assert end_of(await traced(backend, here)) == START, name
        async with net(dict(ASKING)) as here:
            assert end_of(await traced(backend, here)) == LANDING


SLOWLY = Reply((b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(LANDING), b"\r\n" + LANDING.encode()), pause_s=1.5)


def browsers() -> list[int]:
    """The guards of this process's browsers."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, children) if guard.__file__ in command_of(pid)]


def is_zygote(pid: int) -> bool:
    return "--type=zygote" in command_of(pid)


def command_of(pid: int) -> list[str]:
    """The words of its command line; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """A process of a browser may have ended meanwhile."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    try:
        children = list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in descendants(child))]


async def test_a_browser_that_is_killed_ends_the_trace_and_the_next_one_starts_another() -> None:
    slow: Replies = {"ads.example/start": SILENT}
    async with tracing(tracer="browser") as (backend, _):
        async with net(slow) as here, trio.open_nursery() as nursery:

            async def kill() -> None:
                await until(lambda: here.plain.requests)
                [guarded] = browsers()
                os.kill(descendants(guarded)[0], signal.SIGKILL)

            nursery.start_soon(kill)
            with trio.fail_after(10):
                assert end_of(await traced(backend, here)) == (Verdict.LIMIT, "browser_crashed")
        async with net(dict(ASKING)) as here:
            assert end_of(await traced(backend, here)) == LANDING
        await until(lambda: len(browsers()) == 1)


async def test_a_browser_without_its_guard_ends() -> None:
    async with tracing(tracer="browser") as (backend, _), net(dict(ASKING)) as here:
        assert end_of(await traced(backend, here)) == LANDING
        [guarded] = browsers()
        pids = descendants(guarded)
        os.kill(guarded, signal.SIGKILL)
        await until(lambda: not [pid for pid in pids if is_alive(pid)])
        assert end_of(await traced(backend, here)) == LANDING


async def test_a_browser_that_can_start_no_process_for_a_tab_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OPEN_S", 1.0)
    async with tracing(tracer="browser") as (backend, _), net(dict(ASKING)) as here:
        assert end_of(await traced(backend, here)) == LANDING
        [guarded] = browsers()
        signal_all(filter(is_zygote, descendants(guarded)), signal.SIGKILL)
        with trio.fail_after(10):
            assert end_of(await traced(backend, here)) == LANDING


async def test_a_trace_does_not_wait_for_a_browser_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "PAGE_S", 0.5)
    async with tracing(tracer="browser") as (backend, _):
        async with net({**ASKING, "ads.example/where": SILENT}) as here, trio.open_nursery() as nursery:

            async def stop() -> None:
                await until(lambda: "/where" in [request.target for request in here.plain.requests])
                [guarded] = browsers()
                signal_all(descendants(guarded), signal.SIGSTOP)

            nursery.start_soon(stop)
            with trio.fail_after(4):
                result = await traced(backend, here)
            assert (end_of(result), result.hops[-1].kind) == ("http://ads.example/asks", "script_unresolved")
            nursery.cancel_scope.cancel()
        async with net(dict(ASKING)) as here:
            assert end_of(await traced(backend, here)) == LANDING


async def test_a_browser_that_opens_no_tab_in_time_goes_on_with_its_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OPEN_S", 2.0)
    ends = []
    async with net({**ASKING, "ads.example/where": SLOWLY}) as here, tracing(tracer="browser") as (backend, _):

        async def note() -> None:
            ends.append(end_of(await traced(backend, here)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
            await until(lambda: "/where" in [request.target for request in here.plain.requests])
            [slow] = browsers()
            stopped = descendants(slow)
            signal_all(stopped, signal.SIGSTOP)
            nursery.start_soon(note)
            await until(lambda: len(browsers()) == 2)
            signal_all(stopped, signal.SIGCONT)
        assert ends == [LANDING, LANDING]
        await until(lambda: slow not in browsers() and len(browsers()) == 1)


async def test_a_browser_is_replaced_after_its_traces_and_leaves_nothing() -> None:
    before = profiles()
    async with net(dict(ASKING)) as here:
        async with tracing(tracer="browser", browser_traces_max=2) as (backend, _):
            used = set()
            for _ in range(5):
                assert end_of(await traced(backend, here)) == LANDING
                used |= set(browsers())
            assert len(used) == 3
            await until(lambda: len(browsers()) == 1, "the browsers that were replaced have ended")
            assert len(profiles() - before) <= 2
        assert browsers() == []
        assert profiles() <= before


def profiles() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{guard.PREFIX}*"))


async def test_traces_beyond_the_places_wait_and_then_keep_what_http_has_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_module, "PLACE_WAIT_S", 0.1)
    ends: list[str | tuple[Verdict, str]] = []
    async with net({**ASKING, "ads.example/where": SILENT}) as here, tracing(browser_max=1) as (backend, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traced, backend, here)
            await until(lambda: len(here.plain.requests) == 3, "the first trace has the place")
            result = await traced(backend, here)
            ends.append(end_of(result))
            nursery.cancel_scope.cancel()
        assert ends == ["http://ads.example/asks"]
        assert hops_of(result) == UNRESOLVED


async def test_without_a_browser_auto_keeps_what_http_has_found_and_browser_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with tracing() as (auto, _), tracing(tracer="browser") as (only, _), net(dict(ASKING)) as here:
        monkeypatch.setattr(command, "PROGRAMS", ("no-such-browser",))
        for _ in range(3):
            result = await traced(auto, here)
            assert (end_of(result), hops_of(result)) == ("http://ads.example/asks", UNRESOLVED)
        assert capsys.readouterr().out.count("no_browser") == 1
        result = await traced(only, here)
        assert end_of(result) == (Verdict.OPERATOR, "no_browser")
        assert isinstance(result.end, GaveUp)
        assert "chromium-headless-shell" in result.end.message
        assert result.hops == ()


async def test_a_browser_whose_process_cannot_be_created_is_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tracing(tracer="browser") as (only, _), net(dict(ASKING)) as here:
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        result = await traced(only, here)
        assert end_of(result) == (Verdict.OPERATOR, "no_browser")
        assert isinstance(result.end, GaveUp)
        assert "the browser's process could not be created: [Errno 2]" in result.end.message


CHAIN: Replies = {"ads.example/start": redirect("https://secure.example/"), "b.example/landed": page()}
SECURE_CHAIN: Replies = {
    "secure.example/": says("<script>location = 'https://s1.example/'</script>"),
    "s1.example/": reply(200, ("Refresh", "1;url=http://b.example/landed")),
}
LOGIN = "customer", "canary"


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_the_browser_is_led_through_each_kind_of_proxy_with_its_login(scheme: str) -> None:
    live = LiveSettings(tracer_settings())
    async with browser_running(live) as browser:

        async def through(port: int, password: str) -> str | tuple[Verdict, str]:
            walk = Walk(START, Identity("tester/1"), LIMITS)
            address = ProxyAddress("127.0.0.1", port, LOGIN[0], password, scheme)  # type: ignore[arg-type]
            return end_of(await browse(browser, fetcher(), address, walk, timeout_s=20))

        async def both(port: int) -> None:
            assert await through(port, LOGIN[1]) == "http://b.example/landed"
            assert await through(port, "wrong") == (Verdict.CREDENTIALS, "proxy_credentials")

        if scheme == "socks5":
            tls = context_for("secure.example", "s1.example")
            async with (
                origin(dict(CHAIN)) as (_, plain),
                origin(dict(SECURE_CHAIN), tls=tls) as (_, secure),
                socks_proxy(SocksProxy(ports_of(plain, secure), login=LOGIN)) as port,
            ):
                await both(port)
        else:
            proxy_tls = context_for("127.0.0.1") if scheme == "https" else None
            async with net(dict(CHAIN), dict(SECURE_CHAIN), credentials=LOGIN, proxy_tls=proxy_tls) as here:
                await both(here.port)


DAEMON = """
import trio
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.browser.browser import Browser

async def main():
    browser = Browser(LiveSettings(Settings()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(browser.run)
        await trio.sleep(0)
        async with browser.tab("http://127.0.0.1:9", wait_s=5):
            print("open", flush=True)
            await trio.sleep_forever()

trio.run(main)
"""


def test_neither_a_process_nor_a_profile_is_left_when_the_daemon_is_killed() -> None:
    browser_or_skip()
    before = profiles()
    with subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("open" in line for line in process.stdout)
        left, [profile] = descendants(process.pid), profiles() - before
        assert len(left) > 3
        process.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "the browser's processes have ended")
    wait_until(lambda: not profile.exists(), "its profile is removed")
