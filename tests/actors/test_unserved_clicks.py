"""Clicks that no offer serves: they go to a fallback URL where one is set, and to the offer that takes them over."""

import random
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
import trio.testing

from daemon.click.routes import click_handler
from daemon.http.http1 import Request, Response
from daemon.journal.entries import Hit
from daemon.offers.reading import Complaint
from daemon.settings.model import Settings
from daemon.trace.jobs import Finished, TraceJob
from tests.actors.clicking import TRACKING, Face, lands_at, served_by
from tests.fakes.entries import of_kind
from tests.support.links import PATHS, query_of

ANYWHERE = "https://shop.example/{offer}?from=ads&g={gclid}"
FUZZED = 4_000


def offers(face: Face, **rows: dict[str, Any]) -> list[Complaint]:
    common = {"final_url": TRACKING, "target_country": "us"}
    return face.offers.replace([{**common, "id": uuid4(), "offer_name": name, **row} for name, row in rows.items()])


@pytest.mark.parametrize(
    ("query", "reason", "name", "location"),
    [
        (b"offer=wintre&gclid=7", "unknown_offer", "wintre", "https://shop.example/wintre?from=ads&g=7&gclid=7"),
        (b"gclid=7", "unknown_offer", "", "https://shop.example/?from=ads&g=7&gclid=7"),
        (b"offer=&gclid=7", "unknown_offer", "", "https://shop.example/?from=ads&g=7&gclid=7"),
        (b"offer=a&offer=b", "unknown_offer", "a", "https://shop.example/a?from=ads&g="),
        (b"offer=PAUSED.&from=me", "paused", "paused", "https://shop.example/paused?from=me&g="),
        (b"offer=broken&x=a+b", "bad_offer", "broken", "https://shop.example/broken?from=ads&g=&x=a+b"),
        (b"offer=own&gclid=7", "paused", "own", "https://own.example/7?sub1=7"),
    ],
)
async def test_such_a_click_is_redirected_and_its_hit_has_the_reason(
    query: bytes, reason: str, name: str, location: str
) -> None:
    face = Face(click={"fallback_url": ANYWHERE})
    own = {"is_active": False, "fallback_url": "https://own.example/{gclid}", "rename": '{"gclid": "sub1"}'}
    offers(face, paused={"is_active": False}, broken={"final_url": "nowhere"}, own=own)
    answer = await face.click(query)
    assert (answer.status, answer.location) == (302, location)
    hit = face.hit
    assert (hit.outcome, hit.reason, hit.offer_name, hit.location) == ("fallback", reason, name, location)
    assert (hit.offer_id is None) == (reason == "unknown_offer")
    assert face.clicks.tally.last_minute(0).fallbacks == {reason: 1}
    assert face.clicks.answered == 1


async def test_without_a_fallback_url_the_answers_are_404_and_400() -> None:
    face = Face()
    offers(face, paused={"is_active": False}, broken={"final_url": "nowhere"})
    found = [(await face.click(b"offer=" + name)).status for name in (b"paused", b"broken", b"wintre", b"")]
    assert found == [404, 404, 404, 400]
    assert not face.journal.entries


async def test_a_reload_sets_and_clears_the_fallback_url() -> None:
    face = Face()
    for url, status in (("https://shop.example/", 302), ("", 404), ("https://other.example/{offer}", 302)):
        face.live.replace(Settings(click={"fallback_url": url}))
        assert (await face.click(b"offer=wintre")).status == status


@pytest.mark.parametrize("query", [b"offer=wintre&gclid=7", b"offer=wintre", b"gclid=7", b"", b"offer=paused&x=1"])
async def test_the_same_click_again_is_a_repeat(query: bytes) -> None:
    face = Face(click={"fallback_url": "https://shop.example/{request_id}", "repeat_s": 30})
    offers(face, paused={"is_active": False})
    first, again = await face.click(query), await face.click(query)
    assert again.location == first.location
    assert [hit.kind for hit in of_kind(Hit, face.journal.entries)] == ["click", "repeat"]
    await face.click(query.replace(b"offer", b"Offer") + b"&gclid=8")
    await face.click(query.replace(b"wintre", b"winter") + b"&offer=w")
    assert [hit.kind for hit in of_kind(Hit, face.journal.entries)][2:] == ["click", "click"]
    assert face.clicks.answered == 3
    assert face.clicks.waiting == 0


async def test_the_same_click_is_traced_once_its_offer_serves_it(autojump_clock: trio.testing.MockClock) -> None:
    face = Face(click={"fallback_url": "https://shop.example/", "repeat_s": 30})
    async with served_by(face, lands_at("https://shop.example/landing", after_s=1)):
        for row in ({"is_active": False}, {}):
            offers(face, sale={"id": UUID(int=1), **row})
            location = (await face.click(b"offer=sale&gclid=7")).location
    assert location == "https://shop.example/landing?gclid=7"


async def test_the_counted_name_is_one_that_postgresql_can_hold() -> None:
    face = Face(click={"fallback_url": "https://shop.example/"})
    for query in (b"offer=%00", b"offer=a%00%ED%A0%80", b"offer=b&offer=%00"):
        await face.click(query)
    fallen = face.clicks.tally.figures(0).fallen
    assert {one.offer for one in fallen} == {"\ufffd", "a\ufffd\ufffd\ufffd\ufffd", "b"}


async def test_a_very_long_name_and_too_many_parameters_are_redirected_too() -> None:
    face = Face(click={"fallback_url": "https://shop.example/"})
    assert (await face.click(b"offer=" + b"x" * 9_000)).location == "https://shop.example/"
    assert len(face.hit.offer_name) == 255
    assert (await face.click(b"offer=sale" + b"&a=1" * 1_000)).status == 302


async def test_a_paused_offers_clicks_are_traced_for_the_offer_that_takes_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    face = Face()
    chain = {"summer": {"is_active": False, "paused_to": "autumn"}, "autumn": {"is_active": False, "paused_to": "sale"}}
    assert offers(face, **chain, sale={}) == []
    async with served_by(face, lands_at("https://shop.example/")):
        assert (await face.click(b"offer=Summer&gclid=7")).location == "https://shop.example/?gclid=7"
    assert (face.hit.offer_name, face.hit.outcome) == ("sale", "resolved")


@pytest.mark.parametrize("taker", ["summer", "autumn", "nobody", "broken", 7])
async def test_a_handover_that_leads_nowhere_is_named_and_counts_as_not_set(taker: object) -> None:
    face = Face(click={"fallback_url": "https://shop.example/"})
    summer = {"is_active": False, "paused_to": taker}
    autumn = {"is_active": False, "paused_to": "summer"}
    complaints = offers(face, summer=summer, autumn=autumn, broken={"final_url": "x", "paused_to": "summer"})
    assert any("'summer'" in complaint.sentence and "paused_to" in complaint.sentence for complaint in complaints)
    await face.click(b"offer=summer")
    assert face.hit.reason == "paused"


async def test_a_paused_offer_does_not_hide_an_active_one_of_another_case() -> None:
    face = Face(click={"fallback_url": "https://shop.example/"})
    offers(face, Sale={"is_active": False}, sale={})
    assert face.offers.find("SALE") is face.offers.find("sale") is not None
    assert face.offers.find("Sale") is None
    offers(face, Sale={"is_active": False}, sale={"is_active": False})
    await face.click(b"offer=SALE")
    assert face.hit.reason == "unknown_offer", "it may mean two offers"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/trackhit?x=1", 302),
        ("/trak-hit", 302),
        ("/Track_Hit/", 302),
        ("/functions/v2/track-hit", 302),
        ("/go?GCLID=7", 302),
        ("/?fbclid=7", 302),
        ("/c/summer?offer=wintre", 302),
        ("/", 404),
        ("/favicon.ico", 404),
        ("/static/track?x=1", 404),
        ("/" + "t" * 9_000, 404),
    ],
)
async def test_a_misspelt_path_is_a_click_where_there_is_a_fallback_url(target: str, status: int) -> None:
    path, _, query = target.partition("?")
    face = Face(click={"fallback_url": ANYWHERE})
    request = Request("GET", path, query.encode(), [])
    with_url = click_handler(face.live.current, lambda: face.clicks, falls_back=lambda: True)
    without = click_handler(face.live.current, lambda: face.clicks)
    assert ((await with_url(request)).status, (await without(request)).status) == (status, 404)


async def test_every_link_that_an_advertiser_may_write_ends_in_a_redirect() -> None:
    """Random variations of real links, through the routes. A prefetch is refused; the request after it is not."""
    draw = random.Random(1)
    face = Face(queue_max=100, click={"fallback_url": ANYWHERE})
    rows: dict[str, dict[str, Any]] = {"summer-sale": {}, "paused": {"is_active": False}, "Été 2": {}}
    offers(face, **rows, broken={"final_url": "x"})
    handle = click_handler(face.live.current, lambda: face.clicks)

    async def lands(job: TraceJob) -> None:
        job.listener.send_nowait(Finished("https://shop.example/landing", None))

    async def sent(method: str, path: str, query: bytes, *headers: tuple[bytes, bytes]) -> Response:
        response = await handle(Request(method, path, query, list(headers), peer=f"192.0.2.{draw.randrange(256)}"))
        face.journal.entries.clear()
        return response

    with structlog.testing.capture_logs():
        async with served_by(face, lands):
            for _ in range(FUZZED):
                method, path, query = draw.choice(("GET", "GET", "POST", "HEAD")), draw.choice(PATHS), query_of(draw)
                if draw.random() < 0.1:
                    prefetch = (b"sec-purpose", draw.choice((b"prefetch", b"prefetch;prerender")))
                    assert (await sent(method, path, query, prefetch)).status in (
                        (302,) if method == "HEAD" else (503,)
                    )
                response = await sent(method, path, query)
                assert response.status == 302, (method, path, query)
                location = dict(response.headers)[b"location"]
                assert location.startswith((b"https://shop.example/", b"https://ads.example/")), location
    assert not of_kind(Hit, face.journal.entries)
