"""GET /api/reports and the CSV exports of the control face, over real rows."""

import csv
import io
from uuid import UUID

import pytest

from daemon.control import exports
from tests.integration.control_faces import control_face
from tests.integration.databases import PostgresServer, Rows, fresh_database

TIME = "2026-01-31 12:00:00+00"


async def add_hits(rows: Rows, count: int, offer: str = "sale", reason: str | None = None) -> None:
    await rows.sql(
        "insert into hits (request_id, offer_name, outcome, reason, location, wait_ms, created_at)"
        " select gen_random_uuid(), $1, case when $2::text is null then 'resolved' else 'fallback' end, $2,"
        f" 'https://shop.example/', n * 10, '{TIME}' from generate_series(1, $3::int) n",
        offer,
        reason,
        count,
    )


async def test_a_report_has_the_clicks_of_its_time_by_group(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows, control_face(database=rows.database) as served:
        await add_hits(rows, 3)
        await add_hits(rows, 1, reason="no_ip")
        await add_hits(rows, 2, "hats", reason="deadline")
        day = "since=2026-01-31T00:00:00Z&until=2026-02-01T00:00:00Z"
        found = (await served.ask(f"/api/reports?by=offer&{day}")).json()
        assert [(one["offer"], one["country"], one["figures"]["fallbacks"]) for one in found["items"]] == [
            ("sale", None, {"no_ip": 1}),
            ("hats", None, {"deadline": 2}),
        ]
        assert (found["total"]["clicks"], found["total"]["landed"], found["source"]) == (6, 3, "traffic")
        assert (found["since"], found["left_out"]) == ("2026-01-31T00:00:00Z", 0)
        assert (await served.ask("/api/reports")).json()["items"] == []
        exported = await served.ask(f"/api/reports/report.csv?by=offer&{day}")
        assert exported.headers["content-type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(exported.text, newline=""), strict=True))
        assert [(line["offer"], line["clicks"], line["fallback_no_ip"]) for line in lines] == [
            ("sale", "4", "1"),
            ("hats", "2", "0"),
        ]
        refused = await served.ask("/api/reports?since=2026-02-01T00:00:00Z&until=2026-01-31T00:00:00Z")
        assert refused.status_code == 400
        assert "not before its end" in refused.json()["detail"]


async def test_an_export_streams_every_row_once(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LINES", 5)
    async with fresh_database(postgres) as rows, control_face(database=rows.database) as served:
        await add_hits(rows, 15)
        await add_hits(rows, 2, "hats")
        answer = await served.ask("/api/reports/hits.csv?offer=sale&since=2026-01-31T00:00:00Z")
        assert answer.headers["content-type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
        assert len({UUID(line["request_id"]) for line in lines}) == 15
        assert {line["offer_name"] for line in lines} == {"sale"}
        assert (await served.ask("/api/reports/traces.csv")).text.startswith("created_at,completed_at,request_id,")
