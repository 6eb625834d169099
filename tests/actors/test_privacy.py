"""What privacy.* says is all that hits, log lines and queued traces have of visitors; the click uses the rest."""

from typing import Any

import pytest
import structlog
import trio.testing

from daemon.click.visitor import Visitor
from daemon.journal.entries import Hit, TraceQueued
from daemon.trace.jobs import TraceJob
from tests.actors.clicking import Face, Worker, lands_at, served_by
from tests.fakes.entries import of_kind

ANNA = Visitor("203.0.113.77", "Annas Browser/7.1.2 (Android 14; Pixel)", "de-DE", "https://news.example/anna")
NEIGHBOUR = Visitor("203.0.113.78", ANNA.user_agent, ANNA.accept_language, ANNA.referrer)
WHOLE = ("203.0.113.77", "7.1.2", "/anna")
KEPT: dict[str, dict[str, str | None]] = {
    "truncated": {"address": "203.0.113.0/24", "user_agent": "Android/14", "referrer": "https://news.example/"},
    "none": {"address": None, "user_agent": None, "referrer": None},
}


def keeping(how: str, **settings: Any) -> Face:
    return Face(
        privacy={"visitor_address": how, "user_agent": how, "referrer": how}, click={"repeat_s": 30}, **settings
    )


def remembered(jobs: list[TraceJob], worker: Worker) -> Worker:
    async def work(job: TraceJob) -> None:
        jobs.append(job)
        await worker(job)

    return work


@pytest.mark.parametrize("how", KEPT)
async def test_hits_and_log_lines_have_what_is_kept_and_the_click_uses_the_whole_values(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    face, jobs = keeping(how, trace={"user_agent": "visitor"}), list[TraceJob]()
    with structlog.testing.capture_logs() as lines:
        async with served_by(face, remembered(jobs, lands_at("https://shop.example/"))):
            for visitor in (ANNA, ANNA, NEIGHBOUR):
                await face.click(b"offer=sale&x=1", visitor)
        await face.clicks.preview(b"offer=sale", ANNA)
    hits = of_kind(Hit, face.journal.entries)
    assert [hit.kind for hit in hits] == ["click", "repeat", "click", "preview"], "told apart by their whole addresses"
    for hit in hits:
        assert {"address": hit.visitor_address, "user_agent": hit.user_agent, "referrer": hit.referrer} == KEPT[how]
    assert {line["visitor"] for line in lines if line["event"] in ("click", "repeat", "preview")} == {
        KEPT[how]["address"]
    }
    assert not [word for word in WHOLE if word in str(lines) + str(face.journal.entries)]
    for job in jobs:
        identity = job.identity
        assert (identity.user_agent, identity.referrer) == (ANNA.user_agent, ANNA.referrer), "the trace sends them"


@pytest.mark.parametrize("how", KEPT)
async def test_a_trace_that_waits_in_the_table_keeps_no_browser(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    face = keeping(how)
    face.offer(mode="background", user_agent="visitor")
    await face.click(visitor=ANNA)
    [queued] = of_kind(TraceQueued, face.journal.entries)
    assert queued.identity == {"user_agent": "", "accept_language": None, "referrer": None}


async def test_each_value_has_its_own_setting_which_a_reload_changes(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(privacy={"referrer": "none"})
    async with served_by(face, lands_at("https://shop.example/")):
        await face.click(visitor=ANNA)
        privacy = face.live.current.privacy.model_copy(update={"visitor_address": "none", "referrer": "full"})
        face.live.replace(face.live.current.model_copy(update={"privacy": privacy}))
        await face.click(visitor=ANNA)
    before, after = of_kind(Hit, face.journal.entries)
    assert (before.visitor_address, before.user_agent, before.referrer) == (ANNA.address, ANNA.user_agent, None)
    assert (after.visitor_address, after.user_agent, after.referrer) == (None, ANNA.user_agent, ANNA.referrer)
