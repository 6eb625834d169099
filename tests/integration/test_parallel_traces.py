"""POST /functions/v1/process-trace-parallel over real sockets, with real pools and workers and a journal in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import structlog
import trio

from daemon.errors import DatabaseUnavailable
from daemon.host.clocks import read_clocks
from daemon.settings.model import Settings
from tests.fakes.net import net
from tests.fakes.origins import Reply, page, redirect, reply
from tests.integration.control_faces import Served, control_face
from tests.integration.databases import PostgresServer, fresh_database
from tests.integration.whole_path import WholePath, whole_path
from tests.support.waiting import until

PATH = "/functions/v1/process-trace-parallel"
URL = "http://ads.example/start"
PAGES: dict[str, Reply | list[Reply]] = {
    "ads.example/start": redirect("http://b.example/landed?cid=7&gclid=theirs&tag=x&tag=y"),
    "ads.example/start?w=a%20b": redirect("http://b.example/landed?macro=1"),
    "ads.example/broken": reply(503),
    "ads.example/silent": Reply((), end="hang"),
    "b.example/landed?cid=7&gclid=theirs&tag=x&tag=y": page(),
    "b.example/landed?macro=1": page(),
}


class Away:
    """A database that cannot be reached."""

    async def work(self, *unit: object) -> object:
        raise DatabaseUnavailable


@dataclass(frozen=True, slots=True)
class Scene:
    served: Served
    path: WholePath
    seen: list[Any]

    async def ask(self, **given: Any) -> httpx.Response:
        body = {
            "request_id": str(uuid4()),
            "offer_id": str(uuid4()),
            "tracking_url": URL,
            "target_country": "US",
            "inbound_params": {},
        }
        return await self.served.ask(PATH, "POST", json=body | given)


@asynccontextmanager
async def scene(database: Any = None, *, ips: int = 3, workers: int = 2, **trace: Any) -> AsyncIterator[Scene]:
    settings = Settings(
        control={"bind": "127.0.0.1:0"}, trace={"allow_private": True, "workers": workers, **trace},
        click={"deadline_s": 3}, pool={"cooldown_s": 60},
    )  # fmt: skip
    async with net(PAGES) as here, whole_path(here.port, settings, ips=ips) as path:
        overview = SimpleNamespace(now=read_clocks, clicks=path.clicks, dispatcher=path.dispatcher)
        async with control_face(settings, overview=overview, database=database or Away()) as served:
            yield Scene(served, path, here.proxy.seen)


async def test_a_trace_is_answered_with_landing_url_and_figures() -> None:
    async with scene() as here:
        request_id = uuid4()
        inbound = {"gclid": "ours", "sub": ["1", "2"]}
        with structlog.testing.capture_logs() as lines:
            answer = await here.ask(
                request_id=str(request_id), inbound_params=inbound, referrer="https://from.example/"
            )
        assert answer.status_code == 200, answer.text
        answered = answer.json()
        assert answered.pop("trace_time_ms") >= 0
        assert 0.1 < answered.pop("bandwidth_kb") < 10
        assert answered == {
            "success": True,
            "request_id": str(request_id),
            "final_url": "http://b.example/landed?cid=7&gclid=theirs&tag=x&tag=y",
            "extracted_params": {"cid": "7", "gclid": "theirs", "tag": ["x", "y"]},
            "all_params": {"gclid": "ours", "sub": ["1", "2"], "cid": "7", "tag": ["x", "y"]},
            "ip_used": "127.0.0.1",
            "mode_used": "http_only",
        }
        assert here.seen[0].value("referer") == "https://from.example/"
        finished = here.path.journal.traces[request_id]
        assert (finished.status, finished.final_url) == ("completed", answered["final_url"])
        audit = next(line for line in lines if line["event"] == "audit")
        assert (audit["request_id"], audit["ip"], audit["reason"]) == (str(request_id), "127.0.0.1", None)


async def test_a_failed_trace_is_answered_with_its_error() -> None:
    async with scene() as here:
        answer = await here.ask(tracking_url="http://ads.example/broken", inbound_params={"a": "b"})
    answered = answer.json()
    assert (answer.status_code, answered["success"], answered["final_url"], answered["extracted_params"]) == (
        200,
        False,
        None,
        {},
    )
    assert "503" in answered["error"]
    assert (answered["all_params"], answered["ip_used"]) == ({"a": "b"}, "127.0.0.1")
    assert answered["bandwidth_kb"] > 0


async def test_without_an_ip_the_answer_has_the_agreed_text() -> None:
    agreed = {"success": False, "error": "No available IP"}
    async with scene(ips=1) as here:
        nowhere = await here.ask(target_country="xx")
        assert (nowhere.status_code, nowhere.json()) == (503, agreed)
        assert (await here.ask()).status_code == 200
        resting = await here.ask()
        assert (resting.status_code, resting.json()) == (503, agreed)
    async with scene(default_country="us") as here:
        assert (await here.ask(target_country="xx")).json()["success"]


@pytest.mark.slow
async def test_an_offers_settings_apply_to_its_traces_and_macros_take_the_parameters() -> None:
    async with scene() as here:
        here.path.offer(URL, stop_at=["b.example"])
        offer = here.path.offers.find("sale")
        assert offer is not None
        for key in (str(offer.id), "sale"):
            request_id = uuid4()
            assert (await here.ask(offer_id=key, request_id=str(request_id))).json()["success"]
            finished = here.path.journal.traces[request_id]
            assert (finished.offer_id, finished.offer_name, len(finished.redirect_chain)) == (offer.id, "sale", 1)
        macro = await here.ask(tracking_url=f"{URL}?w={{gclid}}", inbound_params={"gclid": "a b"})
        assert macro.json()["final_url"] == "http://b.example/landed?macro=1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tracking_url": "ftp://ads.example/"}, "http"),
        ({"tracking_url": "https://{gclid}.example/"}, "macro"),
        ({"request_id": "first"}, "request_id"),
        ({"inbound_params": {"a": 5}}, "inbound_params"),
        ({"tracking_url": None}, "tracking_url"),
        ({"target_country": 7}, "target_country"),
        ({"inbound_params": "gclid=1"}, "inbound_params"),
        ({"inbound_params": []}, "inbound_params"),
        ({"referrer": ["https://from.example/"]}, "referrer"),
        ({"offer_id": 42}, "offer_id"),
    ],
)
async def test_a_bad_request_is_refused_with_a_reason(given: dict[str, Any], says: str) -> None:
    async with scene() as here:
        answer = await here.ask(**given)
        assert answer.status_code == 400
        assert says in answer.json()["detail"]
        assert here.seen == []


@pytest.mark.parametrize("null", [True, False])
async def test_an_optional_field_that_is_null_counts_as_left_out(null: bool) -> None:
    optional = ("target_country", "inbound_params", "referrer")
    body: dict[str, Any] = {"request_id": str(uuid4()), "offer_id": "sale", "tracking_url": URL}
    if null:
        body |= dict.fromkeys(optional)
    async with scene() as here:
        answer = await here.served.ask(PATH, "POST", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["success"]
    assert answer.json()["all_params"] == answer.json()["extracted_params"], "the request had no parameters"


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "text/plain"])
async def test_a_body_is_json_whatever_its_content_type(content_type: str | None) -> None:
    body = {"request_id": str(uuid4()), "offer_id": "sale", "tracking_url": URL}
    headers = {"Content-Type": content_type} if content_type else {}
    async with scene() as here:
        answer = await here.served.ask(PATH, "POST", content=msgspec.json.encode(body), headers=headers)
        assert answer.status_code == 200, answer.text
        other = await here.served.ask(PATH, "POST", content=b"request_id=1&offer_id=sale", headers=headers)
        assert (other.status_code, "not JSON" in other.json()["detail"]) == (400, True)


async def test_a_private_host_needs_the_setting() -> None:
    async with scene(allow_private=False) as here:
        answer = await here.ask(tracking_url="http://127.0.0.1/")
        assert (answer.status_code, "public host" in answer.json()["detail"]) == (400, True)


@pytest.mark.slow
async def test_an_id_has_one_trace(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows, scene(rows.database, timeout_s=2) as here:
        recorded = await rows.add_trace()
        assert (await here.ask(request_id=str(recorded))).status_code == 409
        request_id, first = str(uuid4()), []

        async def one() -> None:
            first.append(await here.ask(request_id=request_id, tracking_url="http://ads.example/silent"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await until(lambda: here.path.tracer.active == 1)
            assert (await here.ask(request_id=request_id)).status_code == 409
        assert first[0].json()["success"] is False


@pytest.mark.slow
async def test_a_client_that_disconnects_does_not_end_its_trace() -> None:
    async with scene(timeout_s=2) as here:
        request_id = uuid4()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(here.ask, request_id=str(request_id), tracking_url="http://ads.example/silent"))
            await until(lambda: here.path.tracer.active == 1)
            nursery.cancel_scope.cancel()
        await until(lambda: request_id in here.path.journal.traces)
        assert here.path.journal.traces[request_id].status == "timeout"
