"""Traces over real sockets: chains through a proxy, the bytes on the wire, and timeouts."""

import contextlib

import pytest
import trio
import trio.testing
from pydantic import SecretStr

from daemon.host.clocks import read_boot_clock
from daemon.providers.settings import Provider
from daemon.trace.walk.steps import HopAnswer, Landed, Walk
from daemon.trace.walk.verdicts import Verdict
from tests.fakes import origins
from tests.fakes.net import START, gave_up, net, traced
from tests.fakes.origins import Reply, page, redirect, reply
from tests.fakes.wire import listening

PAGE_BYTES = 500_000
LOGIN = Provider(username="customer", password=SecretStr("canary"))

FIVE_HOPS: dict[str, Reply | list[Reply]] = {
    "ads.example/start": redirect("http://b.example/two", body=b"moved"),
    "b.example/two": redirect("//c.example/three", ("Set-Cookie", "id=7; Path=/"), status=301),
    "c.example/three": redirect("/four space", status=307),
    "c.example/four%20space": redirect("http://d.example/five?a=1", status=308),
    "d.example/five?a=1": page(),
}


async def test_a_plain_chain_over_four_hosts_uses_one_connection_to_the_proxy() -> None:
    async with net(FIVE_HOPS) as here:
        result = await traced(here.port)
    assert result.end == Landed("http://d.example/five?a=1")
    assert [(hop.status, hop.kind) for hop in result.hops] == [
        (302, "http"), (301, "http"), (307, "http"), (308, "http"), (200, "final")
    ]  # fmt: skip
    assert here.proxy.connections == 1
    assert here.proxy.seen[0].target == START


async def test_the_wire_sends_exactly_the_headers_of_the_walk() -> None:
    async with net({"ads.example/start": page()}) as here:
        await traced(here.port, START + "#secret")
    (head,) = here.plain.requests
    assert head.target == "/start"
    assert [name for name, _ in head.headers] == ["host", "user-agent", "accept", "accept-encoding"]
    assert head.value("user-agent") == "tester/1"


async def test_cookies_are_sent_only_to_their_host() -> None:
    replies: dict[str, Reply | list[Reply]] = {
        "ads.example/start": redirect("http://b.example/", ("Set-Cookie", "id=7; Path=/")),
        "b.example/": redirect("http://ads.example/end"),
        "ads.example/end": page(),
    }
    async with net(replies) as here:
        await traced(here.port)
    assert [head.value("cookie") for head in here.plain.requests] == [None, None, "id=7"]


async def test_a_site_that_sets_a_cookie_and_redirects_to_itself_is_followed() -> None:
    itself: list[Reply] = [redirect(START, ("Set-Cookie", "seen=1")), page()]
    async with net({"ads.example/start": itself}) as here:
        result = await traced(here.port)
    assert result.end == Landed(START)


async def test_https_hops_are_tunnelled_verified_and_kept_open_per_host() -> None:
    secure: dict[str, Reply | list[Reply]] = {
        "secure.example/": redirect("/two"),
        "secure.example/two": redirect("https://s1.example/"),
        "s1.example/": redirect("https://secure.example/three"),
        "secure.example/three": page(),
    }
    async with net({}, secure) as here:
        result = await traced(here.port, "https://secure.example/")
    assert result.end == Landed("https://secure.example/three")
    assert [(head.method, head.target) for head in here.proxy.seen] == [
        ("CONNECT", "secure.example:443"), ("CONNECT", "s1.example:443")
    ]  # fmt: skip
    assert [name for name, _ in here.proxy.seen[0].headers] == ["host"]


async def test_a_trace_holds_at_most_four_connections() -> None:
    secure: dict[str, Reply | list[Reply]] = {
        f"s{n}.example/": redirect(f"https://s{n + 1}.example/") for n in range(1, 5)
    }
    secure["s5.example/"] = redirect("https://s1.example/end")
    secure["s1.example/end"] = page()
    async with net({}, secure) as here:
        result = await traced(here.port, "https://s1.example/")
    assert isinstance(result.end, Landed)
    # s1's tunnel was closed for the fifth host's, so its last hop needs a new one.
    assert [head.target.partition(".")[0] for head in here.proxy.seen] == ["s1", "s2", "s3", "s4", "s5", "s1"]


async def test_credentials_go_to_the_proxy_and_never_to_an_origin() -> None:
    plain: dict[str, Reply | list[Reply]] = {"ads.example/start": redirect("https://secure.example/")}
    async with net(plain, {"secure.example/": page()}, credentials=("customer", "canary")) as here:
        result = await traced(here.port, provider=LOGIN)
    assert isinstance(result.end, Landed)
    assert all(head.value("proxy-authorization") for head in here.proxy.seen)
    for head in (*here.plain.requests, *here.secure.requests):
        assert head.value("proxy-authorization") is None


@pytest.mark.parametrize("url", [START, "https://secure.example/"])
async def test_wrong_credentials_are_the_providers_fault_and_are_not_in_the_message(url: str) -> None:
    async with net({}, credentials=("customer", "right")) as here:
        end = gave_up(await traced(here.port, url, provider=LOGIN))
    assert (end.verdict, end.reason) == (Verdict.CREDENTIALS, "proxy_credentials")
    assert "canary" not in end.message
    assert "customer" not in end.message


async def test_a_proxy_that_closes_after_each_answer_is_dialled_again() -> None:
    async with net(FIVE_HOPS, closes_after_answer=True) as here:
        result = await traced(here.port)
    assert isinstance(result.end, Landed)
    assert here.proxy.connections == 5


async def test_an_idle_connection_that_breaks_during_a_request_is_replaced_once() -> None:
    """The proxy closes the connection after the second request and before its response, as after an idle timeout."""
    served = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal served
        served += 1
        await stream.receive_some(65_536)
        await stream.send_all(redirect("/next").parts[0] if served == 1 else page().parts[0])
        await stream.receive_some(65_536)

    async with listening(serve) as port:
        result = await traced(port)
    assert result.end == Landed("http://ads.example/next")
    assert served == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (origins.BODY_THAT_NEVER_COMES, "http://ads.example/after"),
        (origins.ENDLESS_REDIRECT_BODY, "http://ads.example/after"),
        (redirect("/after", body=b"x" * 200_000), "http://ads.example/after"),
    ],
    ids=["never comes", "endless", "large"],
)
async def test_a_redirects_body_does_not_delay_the_next_hop(first: Reply, second: str) -> None:
    async with net({"ads.example/start": first, "ads.example/after": page()}) as here:
        result = await traced(here.port)
    assert result.end == Landed(second)
    assert result.bytes_received < 60_000


@pytest.mark.parametrize(
    "landing",
    [
        page(b"x" * PAGE_BYTES),
        reply(200, ("Content-Encoding", "gzip"), body=b"\x1f\x8b" + b"\0" * PAGE_BYTES),
        origins.ENDLESS_BODY,
    ],
    ids=["large page", "gzip bomb", "endless"],
)
async def test_a_landing_page_is_not_read(landing: Reply) -> None:
    async with net({"ads.example/start": landing}, {"secure.example/": landing}) as here:
        plain = await traced(here.port)
        secure = await traced(here.port, "https://secure.example/")
    assert isinstance(plain.end, Landed)
    assert isinstance(secure.end, Landed)
    assert plain.bytes_received < 60_000
    assert secure.bytes_received < 60_000


async def test_a_trace_ends_at_its_timeout_and_records_the_hop_under_way() -> None:
    async with net({"ads.example/start": redirect("/slow"), "ads.example/slow": origins.SILENT}) as here:
        result = await traced(here.port, timeout_s=0.3)
    assert (gave_up(result).verdict, gave_up(result).reason) == (Verdict.LIMIT, "trace_timeout")
    assert [hop.kind for hop in result.hops] == ["http", "failed"]


async def test_a_cancelled_trace_leaves_no_connection_behind() -> None:
    gone = trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65_536)
        entered.set()
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some(65_536)
        gone.set()

    entered = trio.Event()
    async with listening(serve) as port:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traced, port)
            await entered.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await gone.wait()


async def test_bytes_are_those_that_the_proxy_counts() -> None:
    """Small pages, so that no bytes are in flight when the connections are closed."""
    secure: dict[str, Reply | list[Reply]] = {"secure.example/": redirect("http://ads.example/start")}
    async with net(FIVE_HOPS, secure) as here:
        result = await traced(here.port, "https://secure.example/")
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert isinstance(result.end, Landed)
    assert (result.bytes_received, result.bytes_sent) == (here.proxy.bytes_out, here.proxy.bytes_in)
    assert sum(hop.bytes_received for hop in result.hops) == result.bytes_received
    assert sum(hop.bytes_sent for hop in result.hops) == result.bytes_sent


@pytest.mark.parametrize("hops", [1, 2])
async def test_no_hop_begins_after_the_lease_though_its_timer_has_not_fired(
    monkeypatch: pytest.MonkeyPatch, hops: int
) -> None:
    """The process or the machine was suspended: trio handles the answer that arrived meanwhile before the timeout."""
    replies: dict[str, Reply | list[Reply]] = {
        "ads.example/start": redirect("http://b.example/two"),
        "b.example/two": redirect("http://c.example/three"),
        "c.example/three": page(),
    }
    answered = Walk.answered

    def sleep_through_the_lease(walk: Walk, answer: HopAnswer) -> object:
        if len(walk.hops) + 1 == hops:
            monkeypatch.setattr("daemon.trace.wire.session.read_boot_clock", lambda: read_boot_clock() + 3_600)
        return answered(walk, answer)

    monkeypatch.setattr(Walk, "answered", sleep_through_the_lease)
    async with net(replies) as here:
        result = await traced(here.port)
    assert gave_up(result).verdict is Verdict.LIMIT
    assert gave_up(result).reason == "trace_timeout"
    assert len(here.plain.requests) == hops


async def test_without_time_left_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async with net({"ads.example/start": page()}) as here:
        result = await traced(here.port, timeout_s=0.0)
    assert gave_up(result).reason == "trace_timeout"
    assert here.proxy.connections == 0
