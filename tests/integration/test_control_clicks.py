"""GET /api/clicks and /api/reports/offers over real rows: every click is found, and each offer has a row."""

from logging import INFO
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from daemon.control.metrics import Metrics
from daemon.control.observers import Observers
from daemon.control.overview import Overview
from daemon.database.postgres import Database
from daemon.host.clocks import read_clocks
from daemon.nodes.cluster import cluster_of
from daemon.offers.model import Offers
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from tests.integration.control_faces import control_face
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import running_journal
from tests.integration.test_control_lists import face_with_rows, items
from tests.support.entries import AT, hit, pending

HOSTILE = "<script>alert(1)</script>\u202e"


async def add_clicks(rows: Rows, tmp_path: Any) -> dict[str, UUID]:
    """A click with a trace, its repeat, a preview, one of an unknown offer, and a fallback; through the journal."""
    ids = {name: uuid4() for name in ("click", "repeat", "preview", "unknown", "fallback")}
    async with running_journal(tmp_path / "spool", rows.database) as journal:
        journal.writer.record(
            pending(ids["click"]),
            hit(request_id=ids["click"], click_id="G-1"),
            hit(request_id=ids["repeat"], click_id="G-1", kind="repeat", wait_ms=1),
            hit(request_id=ids["preview"], kind="preview", outcome="fallback", reason="preview"),
            hit(request_id=ids["unknown"], offer_id=None, offer_name=HOSTILE, outcome="fallback",
                reason="unknown_offer", visitor_address="2001:db8::1"),
            hit(request_id=ids["fallback"], outcome="fallback", reason="no_ip", answered_at=AT - 3600,
                click_id="G-2", country="uk"),
        )  # fmt: skip
        await journal.flush()
    await rows.sql("update active_trace_requests set ip_assigned = '192.0.2.9', status = 'completed'")
    return ids


async def test_every_click_is_found_by_what_is_known_of_it(postgres: PostgresServer, tmp_path: Any) -> None:
    async with face_with_rows(postgres) as (served, rows):
        ids = await add_clicks(rows, tmp_path)
        by_id = {str(request_id): name for name, request_id in ids.items()}

        async def found(query: str) -> set[str]:
            return {by_id[row["request_id"]] for row in await items(served, f"/api/clicks?{query}")}

        assert await found("") == set(ids)
        assert await found("click_id=G-1") == {"click", "repeat"}
        assert await found(f"request_id={ids['preview']}") == {"preview"}
        assert await found("visitor=2001:db8::1") == {"unknown"}
        assert await found("ip=192.0.2.9") == {"click"}
        assert await found("offer=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE") == {"unknown"}
        assert await found("reason=no_ip&kind=click") == {"fallback"}
        assert await found("country=GB") == {"fallback"}
        assert await found("since=2023-11-14T22:00:00Z&kind=click") == {"click", "unknown"}
        assert await found("click_id=G-9") == set()
        assert (await items(served, "/api/clicks?sort=created"))[0]["request_id"] == str(ids["fallback"])
        (row,) = await items(served, "/api/clicks?ip=192.0.2.9")
        assert (row["trace_status"], row["country"], row["click_id"]) == ("completed", "us", "G-1")
        assert (await served.ask("/api/clicks?request_id=7")).status_code == 400


async def test_each_click_has_its_story_also_without_a_trace(postgres: PostgresServer, tmp_path: Any) -> None:
    async with face_with_rows(postgres) as (served, rows):
        ids = await add_clicks(rows, tmp_path)
        traced = (await served.ask(f"/api/clicks/{ids['click']}")).json()
        assert (traced["chosen"]["ip"], traced["inbound_params"]["gclid"]) == ("192.0.2.9", "1")
        repeat = (await served.ask(f"/api/clicks/{ids['repeat']}")).json()
        assert (repeat["trace"], repeat["hops"], repeat["answered"]["kind"]) == (None, [], "repeat")
        assert any("the same click again" in line for line in repeat["text"])
        assert any("click id G-1" in line for line in repeat["text"])
        unknown = (await served.ask(f"/api/clicks/{ids['unknown']}")).json()
        assert unknown["answered"]["why"] == "no offer has the name that the click gave"
        assert unknown["offer"] == HOSTILE
        missing = await served.ask(f"/api/clicks/{uuid4()}")
        assert (missing.status_code, "only the log has" in missing.json()["detail"]) == (404, True)


class CountedDatabase:
    """`scans`: how often the hits were counted."""

    def __init__(self, database: Database) -> None:
        self._database, self.scans = database, 0

    async def work(self, unit: Any, *arguments: Any) -> Any:
        self.scans += unit.__name__ == "count"
        return await self._database.work(unit, *arguments)


async def test_each_offer_has_a_row_and_its_hits_are_counted_once(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(
            "insert into offers (offer_name, final_url, target_country, is_active) values"
            " ('sale', 'https://a.example/', 'GB', true), ('torn', 'no URL', 'us', true),"
            " ('off', 'https://a.example/', 'us', false)"
        )
        await rows.sql(
            "insert into hits (request_id, offer_id, offer_name, outcome, reason, location, wait_ms, created_at, kind)"
            " select gen_random_uuid(), o.id, 'old name',"
            " case when n > 100 then 'background' when n <= 90 then 'resolved' else 'fallback' end,"
            " case when n between 91 and 100 then 'no_ip' end, 'L', n * 10, now() - interval '1 minute',"
            " case when n = 100 then 'repeat' else 'click' end"
            " from generate_series(1, 103) n, offers o where o.offer_name = 'sale'"
        )
        await rows.sql(
            "insert into hits (request_id, offer_name, outcome, reason, location, wait_ms) values"
            " (gen_random_uuid(), $1, 'fallback', 'unknown_offer', 'L', 0)",
            HOSTILE,
        )
        offers = Offers()
        offers.replace(await rows.sql("select * from offers"))
        overview = SimpleNamespace(
            clicks=SimpleNamespace(offers=offers), report=SimpleNamespace(cluster=lambda: cluster_of(()))
        )
        counting = CountedDatabase(rows.database)
        parts: dict[str, Any] = {"database": cast(Database, counting), "overview": cast(Overview, overview)}
        async with control_face(**parts) as served:
            answer = (await served.ask("/api/reports/offers?span=15m")).json()
            for _ in range(3):
                await served.ask("/api/reports/offers?span=15m")
            assert counting.scans == 1
            assert (await served.ask("/api/reports/offers?span=1w")).status_code == 400
    found = {row["offer"]: row for row in answer["items"]}
    assert [row["offer"] for row in answer["items"]] == ["torn", "sale", HOSTILE, "off"]
    assert {name: row["state"] for name, row in found.items()} == {
        "torn": "broken", "sale": "active", HOSTILE: "unknown", "off": "paused",
    }  # fmt: skip
    sale = found["sale"]
    assert (sale["clicks"], sale["landed"], sale["fallbacks"], sale["repeats"]) == (99, 90, {"no_ip": 9}, 1)
    assert sale["background"] == 3
    assert sale["wait_p50_ms"] == pytest.approx(500, rel=0.03)
    assert sale["wait_p95_ms"] == pytest.approx(950, rel=0.03)
    assert (sale["countries"], sale["ips"], answer["left_out"]) == (["uk"], 0, 0)


async def test_a_search_finds_what_a_text_names(postgres: PostgresServer, tmp_path: Any) -> None:
    async with face_with_rows(postgres) as (served, rows):
        ids = await add_clicks(rows, tmp_path)
        ip = await rows.add_ip("192.0.2.9", country="uk")
        await rows.add_ip("2001:db8::5", ip_port="9000")
        offer_id = await rows.add_offer("Summer-Sale-2")
        await rows.sql("insert into active_trace_requests (tracking_url, target_country) values ('u', 'us')")
        alone = await rows.one("select request_id from active_trace_requests where tracking_url = 'u'")

        async def found(text: str) -> list[tuple[str, str, int | None]]:
            answer = (await served.ask("/api/find", params={"text": text})).json()
            assert "click ids" in answer["looked_in"]
            return [(one["kind"], one["id"], one["clicks"]) for one in answer["items"]]

        assert await found(f' "{ids["repeat"]}" ') == [("click", str(ids["repeat"]), None)]
        assert await found(str(alone).upper()) == [("trace", str(alone), None)]
        assert await found("G-1") == [("click_id", "G-1", 2)]
        assert await found("192.0.2.9") == await found("192.0.2.9:7000") == [("ip", str(ip), None)]
        assert [kind for kind, *_ in await found("[2001:0DB8::5]:9000")] == ["ip"]
        assert await found("2001:DB8:0::1") == [("visitor", "2001:db8::1", 1)]
        assert await found("summer") == [("offer", "Summer-Sale-2", None)]
        assert await found(str(offer_id)) == [("offer", "Summer-Sale-2", None)]
        assert await found(HOSTILE) == [("offer_name", HOSTILE, 1)]
        assert await found("nothing has this") == await found(" ") == await found("z" * 8_000) == []
        assert (await served.ask("/api/find?text=")).status_code == 400


async def test_a_refused_click_has_a_story_too(postgres: PostgresServer) -> None:
    observers = Observers(Metrics(LiveSettings(Settings())), read_clocks)
    request_id = str(uuid4())
    facts = {"request_id": request_id, "status": 404, "reason": "unknown_offer", "offer": "slae"}
    observers.events.take(INFO, {"event": "click_refused", "level": "info", "ts": "2030-01-01T00:00:00Z", **facts})
    async with fresh_database(postgres) as rows, control_face(database=rows.database, observers=observers) as served:
        (refused,) = (await served.ask("/api/clicks/refused")).json()["items"]
        assert (refused["offer"], refused["status"], refused["error"]) == ("slae", 404, None)
        story = (await served.ask(f"/api/clicks/{request_id}")).json()
        assert (story["answered"]["outcome"], story["offer"]) == ("refused", "slae")
        for text in (request_id, "slae"):
            (found,) = (await served.ask("/api/find", params={"text": text})).json()["items"]
            assert (found["kind"], found["id"]) == ("click", request_id)
