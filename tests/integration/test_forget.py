"""A person is forgotten: in the rows, in entries that come later, and in the spool's file."""

import getpass
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from msgspec.structs import replace

from daemon.control.forget import forget, request_of
from daemon.database.failures import Refusal
from daemon.journal.entries import Hit, TraceFinished, TracePending, TraceProcessing, TraceQueued, encode
from daemon.journal.forgetting import begin
from daemon.journal.spool import Spool
from daemon.journal.spool_forgetting import SpoolForgetting
from daemon.maintenance.rounds import run_once
from daemon.settings.model import Settings
from tests.integration.commands import Commands
from tests.integration.control_faces import control_face
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import Journal, running_journal
from tests.support.entries import finished, hit, pending, processing

ANNA, OTHER = "203.0.113.77", "203.0.113.78"
ID = "EAIaIQobChMI-7_x"
TABLES = ("hits", "active_trace_requests")
PERSONAL = (ANNA, ID, "annas-browser", "annas-page")


Click = tuple[TracePending, TraceProcessing, Hit, TraceFinished]


def click(visitor: str = ANNA, click_id: str = "another-id") -> Click:
    """The entries of a click in their order: the hit is that of a deadline, before the end of its trace."""
    request_id = uuid4()
    url = f"https://shop.example/a?gclid={click_id}"
    hop = {"url": f"https://ads.example/r/{click_id}", "status": 302, "ms": 1.5, "kind": "location"}
    answered = hit(
        request_id=request_id, visitor_address=visitor, user_agent="annas-browser", referrer="https://annas-page.example/",
        location=url, click_id=click_id,
    )  # fmt: skip
    ended = replace(finished(request_id), final_url=url, extracted_params={"gclid": click_id}, redirect_chain=(hop,))
    begun = pending(request_id, tracking_url=f"https://ads.example/c?g={click_id}", inbound_params={"gclid": click_id})
    return begun, processing(request_id), answered, ended


async def texts(rows: Rows) -> dict[UUID, str]:
    """Each click's rows as one text."""
    found: dict[UUID, str] = {}
    for table in TABLES:
        for row in await rows.sql(f"select request_id, t::text as text from {table} t"):
            found[row["request_id"]] = found.get(row["request_id"], "") + row["text"]
    return found


def assert_forgotten(text: str) -> None:
    assert not [word for word in (*PERSONAL, "gclid") if word in text], text
    assert "https://shop.example/" in text
    assert "https://ads.example/" in text


@asynccontextmanager
async def with_journal(postgres: PostgresServer, path: Path) -> AsyncIterator[tuple[Rows, Journal]]:
    async with fresh_database(postgres) as rows, running_journal(path / "j.sqlite", rows.database) as journal:
        yield rows, journal


async def test_rows_of_a_visitor_and_of_a_click_id_are_blanked_and_their_figures_stay(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with with_journal(postgres, tmp_path) as (rows, journal):
        mine, by_id, other = click(), click(OTHER, ID), click(OTHER)
        journal.writer.record(*mine, *by_id, *other)
        await journal.flush()
        for request, entries in ((request_of(ANNA, None), mine), (request_of(None, ID), by_id)):
            found = await forget(rows.database, request, "cli:anna")
            assert found.hits == found.traces == {entries[0].request_id}
        left = await texts(rows)
        for entries in (mine, by_id):
            assert_forgotten(left[entries[0].request_id])
        assert "annas-browser" in left[other[0].request_id], "another person's click with the same parameters stays"
        figures = "select distinct wait_ms, outcome, offer_name, created_at from hits"
        assert len(await rows.sql(figures)) == 1
        traces = "select distinct status, trace_time_ms, bytes_received, ip_assigned, cost from active_trace_requests"
        assert len(await rows.sql(traces)) == 1
        log = await rows.sql("select who, what, subject, detail from actions order by id")
        assert [(one["who"], one["what"]) for one in log] == 2 * [("cli:anna", "forget person")]
        assert not [word for word in PERSONAL if word in str(log)]
        kept = str(await rows.sql("select * from forget_requests"))
        assert not [word for word in PERSONAL if word in kept]


async def test_entries_that_are_shipped_later_are_blanked_on_their_way(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with with_journal(postgres, tmp_path) as (rows, journal):
        before, begun, later, by_id, other = click(), click(), click(), click(OTHER, ID), click(OTHER)
        journal.writer.record(*before, *begun[:-1])
        await journal.flush()
        for request in (request_of(ANNA, None), request_of(None, ID)):
            await forget(rows.database, request, "cli:anna")
        journal.writer.record(begun[-1], *other, *by_id[:-1])
        await journal.flush()
        journal.writer.record(*later[:2])  # the trace of a visitor whose hit comes last
        await journal.flush()
        journal.writer.record(*later[2:], by_id[-1])
        url = f"https://ads.example/c?g={ID}"
        journal.writer.record(TraceQueued(uuid4(), uuid4(), url, "us", {"gclid": ID}, 1, 1.5, 2.5, {"user_agent": "a"}))
        await journal.flush()
        assert await rows.sql("select 1 from active_trace_requests where priority > 0") == [], "it is given up"
        left = await texts(rows)
        for entries in (before, begun, later, by_id):
            assert_forgotten(left[entries[0].request_id])
        assert "another-id" in left[other[0].request_id]


async def test_people_stay_known_while_late_entries_make_rows_and_their_later_clicks_are_new(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with with_journal(postgres, tmp_path) as (rows, journal):
        await forget(rows.database, request_of(ANNA, None), "cli:anna")
        await rows.sql("insert into forgotten_clicks (request_id) values (gen_random_uuid())")
        for days, left in ((89, 1), (91, 0)):
            for table in ("forget_requests", "forgotten_clicks"):
                await rows.sql(f"update {table} set at = at - make_interval(days => {days})")
            await run_once(rows.database, Settings())
            assert await rows.one("select count(*) from forget_requests") == left
            assert await rows.one("select count(*) from forgotten_clicks") == left
            if left:
                late, later = click()[2], replace(click()[2], answered_at=time.time())
                journal.writer.record(late, later)
                await journal.flush()
                found = await texts(rows)
                assert ANNA not in found[late.request_id]
                assert ANNA in found[later.request_id]


async def test_a_trace_of_a_forgotten_person_does_not_start_again(postgres: PostgresServer, tmp_path: Path) -> None:
    async with with_journal(postgres, tmp_path) as (rows, _):
        ids = [
            await rows.add_trace(
                status="processing", priority=1, tracking_url="https://ads.example/c", inbound_params=params
            )
            for params in (f'{{"gclid": "{ID}"}}', "{}")
        ]
        await forget(rows.database, request_of(None, ID), "cli:anna")
        await rows.database.fetch("restart_batch_traces", None)
        states = {row["request_id"]: row["status"] for row in await rows.sql("select * from active_trace_requests")}
        assert [states[one] for one in ids] == ["failed", "pending"]


async def test_a_batch_that_is_under_way_is_waited_for(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        order: list[str] = []

        async def batch(conn: Any, started: trio.Event) -> None:
            await conn.fetch("select from forget_requests")
            started.set()
            await conn.execute("select pg_sleep(0.3)")
            order.append("batch")

        async def request() -> None:
            await rows.database.work(begin, "visitor", ANNA)
            order.append("request")

        async with trio.open_nursery() as nursery:
            started = trio.Event()
            nursery.start_soon(rows.database.work, batch, started)
            await started.wait()
            nursery.start_soon(request)
        assert order == ["batch", "request"]


async def test_the_spools_file_loses_what_it_has_of_a_person(postgres: PostgresServer, tmp_path: Path) -> None:
    """Entries that PostgreSQL has, those that it has not, and those that it refused."""
    async with fresh_database(postgres) as rows:
        path = tmp_path / "journal.sqlite"
        spool = Spool(path)
        mine, other, refused = click(), click(OTHER), click(OTHER, ID)
        spool.append([encode(entry) for entry in (*mine, *other, *refused)])
        spool.refuse(spool.bounds()[1], 1.0, Refusal("23514", "no"))
        for request in (request_of(ANNA, None), request_of(None, ID)):
            await forget(rows.database, request, "cli:anna")
        await SpoolForgetting(spool, rows.database).take()
        kept = {entry.seq: entry.body for entry in spool.read(0, 100)}
        assert len(kept) == 12
        for seq, body in kept.items():
            assert ("annas-browser" in body) == (seq == 7), "the other visitor's hit alone has it"
            assert json.loads(body)["request_id"] == body[15:51], "the id is the first field, without blanks"
        [entry] = spool.refused_entries()
        assert ID not in entry.body
        raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs
        assert ANNA.encode() not in raw
        assert ID.encode() not in raw
        spool.close()


async def test_the_api_counts_and_forgets(postgres: PostgresServer, tmp_path: Path) -> None:
    async with with_journal(postgres, tmp_path) as (rows, journal), control_face(database=rows.database) as served:
        journal.writer.record(*click())
        await journal.flush()
        person = {"visitor": ANNA}
        counted = await served.ask("/api/forget", "POST", json=person | {"dry_run": True})
        assert counted.json() == {"hits": 1, "traces": 1}
        assert ANNA in str(await texts(rows))
        done = await served.ask("/api/forget", "POST", json=person)
        assert (done.status_code, done.json()) == (200, {"hits": 1, "traces": 1})
        assert not [word for word in PERSONAL if word in str(await texts(rows))]
        actions = (await served.ask("/api/actions")).json()["items"]
        assert [(one["what"], one["subject"]) for one in actions] == [("forget person", "visitor 203.0.113.0/24")]
        for wrong in ({}, {"visitor": "somebody"}, person | {"click_id": ID}, {"click_id": "a"}):
            assert (await served.ask("/api/forget", "POST", json=wrong)).status_code == 400


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: "pytest.CaptureFixture[str]"
) -> Commands:
    monkeypatch.delenv("SUDO_USER", raising=False)
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capsys)


async def test_a_visitor_is_found_by_the_address_whatever_is_kept_of_it(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows, control_face(database=rows.database) as served:
        for kept in (ANNA, OTHER, "203.0.113.0/24", "198.51.100.0/24"):
            await rows.sql(
                "insert into hits (request_id, offer_name, outcome, location, visitor_address, wait_ms)"
                f" values (gen_random_uuid(), 'sale', 'resolved', 'https://shop.example/', '{kept}', 1)"
            )
        for asked, found in ((ANNA, {ANNA, "203.0.113.0/24"}), ("203.0.113.0/24", {"203.0.113.0/24"})):
            items = (await served.ask("/api/hits", params={"visitor": asked})).json()["items"]
            assert {item["visitor_address"] for item in items} == found


def test_the_command_forgets_without_a_daemon(tracepool: Commands) -> None:
    tracepool.sql(
        "insert into hits (request_id, offer_name, outcome, location, visitor_address, wait_ms)"
        f" values (gen_random_uuid(), 'sale', 'fallback', 'https://ads.example/?x=1', '{ANNA}', 1)"
    )
    assert tracepool("forget", "--visitor", ANNA).status == 2, "there is no terminal to ask at"
    assert tracepool("forget").status == tracepool("forget", "--visitor", "anna", "--yes").status == 2
    assert tracepool.sql("select visitor_address from hits")[0]["visitor_address"] == ANNA
    done = tracepool("forget", "--visitor", ANNA, "--yes")
    assert (done.status, done.lines[0]) == (0, "forgotten: 1 hit, 0 traces")
    assert tracepool.sql("select visitor_address, location from hits") == [
        {"visitor_address": None, "location": "https://ads.example/"}
    ]
    tracepool.sql("update hits set visitor_address = '203.0.113.0/24'")
    assert "have only the network 203.0.113.0/24" in tracepool("forget", "--visitor", ANNA, "--yes").out
    _, action = tracepool("actions", "--json").json
    assert (action["who"], action["what"], action["subject"], action["detail"]) == (
        f"cli:{getpass.getuser()}", "forget person", "visitor 203.0.113.0/24", {"hits": 1, "traces": 0}
    )  # fmt: skip
