"""The rules that clicks, direct traces and batch traces share: country, User-Agent, waiting_max, deadline."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.control.problems import ProblemRaised
from daemon.control.resources.direct_traces import DirectTraces, ParallelRequest
from daemon.countries import canonical
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import TraceFinished, TracePending
from daemon.pool.messages import Counts, Elsewhere
from daemon.pool.states import Ip
from daemon.settings.model import HONEST_USER_AGENT
from daemon.trace.batch import Batch
from daemon.trace.batch_queue import ALONE
from daemon.trace.dispatch import JobRequest, TraceHandle
from daemon.trace.jobs import Finished, TraceJob, TraceUpdate
from daemon.trace.leases import ANSWER_LATE_S
from daemon.trace.walk.steps import Identity
from daemon.troubles import Troubles
from tests.actors.clicking import FALLBACK, TRACKING, Face, hears_only, lands_at, now, served_by, starts_only
from tests.fakes.entries import of_kind

IPS = [Ip(uuid4(), f"198.51.100.{number}", "7000", "us", "luna") for number in range(1, 10)]
BROWSER = Identity("Browser/1", "de-DE", "https://search.example/")


class Rows:
    """A database with a batch trace for each of `countries`, no other trace, and IPs of `ip_countries`."""

    def __init__(self, *countries: str, ip_countries: tuple[str, ...] = ()) -> None:
        self._rows = {uuid4(): country for country in countries}
        self._ip_countries = ip_countries

    async def fetch(self, name: str, *args: Any) -> list[dict[str, Any]]:
        if name == "ips_of_country":
            count = sum(canonical(country) in args[0] for country in self._ip_countries)
            return [{"total": count, "healthy": count}]
        if name == "batch_countries":
            countries = dict.fromkeys(self._rows.values())
            return [{"target_country": country, "priority": 2, "ahead": False} for country in countries]
        if name != "next_batch_traces":
            return []
        country, _, under_way, *_, most = args
        found = [which for which, its in self._rows.items() if its == country and which not in under_way]
        row = {"tracking_url": TRACKING, "priority": 2, "offer_id": None, "identity": None}
        return [{"request_id": which, **row} for which in found[:most]]

    async def work(self, *unit: Any) -> None:
        await trio.lowlevel.checkpoint()

    def listen(self, channel: str) -> Any:
        raise DatabaseUnavailable


async def direct(face: Face, *, traces: DirectTraces | None = None, **given: Any) -> Finished:
    request = ParallelRequest(**{"request_id": uuid4(), "offer_id": "none", "tracking_url": TRACKING, **given})
    overview: Any = SimpleNamespace(now=now, clicks=face.clicks, dispatcher=face.dispatcher)
    return await (traces or DirectTraces()).trace(request, overview, cast(Any, Rows()), face.live.current)


def batch_of(face: Face, rows: Rows, elsewhere: Callable[[str], Elsewhere], *, may_lease: bool) -> Batch:
    async def flush() -> None:
        await trio.lowlevel.checkpoint()

    return Batch(
        cast(Any, rows),
        face.dispatcher,
        face.journal,
        flush,
        face.live,
        now,
        Troubles(),
        uuid4(),
        elsewhere,
        lambda: may_lease,
    )


async def jobs_of(
    face: Face, rows: Rows, elsewhere: Callable[[str], Elsewhere] = lambda country: ALONE, *, may_lease: bool = True
) -> list[TraceJob]:
    """The jobs that the batch lane queues in its first second."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batch_of(face, rows, elsewhere, may_lease=may_lease).run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return [face.jobs.receive_nowait() for _ in range(face.jobs.statistics().current_buffer_used)]


@pytest.mark.parametrize("default", ["", " "])
async def test_an_empty_default_country_names_no_pool(default: str, autojump_clock: MockClock) -> None:
    face = Face(trace={"default_country": default})
    face.directory.open(" ", [Ip(uuid4(), "198.51.100.9", "7000", " ", "luna")])
    face.offer(target_country="fr")
    await face.click()
    assert face.hit.reason == "no_pool"
    assert await direct(face, target_country="fr") == Finished(None, "no_pool")
    assert await jobs_of(face, Rows("fr")) == []
    assert {row.reason for row in of_kind(TraceFinished, face.journal.entries)} == {"no_pool"}


async def test_the_default_country_serves_clicks_direct_traces_and_the_batch_lane(autojump_clock: MockClock) -> None:
    face = Face(trace={"default_country": " USA "}, pool={"batch_below_percent": 100})
    face.directory.open("us", IPS)
    face.offer(target_country="fr")
    [job] = await jobs_of(face, Rows("fr"))
    assert (job.country, job.priority) == ("us", 2)
    async with served_by(face, lands_at("https://shop.example/")):
        await face.click()
        assert (await direct(face, target_country="fr")).final_url == "https://shop.example/"
    assert face.hit.outcome == "resolved"
    assert {row.target_country for row in of_kind(TracePending, face.journal.entries)} == {"us"}


async def test_the_batch_lane_leaves_the_traces_of_a_country_to_the_nodes_that_have_it(
    autojump_clock: MockClock,
) -> None:
    def elsewhere(country: str) -> Elsewhere:
        return Elsewhere(Counts(9, 9, 0, 0, 0, 0)) if country == "uk" else ALONE

    for default in ("", "us"):
        face = Face(trace={"default_country": default}, pool={"batch_below_percent": 100})
        face.directory.open("us", IPS)
        jobs = await jobs_of(face, Rows("GB", "us"), elsewhere)
        assert [job.country for job in jobs] == ["us"]
        assert face.journal.entries == []


async def test_a_node_that_may_not_lease_claims_no_batch_trace(autojump_clock: MockClock) -> None:
    face = Face(pool={"batch_below_percent": 100})
    face.directory.open("us", IPS)
    assert await jobs_of(face, Rows("us", "fr"), may_lease=False) == []
    assert face.journal.entries == []


async def test_the_batch_lane_refuses_no_trace_of_a_country_whose_ips_are_in_the_table(
    autojump_clock: MockClock,
) -> None:
    face = Face()
    assert await jobs_of(face, Rows("fr", "de", ip_countries=(" FR ", "fr"))) == []
    assert len(of_kind(TraceFinished, face.journal.entries)) == 1


async def test_clicks_and_direct_traces_share_one_bound_of_waiting_requesters(autojump_clock: MockClock) -> None:
    face = Face(click={"waiting_max": 2})
    async with trio.open_nursery() as nursery, served_by(face, starts_only):
        nursery.start_soon(face.click)
        nursery.start_soon(lambda: direct(face))
        await wait_all_tasks_blocked()
        assert face.dispatcher.waiting == 2
        assert await direct(face) == Finished(None, "overload")
        assert (await face.click()).location == FALLBACK
        assert (face.hit.reason, trio.current_time()) == ("overload", 0)
        nursery.cancel_scope.cancel()
    assert face.dispatcher.waiting == 0, "a requester that leaves is no longer counted"


async def test_a_direct_trace_waits_for_an_ip_no_longer_than_a_click(autojump_clock: MockClock) -> None:
    face = Face(click={"deadline_s": 10}, trace={"timeout_s": 75})
    assert await direct(face) == Finished(None, "overload"), "no worker took it"
    assert trio.current_time() == pytest.approx(10 + ANSWER_LATE_S)
    face.jobs.receive_nowait()
    async with served_by(face, hears_only):
        assert await direct(face) == Finished(None, "no_ip")
    assert trio.current_time() == pytest.approx(2 * (10 + ANSWER_LATE_S))
    async with served_by(face, lands_at("https://shop.example/", after_s=60)):
        assert (await direct(face)).final_url == "https://shop.example/", "once it has an IP, its end is waited for"


async def test_of_two_direct_traces_with_one_id_that_come_at_once_one_is_refused(autojump_clock: MockClock) -> None:
    face, traces, request_id = Face(), DirectTraces(), uuid4()
    ends: list[str] = []

    async def one() -> None:
        try:
            await direct(face, traces=traces, request_id=request_id)
            ends.append("traced")
        except ProblemRaised:
            ends.append("refused")

    async with served_by(face, lands_at("https://shop.example/")), trio.open_nursery() as both:
        both.start_soon(one)
        both.start_soon(one)
    assert sorted(ends) == ["refused", "traced"]
    assert len(of_kind(TracePending, face.journal.entries)) == 1


@pytest.mark.parametrize(
    ("configured", "of_offer", "visitor", "expected"),
    [
        (HONEST_USER_AGENT, "default", BROWSER, Identity(HONEST_USER_AGENT)),
        ("Mozilla/5.0", "default", BROWSER, Identity("Mozilla/5.0")),
        ("visitor", "default", BROWSER, BROWSER),
        ("Mozilla/5.0", "visitor", BROWSER, BROWSER),
        ("Mozilla/5.0", "visitor", Identity("", "fr"), Identity("Mozilla/5.0", "fr")),
        ("visitor", "visitor", Identity(""), Identity(HONEST_USER_AGENT)),
        ("visitor", "visitor", None, Identity(HONEST_USER_AGENT, None, "https://from.example/")),
        ("Mozilla/5.0", "visitor", None, Identity("Mozilla/5.0", None, "https://from.example/")),
    ],
)
async def test_the_offer_or_the_setting_decides_whose_user_agent_a_trace_sends(
    configured: str, of_offer: str, visitor: Identity | None, expected: Identity, autojump_clock: MockClock
) -> None:
    face = Face(trace={"user_agent": configured})
    face.offer(user_agent=of_offer)
    referrer = None if visitor else "https://from.example/"
    offer = face.offers.find("sale")
    request = JobRequest(uuid4(), TRACKING, "us", now(), offer=offer, visitor=visitor, referrer=referrer)
    assert isinstance(face.dispatcher.dispatch(request), TraceHandle)
    assert face.jobs.receive_nowait().identity == expected


async def test_a_batch_trace_sends_the_daemons_own_user_agent(autojump_clock: MockClock) -> None:
    face = Face(trace={"user_agent": "visitor"}, pool={"batch_below_percent": 100})
    face.directory.open("us", IPS)
    [job] = await jobs_of(face, Rows("us"))
    assert job.identity == Identity(HONEST_USER_AGENT)
    assert not of_kind(TracePending, face.journal.entries), "it has a row already"


async def test_a_full_queue_leaves_a_batch_trace_to_its_row(autojump_clock: MockClock) -> None:
    face = Face(queue_max=0)
    post = face.dispatcher.pool_of("us")
    assert post is not None
    heard: list[TraceUpdate] = []

    class Listener:
        def send_nowait(self, value: TraceUpdate, /) -> None:
            heard.append(value)

    assert not face.dispatcher.dispatch_batch(JobRequest(uuid4(), TRACKING, "us", now()), post, Listener(), 1)
    assert (heard, face.journal.entries, face.dispatcher.waiting) == ([], [], 0)


async def test_a_background_clicks_trace_may_be_tried_again_for_longer_than_a_visitor_waits(
    autojump_clock: MockClock,
) -> None:
    face = Face(click={"deadline_s": 10}, trace={"timeout_s": 75})
    pool = face.dispatcher.pool_of("us")
    assert pool is not None
    for priority, deadline_s in ((1, 75), (2, 10)):
        request = JobRequest(uuid4(), TRACKING, "us", now())
        assert face.dispatcher.dispatch_batch(request, pool, TraceHandle(face.dispatcher, 0), priority)
        assert face.jobs.receive_nowait().deadline_s == deadline_s


async def test_a_click_after_the_workers_have_stopped_is_overload_and_no_error(autojump_clock: MockClock) -> None:
    face = Face()
    face.jobs.close()
    assert (await face.click()).location == FALLBACK
    assert (face.hit.reason, trio.current_time()) == ("overload", 0)


async def test_a_click_past_its_deadline_has_the_reason_deadline_for_any_pool(autojump_clock: MockClock) -> None:
    face = Face(click={"deadline_s": 10})
    await trio.sleep(100)
    face.directory.open("us", [Ip(uuid4(), "198.51.100.1", "7000", "us", "luna", is_healthy=False)])
    await face.click(waited_s=12)
    assert (face.hit.reason, trio.current_time()) == ("deadline", 100)
