"""A click of an offer with the mode background, on a virtual clock: answered at once, and queued to be traced."""

from typing import Any

import pytest
import trio
import trio.testing

from daemon.click.routes import click_handler
from daemon.http.http1 import Request, Response
from daemon.journal.entries import Hit, TracePending, TraceQueued
from tests.actors.clicking import FALLBACK, WALL_S, Face
from tests.fakes.entries import of_kind


async def ask(face: Face, method: str = "GET", query: bytes = b"offer=sale&gclid=7") -> Response:
    handle = click_handler(face.live.current, lambda: face.clicks)
    headers = [(b"user-agent", b"Browser/1"), (b"accept-language", b"de-DE")]
    return await handle(Request(method, "/track-hit", query, headers, peer="192.0.2.7"))


def background(**settings: Any) -> Face:
    face = Face(**settings)
    face.offer(mode="background", target_country="USA")
    return face


async def test_the_answer_comes_at_once_and_the_trace_is_queued_with_the_hit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = background()
    got, posted = await ask(face), await ask(face, "POST")
    assert trio.current_time() == 0
    assert (got.status, dict(got.headers)[b"location"]) == (302, FALLBACK.encode())
    assert (posted.status, posted.body, b"location" in dict(posted.headers)) == (204, b"", False)
    assert dict(posted.headers)[b"x-request-id"]
    queued = of_kind(TraceQueued, face.journal.entries)
    hits = of_kind(Hit, face.journal.entries)
    assert [entry.request_id for entry in queued] == [hit.request_id for hit in hits]
    assert {(hit.outcome, hit.reason, hit.kind, hit.location) for hit in hits} == {
        ("background", None, "click", FALLBACK)
    }
    first = queued[0]
    assert (first.tracking_url, first.target_country, first.inbound_params) == (
        "https://ads.example/go?c=1",
        "us",
        {"gclid": "7"},
    )
    assert (first.priority, first.queued_at, first.timeout_at, first.identity) == (1, WALL_S, WALL_S + 3_600, None)
    assert not of_kind(TracePending, face.journal.entries), "no worker and no IP is asked for"
    assert face.jobs.statistics().current_buffer_used == 0


async def test_it_is_counted_apart_from_clicks_that_wait(autojump_clock: trio.testing.MockClock) -> None:
    face = background()
    seen = []
    face.clicks.observe = lambda *figures: seen.append(figures)
    await ask(face)
    minute = face.clicks.tally.last_minute(0)
    assert (minute.background, minute.clicks, minute.resolved, minute.fallbacks) == (1, 0, 0, {})
    assert (minute.wait_p50_ms, minute.wait_p95_ms) == (None, None)
    assert seen == [("background", None, 0.0)]
    assert face.clicks.tally.figures(0).background == 1
    assert face.clicks.tally.last_minute(61).background == 0


async def test_a_repeat_gets_the_same_answer_and_queues_nothing(autojump_clock: trio.testing.MockClock) -> None:
    face = background(click={"repeat_s": 30})
    assert [(await ask(face, method)).status for method in ("POST", "GET", "POST")] == [204, 302, 204]
    assert len(of_kind(TraceQueued, face.journal.entries)) == 1
    hits = of_kind(Hit, face.journal.entries)
    assert [(hit.kind, hit.outcome) for hit in hits] == [
        ("click", "background"),
        ("repeat", "background"),
        ("repeat", "background"),
    ]


async def test_a_preview_and_a_prefetch_queue_nothing(autojump_clock: trio.testing.MockClock) -> None:
    face = background()
    assert (await ask(face, "HEAD")).status == 302
    assert [(hit.kind, hit.outcome, hit.reason) for hit in of_kind(Hit, face.journal.entries)] == [
        ("preview", "fallback", "preview")
    ]
    assert not of_kind(TraceQueued, face.journal.entries)


@pytest.mark.parametrize("by", ["offer", "setting"])
async def test_a_trace_that_sends_the_visitors_browser_keeps_what_it_sends(
    by: str, autojump_clock: trio.testing.MockClock
) -> None:
    face = Face(trace={"user_agent": "visitor"} if by == "setting" else {})
    face.offer(mode="background", user_agent="visitor" if by == "offer" else "default")
    await ask(face)
    [queued] = of_kind(TraceQueued, face.journal.entries)
    assert queued.identity == {"user_agent": "Browser/1", "accept_language": "de-DE", "referrer": None}


async def test_while_the_daemon_starts_or_its_disk_fails_the_click_is_queued_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = background()
    face.clicks._dispatcher = None
    assert (await ask(face, "POST")).status == 204
    assert len(of_kind(TraceQueued, face.journal.entries)) == 1
    face.journal.refuses = True
    assert (await ask(face, "POST")).status == 204
    assert len(of_kind(TraceQueued, face.journal.dropped)) == 1
