"""A click that arrives again, on a virtual clock: one trace, one hit that is not marked, the same answer."""

from collections import Counter
from uuid import UUID

import pytest
import structlog
import trio
import trio.testing

from daemon.click import repeats
from daemon.click.clicks import Answer
from daemon.click.repeats import CLICK_ID_CHARACTERS_MAX, Repeats, click_id_of, repeat_key
from daemon.click.routes import click_handler
from daemon.click.visitor import Visitor, is_preview_robot
from daemon.http.http1 import Request
from daemon.journal.entries import Hit, TracePending
from daemon.trace.jobs import Finished, TraceJob
from daemon.web.query import params_of
from tests.actors.clicking import FALLBACK, VISITOR, Face, ends_without, lands_at, served_by, starts_only
from tests.fakes.entries import of_kind

LANDED = "https://shop.example/?gclid=7"
OFFER = UUID(int=1)
OTHER = Visitor("192.0.2.8", "Browser/2", None, None)


def kinds(face: Face) -> Counter[str]:
    return Counter(hit.kind for hit in of_kind(Hit, face.journal.entries))


def traces(face: Face) -> int:
    return len(of_kind(TracePending, face.journal.entries))


async def test_a_repeat_waits_for_the_first_answer_and_later_ones_get_it_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = Face(click={"repeat_s": 30})
    answers: list[tuple[float, Answer]] = []

    async def click(after_s: float) -> None:
        await trio.sleep(after_s)
        answers.append((after_s, await face.click(b"offer=Sale&x=%s&gclid=7" % str(after_s).encode(), OTHER)))

    async with served_by(face, lands_at("https://shop.example/", after_s=2)), trio.open_nursery() as visitors:
        for after_s in (0, 0.5, 1, 10):
            visitors.start_soon(click, after_s)
    locations = {answer.location for _, answer in answers}
    assert locations == {"https://shop.example/?x=0&gclid=7"}
    assert trio.current_time() == 10
    assert (kinds(face), traces(face)) == ({"click": 1, "repeat": 3}, 1)
    hits = of_kind(Hit, face.journal.entries)
    assert {(hit.outcome, hit.reason) for hit in hits} == {("resolved", None)}
    assert len({hit.request_id for hit in hits}) == 4
    assert face.clicks.tally.last_minute(10).clicks == face.clicks.answered == 1
    assert face.clicks.waiting == 0


async def test_after_repeat_s_the_same_click_is_a_new_one(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"repeat_s": 5})
    async with served_by(face, lands_at("https://shop.example/")):
        for _ in range(3):
            await face.click()
            await trio.sleep(3)
    assert (kinds(face), traces(face)) == ({"click": 2, "repeat": 1}, 2)
    off = Face(click={"repeat_s": 0})
    async with served_by(off, lands_at("https://shop.example/")):
        await off.click()
        await off.click()
    assert kinds(off) == {"click": 2}


async def test_a_repeat_of_a_fallback_gets_the_fallback(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"repeat_s": 30})

    async def fails(job: TraceJob) -> None:
        await ends_without(job, "trace_failed")

    async with served_by(face, fails):
        answers = [await face.click() for _ in range(2)]
    assert [answer.location for answer in answers] == [FALLBACK] * 2
    assert [(hit.kind, hit.reason) for hit in of_kind(Hit, face.journal.entries)] == [
        ("click", "trace_failed"),
        ("repeat", "trace_failed"),
    ]


@pytest.mark.parametrize("again_after_s", [0, 0.5, 3], ids=["at once", "while it is traced", "after the trace"])
async def test_a_visitor_who_leaves_and_comes_again_gets_the_trace_that_runs(
    again_after_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    """A double click: the browser drops its first request."""
    face = Face(click={"repeat_s": 30})
    async with served_by(face, lands_at("https://shop.example/", after_s=2)):
        with trio.move_on_after(1):
            await face.click()
        await trio.sleep(again_after_s)
        answer = await face.click()
        again = await face.click()
    assert (answer.location, again.location) == (LANDED, LANDED)
    assert trio.current_time() == max(2, 1 + again_after_s)
    assert (kinds(face), traces(face)) == ({"click": 1, "repeat": 1}, 1)
    [pending] = of_kind(TracePending, face.journal.entries)
    assert pending.request_id == answer.request_id, "the hit belongs to the trace"


async def test_of_several_that_wait_one_goes_on_when_the_first_visitor_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = Face(click={"repeat_s": 30})
    locations = []

    async def again() -> None:
        locations.append((await face.click()).location)

    async with served_by(face, lands_at("https://shop.example/", after_s=2)), trio.open_nursery() as visitors:
        with trio.move_on_after(1):
            visitors.start_soon(again)
            await trio.testing.wait_all_tasks_blocked()
            visitors.start_soon(again)
            visitors.start_soon(again)
            await trio.sleep_forever()
    assert locations == [LANDED] * 3
    assert (kinds(face), traces(face)) == ({"click": 1, "repeat": 2}, 1)


async def test_a_repeat_of_a_visitor_who_left_keeps_its_own_deadline(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"repeat_s": 30})
    async with served_by(face, starts_only):
        with trio.move_on_after(1):
            await face.click()
        await trio.sleep(4)
        answer = await face.click()
    assert (answer.location, face.hit.reason) == (FALLBACK, "deadline")
    assert trio.current_time() == pytest.approx(15, abs=0.1)


def key(query: str, visitor: Visitor = VISITOR, ids: frozenset[str] = frozenset()) -> bytes | None:
    return repeat_key(OFFER, ids, params_of(query), visitor)


def test_a_click_id_identifies_a_click_whoever_sends_it() -> None:
    for name in ("gclid", "wbraid", "gbraid", "msclkid", "fbclid", "ttclid", "GCLID"):
        assert key(f"{name}=Abc&x=1") == key(f"y=2&{name}=Abc", OTHER) != key(f"{name}=abc"), name
    assert key("gclid=1&fbclid=2") == key("fbclid=2&gclid=1", OTHER) != key("gclid=1")
    own = frozenset({"clickid"})
    assert key("ClickId=1&gclid=2", ids=own) == key("gclid=3&ClickId=1", OTHER, own) != key("ClickId=2", ids=own)
    assert repeat_key(UUID(int=2), (), params_of("gclid=1"), VISITOR) != key("gclid=1"), "per offer"


MACROS = ("{gclid}", "%7Bgclid%7D", "%5Bgclid%5D", "$gclid", "__CLICKID__", "%25clickid%25", "%23id%23", "*%7Cid%7C*")
NO_VALUES = ("", "+", "null", "undefined", "None", "NaN", "(not+set)", "-", "gclid", "GCLID")


@pytest.mark.parametrize("value", [*MACROS, *NO_VALUES])
def test_a_value_that_all_visitors_send_identifies_no_click(value: str) -> None:
    assert key(f"gclid={value}") == key(f"gclid={value}") != key(f"gclid={value}", OTHER)
    assert click_id_of((), params_of(f"gclid={value}&fbclid=f")) == "f"


@pytest.mark.parametrize("value", ["0", "test", "%25abc", "abc~", "_abc_", "nullable", "a:b", "(abc"])
def test_a_click_id_may_have_characters_of_macros(value: str) -> None:
    assert key(f"gclid={value}") == key(f"gclid={value}", OTHER)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("x=1&gclid=Abc_-%7e", "Abc_-~"),
        ("gbraid=many-visitors&GCLID=one", "one"),
        ("gclid=%7Bgclid%7D&fbclid=f", "f"),
        ("gclid=&gclid=second&gclid=third", "second"),
        ("gclid=a%00b", "a\ufffdb"),
        ("x=1", None),
        (f"gclid={'z' * 8_000}", "z" * CLICK_ID_CHARACTERS_MAX),
    ],
)
def test_the_hit_has_the_click_id_that_names_one_click(query: str, found: str | None) -> None:
    assert click_id_of((), params_of(query)) == found


def test_an_offers_own_click_ids_come_instead() -> None:
    own = frozenset({"clickid", "subid"})
    assert click_id_of(own, params_of("gclid=1&ClickId=2&subid=3")) == "2"
    assert click_id_of(own, params_of("gclid=1")) is None


def test_without_a_click_id_the_visitor_and_the_parameters_identify_it() -> None:
    assert key("x=1&y=2") == key("x=1&y=2") != key("x=1")
    assert key("x=1") != key("x=1", OTHER)
    assert key("x=1") != key("x=1", Visitor(VISITOR.address, "Browser/9", None, None)), "behind one address"
    assert key("x=1", Visitor(None, "Browser/1", None, None)) is None


def test_memory_is_bounded_by_clicks_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "KEPT_MAX", 3)
    monkeypatch.setattr(repeats, "LOCATIONS_BYTES_MAX", 100)
    kept: Repeats[str] = Repeats()
    firsts = [kept.begin(bytes([number]), "click", 0.0, 30.0) for number in range(5)]
    assert [kept.first(bytes([number]), 1.0) is not None for number in range(5)] == [False, False, True, True, True]
    for first in firsts:
        kept.answered(first, "x" * 60, None)
    assert [kept.first(bytes([number]), 1.0) is not None for number in range(5)] == [False, False, False, False, True]
    kept.begin(b"later", "click", 31.0, 30.0)
    assert len(kept) == 1, "what is too old is forgotten"


@pytest.mark.parametrize(
    ("user_agent", "is_robot"),
    [
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", True),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0", True),
        ("WhatsApp/2.23.20.0 A", True),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", True),
        ("TelegramBot (like TwitterBot)", True),
        ("Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)", True),
        ("Mozilla/5.0 (compatible; Example Link Preview; https://help.example/preview)", True),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 [FBAN/FBIOS;FBAV/440.0]", False),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0 Mobile [Pinterest/Android]", False),
        ("", False),
        (None, False),
    ],
)  # fmt: skip
def test_link_preview_robots_say_so(user_agent: str | None, is_robot: bool) -> None:
    assert is_preview_robot(user_agent) == is_robot


async def test_a_thousand_requests_of_a_hundred_clicks_use_a_hundred_leases(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = Face(queue_max=1_000, click={"repeat_s": 30})
    handle = click_handler(face.live.current, lambda: face.clicks)
    ways: list[tuple[str, int, list[tuple[bytes, bytes]]]] = [
        *[("GET", 302, [])] * 4,
        *[("POST", 302, [])] * 2,
        ("HEAD", 302, []),
        ("GET", 503, [(b"sec-purpose", b"prefetch;prerender")]),
        ("GET", 503, [(b"purpose", b"prefetch")]),
        ("GET", 302, [(b"user-agent", b"Twitterbot/1.0")]),
    ]

    async def lands(job: TraceJob) -> None:
        await trio.sleep(2)
        job.listener.send_nowait(Finished("https://shop.example/", None))

    async def send(number: int, method: str, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        query = b"offer=sale&gclid=g%d" % number
        assert (await handle(Request(method, "/track-hit", query, headers, peer="192.0.2.7"))).status == status

    with structlog.testing.capture_logs():
        async with served_by(face, lands):
            for at, (method, status, headers) in enumerate(ways):
                async with trio.open_nursery() as visitors:
                    for number in range(100):
                        visitors.start_soon(send, number, method, status, headers)
                    await trio.sleep(0.5 if at % 2 else 0)
    assert traces(face) == 100
    assert kinds(face) == {"click": 100, "repeat": 500, "preview": 200}
