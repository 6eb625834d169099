"""The dashboard's page, assets, event stream and API requests, over real sockets."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from logging import INFO
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import h11
import pytest
import trio

from daemon.control.events import WATCHERS_MAX
from daemon.control.metrics import Metrics
from daemon.control.observers import Observers
from daemon.control.overview import Overview
from daemon.control.resources.pages import DASHBOARD
from daemon.host.clocks import read_clocks
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from tests.fakes.ips import a_request, at
from tests.fakes.journal import MemoryJournal
from tests.fakes.overviews import fake_overview
from tests.fakes.pools import PlayedPools
from tests.integration.control_faces import FixedOverview, Served, control_face, row_of
from tests.support.waiting import until

PATIENCE_S = 10.0


def new_observers() -> Observers:
    return Observers(Metrics(LiveSettings(Settings())), read_clocks)


def watching(observers: Observers) -> int:
    return len(observers.events._watchers)


class Stream:
    """An event stream on a connection of its own, read message by message."""

    def __init__(self, connection: trio.SocketStream) -> None:
        self._connection = connection
        self._http = h11.Connection(h11.CLIENT)
        self._text = b""
        self.content_type = ""

    async def ask(self, headers: Sequence[tuple[str, str]]) -> None:
        request = h11.Request(method="GET", target="/api/events", headers=[("Host", "localhost"), *headers])
        await self._connection.send_all(self._http.send(request) + self._http.send(h11.EndOfMessage()))

    async def next(self, kind: str) -> Any:
        """The body of the next message of this kind. Raises EOFError at the stream's end."""
        with trio.fail_after(PATIENCE_S):
            while True:
                while b"\n\n" in self._text:
                    message, _, self._text = self._text.partition(b"\n\n")
                    fields = dict(line.split(": ", 1) for line in message.decode().splitlines())
                    if fields.get("event") == kind:
                        return json.loads(fields["data"])
                self._text += await self._more()

    async def end(self) -> None:
        with trio.fail_after(PATIENCE_S), suppress(EOFError):
            while True:
                await self._more()

    async def _more(self) -> bytes:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._connection.receive_some())
            elif isinstance(event, h11.Response):
                assert event.status_code == 200
                self.content_type = dict(event.headers)[b"content-type"].decode()
            elif isinstance(event, h11.Data):
                return bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage), "the stream ends like a complete answer"
                raise EOFError


@asynccontextmanager
async def stream(served: Served, *headers: tuple[str, str]) -> AsyncIterator[Stream]:
    async with await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2])) as connection:
        found = Stream(connection)
        await found.ask(headers)
        yield found


async def test_the_stream_has_the_status_each_second_and_events_as_they_happen() -> None:
    observers = new_observers()
    observers.events.take(INFO, {"event": "ready", "level": "info", "ts": "t"})
    async with control_face(observers=observers) as served, stream(served) as events:
        assert (await events.next("event"))["event"] == "ready"
        assert events.content_type.startswith("text/event-stream")
        status = await events.next("status")
        assert status["last_minute"]["clicks"] == 2
        assert status["in_flight"] == []
        began_s = trio.current_time()
        await events.next("status")
        assert trio.current_time() - began_s > 0.3
        observers.events.take(INFO, {"event": "click", "level": "info", "ts": "t", "offer": "sale"})
        assert (await events.next("click"))["offer"] == "sale"
        assert watching(observers) == 1


async def test_the_stream_continues_after_the_last_event_id() -> None:
    observers = new_observers()
    for number in range(5):
        observers.events.take(INFO, {"event": "audit", "level": "info", "ts": "t", "number": number})
    async with control_face(observers=observers) as served, stream(served, ("Last-Event-ID", "3")) as events:
        assert (await events.next("event"))["facts"]["number"] == 3


async def test_a_watcher_that_leaves_is_removed_and_their_number_is_bounded() -> None:
    observers = new_observers()
    async with control_face(observers=observers) as served:
        async with stream(served) as events:
            await events.next("status")
        await until(lambda: not watching(observers))
        with ExitStack() as others:
            for _ in range(WATCHERS_MAX):
                others.enter_context(observers.events.watched())
            refused = await served.ask("/api/events")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/busy")


async def test_a_stop_ends_the_stream() -> None:
    stopping = trio.Event()
    async with control_face(stopping=stopping) as served, stream(served) as events:
        await events.next("status")
        stopping.set()
        await events.end()


async def test_a_client_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.control.service.HEAD_S", 0.5)
    observers = new_observers()
    large = {"event": "audit", "level": "info", "ts": "t", "text": "x" * 200_000}
    async with control_face(observers=observers) as served:
        client = await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2]))
        async with client:
            await client.send_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: watching(observers))
            for _ in range(100):  # more than the kernel buffers
                observers.events.take(INFO, large)
            await until(lambda: not watching(observers))


@pytest.mark.slow
async def test_a_stream_may_last_longer_than_an_answer_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.control.service.ANSWER_S", 0.3)
    monkeypatch.setattr("daemon.control.service.TRACE_MARGIN_S", 0.3 - Settings().trace.timeout_s)
    async with control_face() as served, stream(served) as events:
        for _ in range(3):
            await events.next("status")


@pytest.mark.parametrize("file", sorted(file.name for file in (DASHBOARD / "static" / "js").iterdir()))
async def test_each_script_is_served_without_a_token_and_with_its_type(file: str) -> None:
    async with control_face(rows=[row_of("right")]) as served:
        answer = await served.ask(f"/static/js/{file}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.text == (DASHBOARD / "static" / "js" / file).read_text()


@pytest.mark.parametrize(
    "path", ["/static/", "/static/none.js", "/static/../templates/parts.html", "/static/%2e%2e/templates/parts.html"]
)
async def test_only_assets_are_served(path: str) -> None:
    async with control_face() as served:
        assert (await served.ask(path)).status_code == 404


async def test_without_tokens_the_page_has_the_first_figures() -> None:
    observers = new_observers()
    observers.events.take(INFO, {"event": "ips_adopted", "level": "info", "ts": "2030-01-01T12:34:56Z", "text": "<b>&"})
    overview = FixedOverview()
    fake = fake_overview()
    overview.directory, overview.report = list(fake.directory), fake.report
    async with control_face(observers=observers, overview=cast(Overview, overview)) as served:
        answer = await served.ask("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "1 of 2 clicks fell back." in answer.text
    assert 'aria-label="us: 2 available, 1 locked, 0 in cooldown, 0 failed"' in answer.text
    assert "&lt;b&gt;&amp;" in answer.text
    for forbidden in (" style=", "<style", " onclick", "javascript:", "http://", "https://"):
        assert forbidden not in answer.text


async def test_once_tokens_exist_the_page_has_no_figures_and_asks_for_a_token() -> None:
    async with control_face(rows=[row_of("right")]) as served:
        page = await served.ask("/")
        assert page.status_code == 200
        assert 'id="login"' in page.text
        assert "clicks fell back" not in page.text
        assert str(FixedOverview().constant["node_id"]) not in page.text
        assert (await served.ask("/", token="wrong")).status_code == 200
        for path in ("/api/events", "/api/history", "/api/pools/us/cells", "/api/traces/in-flight", "/api/traffic"):
            assert (await served.ask(path)).status_code == 401, path


async def test_a_stream_ends_once_its_token_is_revoked() -> None:
    authorization = ("Authorization", "Bearer right")
    async with control_face(rows=[row_of("right")]) as served, stream(served, authorization) as events:
        await events.next("status")
        served.face.tokens.replace([row_of("right", revoked=True)])
        await events.end()


async def test_an_unknown_host_gets_no_page_and_no_asset() -> None:
    async with control_face() as served:
        for path in ("/", "/static/base.css"):
            assert (await served.ask(path, headers={"Host": "evil.example"})).status_code == 421


async def test_while_the_daemon_starts_the_page_shows_it() -> None:
    async with control_face(ready=False) as served:
        answer = await served.ask("/")
    assert answer.status_code == 200
    assert "starting" in answer.text


async def test_cells_have_a_letter_for_each_ip_and_names_only_if_they_changed() -> None:
    pools = PlayedPools()
    overview = fake_overview(pools=pools)
    async with trio.open_nursery() as nursery, control_face(overview=overview) as served:
        nursery.start_soon(pools.actor(MemoryJournal(), lambda: at(1.0)).run, [])
        first = (await served.ask("/api/pools/US/cells")).json()
        assert (first["country"], first["total"], first["states"]) == ("us", 3, "laf")
        assert [set(ip) for ip in first["ips"]] == [{"id", "name"}] * 3
        again = (await served.ask(f"/api/pools/us/cells?known={first['revision']}")).json()
        assert (again["states"], again["ips"]) == ("laf", None)
        rest = (await served.ask("/api/pools/us/cells?start=2")).json()
        assert (rest["states"], len(rest["ips"])) == ("f", 1)
        assert (await served.ask("/api/pools/jp/cells")).status_code == 404
        assert (await served.ask("/api/pools/us/cells?start=-1")).status_code == 400
        nursery.cancel_scope.cancel()


async def test_a_pool_that_does_not_answer_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.pool.directory.ANSWER_S", 0.05)
    async with control_face(overview=fake_overview()) as served:
        answer = await served.ask("/api/pools/us/cells")
    assert (answer.status_code, "us does not answer" in answer.json()["detail"]) == (503, True)


async def test_the_pools_show_when_they_run_dry() -> None:
    pools = PlayedPools()
    overview = fake_overview(pools=pools)
    pools.decide(a_request(), at(2.0))
    async with control_face(overview=overview) as served:
        (pool,) = (await served.ask("/api/pools")).json()["items"]
    assert (pool["available"], pool["leases_per_minute"], pool["dry_in_s"]) == (0, None, 0.0)


@pytest.mark.parametrize(("span", "step_s", "buckets", "minutes"), [("hour", 5, 720, 60), ("day", 60, 1_440, 1_440)])
async def test_the_history_has_the_clicks(span: str, step_s: int, buckets: int, minutes: int) -> None:
    observers = new_observers()
    observers.click("resolved", None, 0.2)
    observers.click("fallback", "no_ip", 0.001)
    async with control_face(observers=observers) as served:
        found = (await served.ask(f"/api/history?span={span}")).json()
        assert (await served.ask("/api/history?span=week")).status_code == 400
    assert found["step_s"] == step_s
    assert len(found["resolved"]) == buckets
    assert sum(found["resolved"]) == 1
    assert sum(found["fallbacks"]["no_ip"]) == 1
    assert len(found["wait_ms"]["p99"]) == minutes
    assert found["deadline_ms"] == 10_000
    assert abs(found["from_s"] + buckets * step_s - read_clocks().wall_s) < 2 * step_s


async def test_a_part_of_the_last_hour_is_in_fine_steps_and_a_range_must_be_one() -> None:
    observers = new_observers()
    observers.click("resolved", None, 0.2)
    async with control_face(observers=observers) as served:
        now = datetime.now(UTC)
        since = (now - timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
        observers.own_history.began_s -= 3_600  # as if the daemon had run for an hour
        found = (await served.ask(f"/api/history?since={since}")).json()
        for wrong in ("since=2030-01-01T00:00:00Z", f"since={since}&until={since}", "since=1950-01-01T00:00:00Z"):
            assert (await served.ask(f"/api/history?{wrong}")).status_code == 400, wrong
    assert (found["span"], found["step_s"], sum(found["resolved"])) == ("range", 5, 1)
    assert 180 <= len(found["resolved"]) <= 182
    assert 15 <= len(found["wait_ms"]["p50"]) <= 17


async def test_the_session_says_who_asks_and_whether_they_may_change_anything() -> None:
    async with control_face(rows=[row_of("right"), row_of("looks", "read", name="wall")]) as served:
        assert (await served.ask("/api/session", token="right")).json() == {
            "name": "anna",
            "role": "operator",
            "may_write": True,
        }
        assert (await served.ask("/api/session", token="looks")).json()["may_write"] is False
        assert (await served.ask("/api/session", token="wrong")).status_code == 401
    async with control_face(ready=False) as served:
        assert (await served.ask("/api/session")).json()["name"] == "open"


async def test_a_trace_in_flight_shows_the_time_it_has_left() -> None:
    overview = fake_overview()
    now_s = read_clocks().tick_s
    job = SimpleNamespace(
        request_id=uuid4(), offer_name="sale", tracking_url="http://ads.example/", priority=0, deadline_s=now_s + 7
    )
    batch_job = SimpleNamespace(**{**vars(job), "priority": 1})
    lease = SimpleNamespace(name="192.0.2.1:7000", country="us", locked_until_s=now_s + 85)
    overview.tracer.in_flight.update({uuid4(): (job, lease), uuid4(): (batch_job, lease)})  # type: ignore[dict-item]
    async with control_face(overview=overview) as served:
        found = (await served.ask("/api/traces/in-flight")).json()
    first, second = found["items"]
    assert (first["ip"], second["deadline_in_s"]) == ("192.0.2.1:7000", None)
    assert 0 < first["deadline_in_s"] <= 7
    assert first["running_s"] == pytest.approx(5, abs=2)
    assert first["lock_in_s"] == pytest.approx(85, abs=2)
