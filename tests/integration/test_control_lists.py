"""The lists of the control face over real rows: pages, filters, orders; and changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from daemon.trace.jobs import BATCH_PRIORITY
from tests.integration.control_faces import Served, control_face
from tests.integration.databases import PostgresServer, Rows, fresh_database


@asynccontextmanager
async def face_with_rows(postgres: PostgresServer) -> AsyncIterator[tuple[Served, Rows]]:
    async with fresh_database(postgres) as rows, control_face(database=rows.database) as served:
        yield served, rows


async def items(served: Served, path: str) -> list[dict[str, Any]]:
    """Every item, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await served.ask(f"{path}{'&' if '?' in path else '?'}limit=2{cursor}")).json()
        assert len(page["items"]) <= 2
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


SORTS = ("created", "ip", "country", "status", "last_used", "uses", "failures", "response_ms")


@pytest.mark.slow
@pytest.mark.parametrize("sort", [f"{way}{name}" for name in SORTS for way in ("", "-")])
async def test_pages_have_each_row_once_in_any_order(postgres: PostgresServer, sort: str) -> None:
    async with face_with_rows(postgres) as (served, rows):
        for number in range(7):
            await rows.add_ip(f"192.0.2.{number}", country="us" if number % 2 else "DE", total_uses=number // 3)
        await rows.sql(
            "update ip_rotation_pool set last_used_at = now(), avg_response_time_ms = 7 where total_uses = 1"
        )
        found = await items(served, f"/api/ips?sort={sort}")
    addresses = [item["ip_address"] for item in found]
    assert sorted(addresses) == [f"192.0.2.{number}" for number in range(7)]
    if sort == "-ip":
        assert addresses == sorted(addresses, reverse=True)
    if sort == "uses":
        assert [item["total_uses"] for item in found] == sorted(item["total_uses"] for item in found)


async def test_ips_are_filtered_as_by_the_commands(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.add_ip("192.0.2.1", country="GB", provider="soax")
        await rows.add_ip("192.0.2.2", country="uk", is_healthy=False, status="failed")
        await rows.add_ip("192.0.2.3", country="us", ip_port="9000")

        async def addresses(query: str) -> set[str]:
            return {item["ip_address"][-1] for item in await items(served, f"/api/ips?{query}")}

        assert await addresses("country=uk") == {"1", "2"}
        assert await addresses("country=Gb&healthy=true") == {"1"}
        assert await addresses("status=failed") == {"2"}
        assert await addresses("ip=192.0.2.3:9000") == {"3"}
        assert await addresses("ip=192.0.2.3:7000") == set()
        assert await addresses("provider=soax") == {"1"}


async def test_rows_added_between_two_pages_repeat_no_row(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        for number in range(4):
            await rows.add_ip(f"192.0.2.{number}")
        first = (await served.ask("/api/ips?sort=-created&limit=2")).json()
        await rows.add_ip("192.0.2.9")
        second = (await served.ask(f"/api/ips?sort=-created&limit=2&cursor={first['next']}")).json()
    assert [item["ip_address"][-1] for item in first["items"] + second["items"]] == ["3", "2", "1", "0"]


async def test_a_trace_has_its_hops_and_the_answer_to_its_visitor(postgres: PostgresServer) -> None:
    chain = (
        '[{"url": "http://a.example/", "status": 302, "kind": "http", "ms": 1.5, "bytes_received": 7, "bytes_sent": 9},'
        ' {"url": "http://a.example/2", "status": 200, "kind": "script_unresolved", "tier": "engine", "why": "fetch"}]'
    )
    async with face_with_rows(postgres) as (served, rows):
        offer_id = await rows.add_offer("sale")
        request_id = await rows.add_trace(
            offer_id=offer_id, ip_assigned="192.0.2.1", status="completed", redirect_chain=chain,
            inbound_params='{"gclid": "a", "tag": ["x", "y"]}',
        )  # fmt: skip
        await rows.sql(
            "insert into hits (request_id, offer_name, outcome, location, wait_ms)"
            " values ($1, 'sale', 'resolved', 'L', 5)",
            request_id,
        )
        other = await rows.add_trace(ip_assigned="192.0.2.2")
        detail = (await served.ask(f"/api/traces/{request_id}")).json()
        assert detail["hops"][0] == {
            "url": "http://a.example/", "status": 302, "kind": "http", "ms": 1.5, "bytes_received": 7, "bytes_sent": 9,
            "tier": None, "why": None, "cookies": None,
        }  # fmt: skip
        assert (detail["hops"][1]["tier"], detail["hops"][1]["why"]) == ("engine", "fetch")
        assert detail["inbound_params"] == {"gclid": "a", "tag": ["x", "y"]}
        assert (detail["answer"]["outcome"], detail["trace"]["offer_name"]) == ("resolved", "sale")
        assert (await served.ask(f"/api/traces/{other}")).json()["answer"] is None
        assert [t["request_id"] for t in await items(served, "/api/traces?offer=sale")] == [str(request_id)]
        assert [t["request_id"] for t in await items(served, "/api/traces?ip=192.0.2.2")] == [str(other)]
        assert await items(served, "/api/traces?since=2100-01-01T00:00:00Z") == []
        assert [h["location"] for h in await items(served, "/api/hits?outcome=resolved&offer=sale")] == ["L"]
        missing = await served.ask(f"/api/traces/{uuid4()}")
        assert missing.status_code == 404


async def test_ips_are_added_reset_and_retired(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        added = await served.ask("/api/ips", "POST", json={"ip_address": "192.0.2.1", "country": "uk"})
        assert added.status_code == 201
        assert (await served.ask("/api/ips", "POST", json={"ip_address": "192.0.2.1"})).status_code == 409
        assert (await served.ask("/api/ips", "POST", json={"ip_address": "no address"})).status_code == 400
        ip_id = added.json()["id"]
        await rows.sql("update ip_rotation_pool set is_healthy = false, status = 'failed', consecutive_failures = 5")
        json: dict[str, object] = {}
        assert (await served.ask(f"/api/ips/{ip_id}/reset", "POST", json=json)).json() == {"reset": ["192.0.2.1:7000"]}
        assert (await served.ask("/api/ips/reset", "POST", json={"country": "uk"})).json() == {"reset": []}
        assert (await served.ask(f"/api/ips/{ip_id}")).json()["ip"]["status"] == "available"
        assert (await served.ask(f"/api/ips/{ip_id}", "DELETE", json=json)).json() == {"removed": 1, "locked": 0}
        assert (await served.ask(f"/api/ips/{ip_id}", "DELETE", json=json)).status_code == 404


async def test_an_import_reports_the_refused_rows(postgres: PostgresServer) -> None:
    given = [{"ip_address": "192.0.2.1"}, {"ip_address": "192.0.2.1"}, {"ip_address": "-"}]
    async with face_with_rows(postgres) as (served, rows):
        strict = (await served.ask("/api/ips/import", "POST", json={"rows": given, "strict": True})).json()
        assert (strict["added"], [refused["row"] for refused in strict["refused"]]) == (0, [3])
        loose = (await served.ask("/api/ips/import", "POST", json={"rows": given})).json()
        assert (loose["added"], loose["skipped"], len(loose["refused"])) == (1, 1, 1)
        assert await rows.one("select count(*) from ip_rotation_pool") == 1


async def test_urls_are_queued_for_the_daemon_all_or_none(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        urls = ["https://ads.example/a", "https://ads.example/b"]
        queued = await served.ask("/api/traces", "POST", json={"urls": urls, "country": "GB"})
        assert queued.status_code == 202
        found = await rows.sql(
            "select tracking_url, target_country, priority from active_trace_requests order by created_at"
        )
        assert [tuple(row.values()) for row in found] == [(url, "uk", BATCH_PRIORITY) for url in urls]
        refused = await served.ask("/api/traces", "POST", json={"urls": [*urls, "http://127.0.0.1/"]})
        assert refused.status_code == 400
        assert await rows.one("select count(*) from active_trace_requests") == 2


async def test_bytes_and_cost_are_by_day_provider_and_offer(postgres: PostgresServer) -> None:
    async with face_with_rows(postgres) as (served, rows):
        await rows.sql(
            "insert into traffic (day, provider, offer_id, offer_name, traces, bytes_received, bytes_sent, cost)"
            " select day::date, provider, gen_random_uuid(), offer, 2, size, 10, size / 1e6 from (values"
            " ('2030-01-01', 'luna', 'sale', 100), ('2030-01-02', 'luna', 'sale', 300),"
            " ('2030-01-02', 'soax', 'tea', 200)) as given(day, provider, offer, size)"
        )
        await rows.sql("insert into traffic values ('2030-01-03', 'soax', null, null, 1, 5, 5, 0)")

        async def found(query: str = "") -> list[tuple[str, str, str | None, int]]:
            return [
                (row["day"][-2:], row["provider"], row["offer_name"], row["bytes_received"])
                for row in await items(served, f"/api/traffic?sort=-bytes{query}")
            ]

        assert await found() == [
            ("02", "luna", "sale", 300),
            ("02", "soax", "tea", 200),
            ("01", "luna", "sale", 100),
            ("03", "soax", None, 5),
        ]
        assert [row[0] for row in await found("&since=2030-01-02&until=2030-01-03")] == ["02", "02"]
        assert [row[2] for row in await found("&provider=soax&offer=tea")] == ["tea"]
        newest = (await served.ask("/api/traffic")).json()["items"]
    assert [row["day"] for row in newest] == ["2030-01-03", "2030-01-02", "2030-01-02", "2030-01-01"]
    assert newest[0]["cost"] == 0
