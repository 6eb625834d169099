"""Pages whose server sends a script and then holds the connection open, or drips: over real sockets."""

import pytest
import trio

from daemon.trace.page.body import EARLY_RUNS_MAX
from daemon.trace.walk.hops import TraceResult
from daemon.trace.walk.steps import Landed
from tests.fakes.chains import LANDED, LANDING
from tests.fakes.net import START, Net, fetcher, net, traced
from tests.fakes.origins import Reply
from tests.support.engine import EngineHere

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: keep-alive\r\n"
JUMP = b"<script>location = '%s'</script>" % LANDING.encode()
STAYS = b"<script>var a = 1</script>"
LATE = "the page did not come whole within "


def held(*parts: bytes, pause_s: float = 0.0) -> Reply:
    """A page of which the rest never comes."""
    return Reply((HEAD + b"Content-Length: 9000\r\n\r\n", *parts), end="hang", pause_s=pause_s)


async def trace_of(start: Reply) -> tuple[TraceResult, EngineHere, Net]:
    engine = EngineHere()
    async with net({"ads.example/start": start, "b.example/landed?cid=7": LANDED}) as here:
        with trio.fail_after(20):
            return await traced(here.port, by=fetcher(engine=engine, hop_timeout_s=60)), engine, here


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.trace.wire.session.BODY_WAIT_S", 0.6)


@pytest.fixture
def endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is not left early ends the trace by its time limit."""
    monkeypatch.setattr("daemon.trace.wire.session.BODY_WAIT_S", 60.0)


@pytest.mark.usefixtures("endless_wait")
@pytest.mark.parametrize(
    "start",
    [
        held(b"<!doctype html><title>Please wait</title>" + JUMP),
        held(JUMP + b"<p>Please wait"),
        held(b"<p>Please wait", JUMP, pause_s=0.05),
        held(b"<form action='%s' method=get><input name=cid value=7></form>" % LANDING.encode()
             + b"<script>document.forms[0].submit()</script>"),
        Reply((HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(JUMP), JUMP),), end="hang"),
        Reply((HEAD + b"Content-Length: 9000\r\n\r\n" + JUMP,), repeat=b" ", pause_s=0.02),
    ],
    ids=["held", "held in its text", "held after pieces", "a form", "chunked", "drips"],
)  # fmt: skip
async def test_a_complete_script_that_jumps_at_once_ends_the_reading_of_a_page_that_does_not_end(start: Reply) -> None:
    result, engine, here = await trace_of(start)
    assert result.end == Landed(LANDING)
    assert [hop.kind for hop in result.hops] in (["script", "final"], ["form", "final"])
    assert [request.open for request in engine.requests] == [True], "the page is run once"
    assert here.proxy.connections == 2, "the connection on which the rest may come is not used again"
    assert sum(hop.bytes_received for hop in result.hops) == result.bytes_received > len(JUMP) + len(HEAD)
    assert result.hops[0].bytes_received > len(HEAD)


@pytest.mark.usefixtures("endless_wait")
async def test_a_later_script_is_run_too_but_a_page_is_run_only_so_often() -> None:
    result, engine, _ = await trace_of(held(STAYS, STAYS + JUMP, pause_s=0.5))
    assert result.end == Landed(LANDING)
    assert 1 <= len(engine.requests) <= 2
    parts = [b"<!-- %d -->" % number for number in range(3)]
    result, engine, _ = await trace_of(held(STAYS, *parts, JUMP, pause_s=0.3))
    assert result.end == Landed(LANDING)
    assert len(engine.requests) <= 2, "without a new script the page is not run again"


async def test_the_number_of_early_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.trace.wire.session.BODY_WAIT_S", 0.3 * (EARLY_RUNS_MAX + 3))
    _, engine, _ = await trace_of(held(*[STAYS] * (EARLY_RUNS_MAX + 4), pause_s=0.3))
    assert len(engine.requests) <= EARLY_RUNS_MAX + 1, "the last run is that of the late page"


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize(
    "body",
    [
        STAYS,
        b"<title>Please wait</title>" + STAYS + b"<p>Please wait.",
        b"<body onload=\"location = '/b'\">",
        b"<script>addEventListener('DOMContentLoaded', () => location = '/b')</script>",
        b"<meta http-equiv=refresh content='0;/b'>" + STAYS,
        b"<form action=/b><script>setTimeout(() => document.forms[0].submit(), 10)</script><input name=a>",
        b"<script>location = '/b'",
        b"<title>Please wait</title>",
        b"",
    ],
    ids=["stays", "text", "onload", "ready", "refresh", "an open form", "an open script", "no script", "nothing"],
)
async def test_what_a_late_page_does_is_not_certain_until_its_rest_has_come(body: bytes) -> None:
    result, _, _ = await trace_of(held(body))
    assert result.end == Landed(START)
    [hop] = result.hops
    assert hop.kind == "script_unresolved"
    assert hop.why in (f"{LATE}0.6 s", "the rest of the page")


@pytest.mark.usefixtures("short_wait")
async def test_a_timer_of_a_late_page_runs() -> None:
    result, engine, _ = await trace_of(
        held(b"<script>setTimeout(() => location = '%s', 500)</script>" % LANDING.encode())
    )
    assert result.end == Landed(LANDING)
    assert engine.requests[-1].open


@pytest.mark.usefixtures("short_wait")
async def test_the_external_script_of_a_late_page_is_fetched() -> None:
    script = Reply((b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(JUMP) - 17) + JUMP[8:-9],))
    pages = {"ads.example/start": held(b"<script src=/go.js></script>"), "b.example/landed?cid=7": LANDED}
    async with net({**pages, "ads.example/go.js": script}) as here:
        result = await traced(here.port)
    assert result.end == Landed(LANDING)


async def test_a_page_that_ends_is_run_once() -> None:
    page = b"<p>Please wait" + JUMP
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(page)
    result, engine, _ = await trace_of(Reply((head, page[:20], page[20:]), pause_s=0.1))
    assert result.end == Landed(LANDING)
    assert [(request.whole, request.open) for request in engine.requests] == [(True, False)]


@pytest.mark.usefixtures("short_wait")
async def test_a_late_page_with_much_text_is_a_landing_page() -> None:
    result, _, _ = await trace_of(held(STAYS + b"<p>" + b"Our offers of this week. " * 40))
    assert [hop.kind for hop in result.hops] == ["final"]
