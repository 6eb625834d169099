"""A click from its query to its answer, on a virtual clock, with a fake trace worker."""

from typing import Any

import pytest
import structlog
import trio
import trio.testing

from daemon.click.clicks import ANSWER_BY_S, HIT_DELAY_MAX_S
from daemon.click.visitor import Visitor
from daemon.journal.entries import Hit, TracePending
from daemon.settings.model import HONEST_USER_AGENT, Settings
from daemon.trace.jobs import Finished, TraceJob
from tests.actors.clicking import (
    FALLBACK,
    TRACKING,
    VISITOR,
    WALL_S,
    Face,
    Worker,
    ends_without,
    hears_only,
    lands_at,
    served_by,
    starts_only,
)
from tests.fakes.entries import of_kind
from tests.support.logged_errors import LoggedErrors


async def test_a_click_is_answered_as_soon_as_its_trace_ends(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    async with served_by(face, lands_at("https://shop.example/item?x=1#top", after_s=2.25)):
        answer = await face.click()
    assert trio.current_time() == 2.25
    assert (answer.status, answer.location) == (302, "https://shop.example/item?x=1&gclid=7#top")
    assert (face.hit.outcome, face.hit.reason, face.hit.wait_ms) == ("resolved", None, 2250)
    assert (face.hit.request_id, face.hit.location) == (answer.request_id, answer.location)
    assert (face.hit.visitor_address, face.hit.user_agent, face.hit.referrer) == (
        "192.0.2.7",
        "Browser/1",
        "https://search.example/",
    )
    assert face.hit.answered_at == WALL_S + 2.25
    [pending] = of_kind(TracePending, face.journal.entries)
    assert (pending.request_id, pending.tracking_url, pending.target_country) == (answer.request_id, TRACKING, "us")
    assert (pending.inbound_params, pending.started_at) == ({"gclid": "7"}, WALL_S)
    assert pending.timeout_at == WALL_S + 10 + 75
    assert (face.clicks.waiting, face.clicks.answered, face.clicks.late_hits) == (0, 1, 0)


@pytest.mark.parametrize(
    ("worker", "reason"), [(starts_only, "deadline"), (hears_only, "no_ip")], ids=["deadline", "no_ip"]
)
async def test_the_reason_of_a_fallback_at_the_deadline_names_the_reached_stage(
    worker: Worker, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    face = Face()
    async with served_by(face, worker):
        answer = await face.click()
    assert answer.location == FALLBACK
    assert (face.hit.outcome, face.hit.reason) == ("fallback", reason)
    assert trio.current_time() == pytest.approx(10 - ANSWER_BY_S)


async def test_a_click_that_no_worker_took_by_the_deadline_is_overload(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    answer = await face.click()
    assert (answer.location, face.hit.reason) == (FALLBACK, "overload")
    assert trio.current_time() == pytest.approx(10 - ANSWER_BY_S)


@pytest.mark.parametrize("reason", ["trace_failed", "no_ip"])
async def test_a_trace_that_failed_is_answered_at_once(reason: str, autojump_clock: trio.testing.MockClock) -> None:
    face = Face()

    async def worker(job: TraceJob) -> None:
        await ends_without(job, reason)

    async with served_by(face, worker):
        answer = await face.click()
    assert (answer.location, face.hit.reason, trio.current_time()) == (FALLBACK, reason, 0.5)


async def test_a_full_queue_is_overload_at_once(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(queue_max=0)
    answer = await face.click()
    assert (answer.location, face.hit.reason, trio.current_time()) == (FALLBACK, "overload", 0)
    assert not of_kind(TracePending, face.journal.entries), "there is no trace"


async def test_past_waiting_max_a_click_is_answered_at_once(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"waiting_max": 2})
    async with trio.open_nursery() as nursery, served_by(face, starts_only):
        for _ in range(2):
            nursery.start_soon(face.click)
        await trio.testing.wait_all_tasks_blocked()
        assert face.clicks.waiting == 2
        answer = await face.click()
        assert (answer.location, trio.current_time()) == (FALLBACK, 0)
        assert face.hit.reason == "overload"
        nursery.cancel_scope.cancel()


async def test_a_country_without_a_pool_is_no_pool_at_once(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.offer(target_country="fr")
    await face.click()
    assert (face.hit.reason, trio.current_time()) == ("no_pool", 0)


async def test_the_default_country_serves_where_there_is_no_pool(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(trace={"default_country": " USA "})
    face.offer(target_country="fr")
    async with served_by(face, lands_at("https://shop.example/")):
        await face.click()
    assert face.hit.outcome == "resolved"
    [pending] = of_kind(TracePending, face.journal.entries)
    assert pending.target_country == "us"


@pytest.mark.parametrize("country", ["US", " usa", "us"])
async def test_a_country_is_compared_case_blind_with_its_aliases(
    country: str, autojump_clock: trio.testing.MockClock
) -> None:
    face = Face()
    face.offer(target_country=country)
    async with served_by(face, lands_at("https://shop.example/")):
        await face.click()
    assert face.hit.outcome == "resolved"


async def test_an_offer_has_its_own_deadline(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"deadline_s": 30})
    face.offer(deadline_s=2.5)
    jobs: list[TraceJob] = []

    async def worker(job: TraceJob) -> None:
        jobs.append(job)
        await starts_only(job)

    async with served_by(face, worker):
        await face.click()
    assert trio.current_time() == pytest.approx(2.5 - ANSWER_BY_S)
    assert jobs[0].deadline_s == pytest.approx(2.5 - ANSWER_BY_S)
    assert face.hit.reason == "deadline"


async def test_a_late_hit_does_not_hold_back_the_redirect(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.journal.delay_s = 3
    async with served_by(face, lands_at("https://shop.example/", after_s=1)):
        answer = await face.click()
    assert answer.location == "https://shop.example/?gclid=7"
    assert trio.current_time() == pytest.approx(1 + HIT_DELAY_MAX_S)
    assert face.clicks.late_hits == 1


async def test_a_hit_that_the_disk_refuses_is_counted_as_late(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.journal.refuses = True
    async with served_by(face, lands_at("https://shop.example/", after_s=1)):
        answer = await face.click()
    assert answer.location == "https://shop.example/?gclid=7"
    assert face.clicks.late_hits == 1


async def test_time_waited_in_the_kernel_counts_against_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"deadline_s": 10})
    await trio.sleep(100)
    async with served_by(face, starts_only):
        await face.click(waited_s=7)
    assert trio.current_time() == pytest.approx(103, abs=ANSWER_BY_S)
    assert face.hit.reason == "deadline"
    assert face.hit.wait_ms == pytest.approx(10_000, abs=1000 * ANSWER_BY_S)


async def test_a_visitor_who_waited_too_long_already_is_answered_at_once_without_a_trace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = Face(click={"deadline_s": 10})
    await trio.sleep(100)
    await face.click(waited_s=12)
    assert trio.current_time() == 100
    assert face.hit.reason == "deadline"
    assert face.jobs.statistics().current_buffer_used == 0


async def test_even_with_a_late_hit_the_answer_keeps_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.journal.delay_s = 3
    async with served_by(face, starts_only):
        await face.click()
    assert trio.current_time() == pytest.approx(10)


async def test_a_failing_disk_delays_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.journal.refuses = True
    async with served_by(face, lands_at("https://shop.example/")):
        assert (await face.click()).location == "https://shop.example/?gclid=7"
    assert trio.current_time() == 1


async def test_a_visitor_who_disconnects_is_not_counted_as_answered(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    heard: list[BaseException] = []

    async def worker(job: TraceJob) -> None:
        await trio.sleep(5)
        try:
            job.listener.send_nowait(Finished("https://shop.example/", None))
        except trio.BrokenResourceError as e:
            heard.append(e)

    with structlog.testing.capture_logs() as logs:
        async with served_by(face, worker):
            with trio.move_on_after(2):
                await face.click()
            await trio.sleep(10)
    assert len(heard) == 1
    assert (face.clicks.waiting, face.clicks.answered) == (0, 0)
    assert not of_kind(Hit, face.journal.entries)
    assert [(line["outcome"], line["wait_ms"]) for line in logs if line["event"] == "click"] == [("left", 2000.0)]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "market://details?id=x", "https://", "//shop.example/", "data:,x"]
)
async def test_a_landing_url_that_no_browser_should_get_is_a_failed_trace(
    url: str, autojump_clock: trio.testing.MockClock
) -> None:
    face = Face()
    async with served_by(face, lands_at(url)):
        answer = await face.click()
    assert (answer.location, face.hit.reason) == (FALLBACK, "trace_failed")


async def test_an_offer_may_allow_other_schemes_but_none_that_runs(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.offer(landing_schemes=["market", "javascript"])
    async with served_by(face, lands_at("market://details?id=x")):
        assert (await face.click()).location == "market://details?id=x&gclid=7"
    async with served_by(face, lands_at("javascript:alert(1)")):
        assert (await face.click()).location == FALLBACK


async def test_the_visitors_user_agent_is_in_the_job(autojump_clock: trio.testing.MockClock) -> None:
    async def identity_of(face: Face, visitor: Visitor = VISITOR) -> tuple[str, str | None]:
        jobs: list[TraceJob] = []

        async def worker(job: TraceJob) -> None:
            jobs.append(job)
            await ends_without(job, "trace_failed")

        async with served_by(face, worker):
            await face.click(visitor=visitor)
        return jobs[0].identity.user_agent, jobs[0].identity.accept_language

    assert await identity_of(Face()) == (HONEST_USER_AGENT, None)
    assert await identity_of(Face(trace={"user_agent": "Mozilla/5.0"})) == ("Mozilla/5.0", None)
    by_setting = Face(trace={"user_agent": "visitor"})
    assert await identity_of(by_setting) == ("Browser/1", "de-DE")
    assert await identity_of(by_setting, Visitor(None, None, None, None)) == (HONEST_USER_AGENT, None)
    by_offer = Face(trace={"user_agent": "Mozilla/5.0"})
    by_offer.offer(user_agent="visitor")
    assert await identity_of(by_offer) == ("Browser/1", "de-DE")
    assert await identity_of(by_offer, Visitor(None, None, "fr", None)) == ("Mozilla/5.0", "fr")


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        (b"", 400, "offer parameter is required"),
        (b"offer=", 400, "offer parameter is required"),
        (b"gclid=1", 400, "offer parameter is required"),
        (b"offer=sale&offer=sold", 400, "offer parameter must name one offer"),
        (b"offer=winter", 404, "Offer not found or inactive"),
        (b"offer=" + b"x" * 10_240, 404, "Offer not found or inactive"),
    ],
)
async def test_an_invalid_query_is_refused(query: bytes, status: int, error: str) -> None:
    face = Face()
    with structlog.testing.capture_logs() as logs:
        answer = await face.click(query)
    assert (answer.status, answer.error, answer.location) == (status, error, None)
    assert not face.journal.entries
    assert face.clicks.answered == 0
    [line] = logs
    assert len(line.get("offer", "")) <= 100, "a long name is logged cut short"


async def test_an_exception_still_answers_the_click(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, autojump_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("click_fault", "hit_lost")
    face = Face()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(face.journal, "record", broken)
    answer = await face.click()
    assert (answer.status, answer.location, trio.current_time()) == (302, FALLBACK, 0)
    assert [error["event"] for error in expected_errors.seen] == ["click_fault", "hit_lost"]


async def test_each_click_has_one_log_line_and_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    with structlog.testing.capture_logs() as logs:
        async with served_by(face, lands_at("https://shop.example/", after_s=0.5)):
            await face.click()
        await face.click(b"offer=sale")
    lines = [line for line in logs if line["event"] == "click"]
    assert [(line["outcome"], line["reason"]) for line in lines] == [("resolved", None), ("fallback", "overload")]
    minute = face.clicks.tally.last_minute(trio.current_time())
    assert (minute.clicks, minute.resolved, minute.fallbacks) == (2, 1, {"overload": 1})


async def test_new_settings_apply_to_the_next_click(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.live.replace(Settings(click={"deadline_s": 3}))
    async with served_by(face, starts_only):
        await face.click()
    assert trio.current_time() == pytest.approx(3 - ANSWER_BY_S)


async def test_a_landing_gets_the_parameters_that_the_offer_passes_on_and_a_fallback_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = Face()
    face.offer(param_filter='{"keep": ["gclid"]}', rename='{"gclid": "sub1", "x": "y"}')
    query = b"offer=sale&gclid=a+b&x=1&z=2"
    async with served_by(face, lands_at("https://shop.example/?x=0")):
        assert (await face.click(query)).location == "https://shop.example/?x=0&sub1=a+b"
    async with served_by(face, starts_only):
        assert (await face.click(query)).location == f"{TRACKING}&sub1=a+b&y=1&z=2"
    for pending in of_kind(TracePending, face.journal.entries):
        assert pending.inbound_params == {"gclid": "a b", "x": "1", "z": "2"}, "the row has what came"


async def test_macros_are_expanded_for_trace_and_fallback(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    face.offer(final_url="https://ads.example/{x}/go?g={gclid}&r={request_id}&n={none}")
    jobs: list[TraceJob] = []

    async def worker(job: TraceJob) -> None:
        jobs.append(job)
        await ends_without(job, "trace_failed")

    async with served_by(face, worker):
        answer = await face.click(b"offer=sale&gclid=a+b&x=../y")
    expanded = f"https://ads.example/..%2Fy/go?g=a%20b&r={answer.request_id}&n="
    assert answer.location == f"{expanded}&gclid=a+b&x=../y"
    [pending] = of_kind(TracePending, face.journal.entries)
    assert (jobs[0].tracking_url, pending.tracking_url) == (expanded, expanded)


async def test_tracking_urls_share_the_clicks_and_each_falls_back_to_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drawn = iter((0.1, 0.74, 0.76))
    face = Face(draw=lambda: next(drawn))
    face.offer(
        tracking_urls='[{"url": "https://a.example/{gclid}", "weight": 3}, {"url": "https://b.example/", "weight": 1}]'
    )
    async with served_by(face, starts_only):
        locations = [(await face.click()).location for _ in range(3)]
    assert locations == ["https://a.example/7?gclid=7"] * 2 + ["https://b.example/?gclid=7"]
    traced = [pending.tracking_url for pending in of_kind(TracePending, face.journal.entries)]
    assert traced == ["https://a.example/7"] * 2 + ["https://b.example/"]


async def test_a_job_has_the_offers_stop_at_and_backend(autojump_clock: trio.testing.MockClock) -> None:
    face = Face()
    jobs: list[TraceJob] = []

    async def worker(job: TraceJob) -> None:
        jobs.append(job)
        await ends_without(job, "trace_failed")

    async with served_by(face, worker):
        await face.click()
        face.offer(stop_at=["shop.example"], trace_backend="service")
        await face.click()
    assert [(job.stop_at, job.backend) for job in jobs] == [
        (frozenset(), None),
        (frozenset({"shop.example"}), "service"),
    ]
