"""The external scripts of a page over real sockets: through the same IP, in the time of the page's hop."""

from collections.abc import Callable

import pytest
import trio

from daemon.trace.engine.records import PageOutcome, PageRequest
from daemon.trace.walk.steps import Landed
from tests.fakes.chains import LANDED, LANDING, says
from tests.fakes.net import START, fetcher, gave_up, net, traced
from tests.fakes.origins import Reply, redirect, reply

GO = reply(200, ("Content-Type", "text/javascript"), ("Set-Cookie", "by=script"), body=b"go()")
Pages = dict[str, Reply | list[Reply]]


class Played:
    """An engine that needs `needed`, and then goes to LANDING if `goes_on` says so of its scripts."""

    def __init__(self, *needed: str, goes_on: Callable[[PageRequest], bool] = lambda request: True) -> None:
        self.needed = needed
        self.goes_on = goes_on
        self.requests: list[PageRequest] = []

    async def run(self, request: PageRequest) -> PageOutcome:
        self.requests.append(request)
        if request.fetches_left and not all(url in request.scripts for url in self.needed):
            return PageOutcome("needs", needs=self.needed)
        if not self.goes_on(request):
            return PageOutcome("unresolved", why="an unknown script")
        return PageOutcome("goes", "script", LANDING)


def pages(**more: Reply | list[Reply]) -> Pages:
    start = {"ads.example/start": says("<script src=/go.js></script>"), "b.example/landed?cid=7": LANDED}
    return {**start, **{f"ads.example/{name}.js": answer for name, answer in more.items()}}


async def test_a_script_is_fetched_through_the_proxy_and_its_bytes_are_those_of_the_hop() -> None:
    engine = Played("http://ads.example/go.js")
    async with net(pages(go=redirect("http://c.example/go.js")) | {"c.example/go.js": GO}) as here:
        result = await traced(here.port, by=fetcher(engine=engine))
    assert result.end == Landed(LANDING)
    assert [head.target for head in here.proxy.seen] == [
        START, "http://ads.example/go.js", "http://c.example/go.js", LANDING,
    ]  # fmt: skip
    assert here.proxy.connections == 1, "the script uses the page's connection"
    assert [hop.kind for hop in result.hops] == ["script", "final"]
    assert sum(hop.bytes_received for hop in result.hops) == result.bytes_received
    assert sum(hop.bytes_sent for hop in result.hops) == result.bytes_sent
    asked = here.plain.requests[1]
    assert (asked.value("accept"), asked.value("referer")) == ("*/*", START)
    assert dict(engine.requests[-1].scripts) == {"http://ads.example/go.js": "go()"}
    assert engine.requests[0].now_ms > 1_700_000_000_000


@pytest.mark.parametrize(
    "answer",
    [
        Reply(end="close"),
        Reply(end="reset"),
        Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"go("), end="close"),
        Reply((b"\x00\xffSSH-2.0\r\n\r\n" * 3,), end="close"),
    ],
    ids=["closes", "resets", "breaks off", "is not HTTP"],
)
async def test_a_script_that_does_not_come_is_unknown_and_the_trace_goes_on(answer: Reply) -> None:
    engine = Played("http://ads.example/go.js", goes_on=lambda request: bool(request.scripts))
    async with net(pages(go=answer)) as here:
        result = await traced(here.port, by=fetcher(engine=engine))
    assert result.end == Landed(START)
    [hop] = result.hops
    assert (hop.kind, hop.tier, hop.why) == ("script_unresolved", "engine", "an unknown script")


async def test_scripts_that_hang_take_a_bounded_part_of_the_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.trace.wire.session.SCRIPTS_WAIT_S", 0.3)
    engine = Played(*(f"http://ads.example/{name}.js" for name in "abc"))
    hangs = Reply(end="hang")
    async with net(pages(a=hangs, b=hangs, c=hangs)) as here:
        with trio.fail_after(4):
            result = await traced(here.port, by=fetcher(engine=engine))
    assert result.end == Landed(LANDING)
    assert dict(engine.requests[-1].scripts) == {}


async def test_a_trace_that_ends_during_a_script_sends_nothing_more() -> None:
    engine = Played("http://ads.example/go.js")
    async with net(pages(go=Reply(end="hang"))) as here:
        result = await traced(here.port, by=fetcher(engine=engine), timeout_s=0.5)
    assert gave_up(result).reason == "trace_timeout"
    assert [hop.kind for hop in result.hops] == ["failed"]
    assert len(here.proxy.seen) == 2


async def test_a_page_without_an_engine_is_unresolved_and_says_so() -> None:
    without = fetcher()
    without.engine = None
    async with net(pages()) as here:
        result = await traced(here.port, by=without)
    assert result.end == Landed(START)
    assert (result.hops[0].kind, result.hops[0].why) == ("script_unresolved", "no JavaScript engine runs")
