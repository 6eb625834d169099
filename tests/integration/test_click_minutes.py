"""The rounds record the clicks of each minute; any range of them is read in few buckets. Addresses in their order."""

import json
from typing import Any

from daemon.maintenance.rounds import run_once
from daemon.settings.model import Settings
from tests.integration.databases import PostgresServer, Rows, fresh_database

HITS = """
insert into hits (request_id, offer_name, outcome, reason, location, wait_ms, kind, created_at)
select gen_random_uuid(), 'sale', case when reason is null then 'resolved' else 'fallback' end, reason,
       'http://land.example/', 100 * n, kind, date_trunc('minute', now()) - make_interval(mins => $1::int)
from (values (1, null, 'click'), (2, null, 'click'), (3, 'no_ip', 'click'), (4, null, 'repeat')) as v (n, reason, kind)
"""
NOW = "select floor(extract(epoch from date_trunc('minute', now())))::float8 as at"


async def recorded(rows: Rows) -> list[dict[str, Any]]:
    await run_once(rows.database, Settings())
    return [dict(row) for row in await rows.sql("select * from click_minutes order by minute")]


async def test_each_finished_minute_with_clicks_is_recorded_once_and_late_hits_are_added(
    postgres: PostgresServer,
) -> None:
    async with fresh_database(postgres) as rows:
        assert await recorded(rows) == []
        for minutes in (0, 1, 3, 2_000):  # the current minute is not over, the last one is too long ago
            await rows.sql(HITS, minutes)
        first = await recorded(rows)
        assert [(row["clicks"], row["resolved"], json.loads(row["fallbacks"])) for row in first] == [
            (3, 2, {"no_ip": 1})
        ] * len(first)
        assert len(first) in (2, 3)  # a minute may have passed
        assert (first[0]["wait_p50_ms"], first[0]["trace_p50_ms"]) == (200, None)
        await rows.sql(HITS, 3)
        again = await recorded(rows)
        assert again[0]["clicks"] == 6


async def test_a_range_of_minutes_is_read_in_buckets(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        now_s = await rows.one(NOW)
        await rows.sql(
            "insert into click_minutes (minute, clicks, resolved, fallbacks, wait_p95_ms) select to_timestamp($1) -"
            " make_interval(mins => n), 2, 1, '{\"no_ip\": 1}', n from generate_series(1, 43200) n",
            now_s,
        )
        found = await rows.database.fetch("click_history", now_s - 30 * 86_400, now_s, 3_600)
        assert len(found) in (720, 721)
        assert sum(row["resolved"] for row in found) == 43_200
        assert sum(json.loads(row["fallbacks"])["no_ip"] for row in found) == 43_200
        assert (found[0]["began_s"], found[0]["recorded_s"]) == (now_s - 43_200 * 60, now_s)
        assert found[-2]["wait_p95"] < 120
        assert await rows.database.fetch("click_history", now_s - 90 * 86_400, now_s - 80 * 86_400, 3_600) == []


async def test_addresses_sort_by_number_then_ipv6_then_names(postgres: PostgresServer) -> None:
    expected = [
        "9.0.0.1",
        "10.0.0.2",
        "192.0.2.3",
        "192.0.2.20",
        "::1",
        "2001:db8::2",
        "2001:db8::10",
        "999.a",
        "gate.example",
    ]
    async with fresh_database(postgres) as rows:
        found = await rows.sql("select a from unnest($1::text[]) a order by address_order(a)", sorted(expected))
        assert [row["a"] for row in found] == expected
        odd = [":", "::x", "1.2.3.4.5", "fe80::1%eth0"]  # rows by SQL may hold any text
        assert {row["a"] for row in await rows.sql("select address_order(a) as a from unnest($1::text[]) a", odd)} == {
            f"7{text}" for text in odd
        }
