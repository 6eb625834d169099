"""The rows of the batch lane: which begin ahead, what ends them early, and what is never touched."""

from typing import Any
from uuid import UUID, uuid4

from daemon.trace.batch_rows import add_traces, cancel_traces, traces_of
from tests.integration.databases import PostgresServer, Rows, fresh_database

NODE, OTHER = uuid4(), uuid4()
URLS = [f"https://ads.example/{number}" for number in range(4)]


async def added(rows: Rows, **options: Any) -> list[UUID]:
    async def unit(conn: Any) -> list[UUID]:
        return await add_traces(conn, URLS, "USA", **options)

    return await rows.database.work(unit)


async def cancelled(rows: Rows, **which: Any) -> int:
    async def unit(conn: Any) -> int:
        return await cancel_traces(conn, "cancelled by a test", **which)

    return await rows.database.work(unit)


async def claim(rows: Rows, first: int, last: int, *, without_ahead: bool = False, most: int = 99) -> list[UUID]:
    found = await rows.database.fetch("next_batch_traces", "us", NODE, [], first, last, without_ahead, most)
    return [row["request_id"] for row in found]


async def test_traces_with_now_begin_ahead_and_can_be_left_out(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        usual, ahead = await added(rows), await added(rows, now=True)
        background = await rows.add_trace(priority=1)
        [country] = await rows.database.fetch("batch_countries", NODE)
        assert dict(country) == {"target_country": "us", "priority": 1, "ahead": True}
        found = await rows.database.fetch("next_traces_ahead", "us", NODE, [], 2)
        assert [row["request_id"] for row in found] == ahead[:2]
        assert await claim(rows, 2, 9, without_ahead=True) == usual
        assert await claim(rows, 1, 1) == [background]
        assert set(await claim(rows, 1, 9)) == {background, *usual, *ahead}, "a node claims its own again"


async def test_the_queue_is_counted_by_country_without_background_clicks(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        ids = await added(rows)
        await added(rows, now=True)
        await rows.add_trace(priority=1)
        await rows.sql("update active_trace_requests set status = 'processing' where request_id = $1", ids[0])
        [queue] = await rows.database.fetch("batch_queue")
        assert (queue["country"], queue["waiting"], queue["running"], queue["ahead"]) == ("us", 7, 1, 4)
        assert queue["since_s"] > 0


async def test_a_cancelled_row_ends_at_once_unless_a_node_has_it(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        ids, others = await added(rows), await added(rows)
        click, background = await rows.add_trace(priority=0), await rows.add_trace(priority=1)
        await rows.sql("update active_trace_requests set node_id = $1 where request_id = $2", NODE, ids[0])
        assert await cancelled(rows, ids=[*ids[:2], click, background]) == 2
        assert await cancelled(rows, ids=ids[:2]) == 0, "they are cancelled already"
        [ended] = await rows.database.work(traces_of, ids)
        assert (ended["request_id"], ended["status"], ended["error_message"]) == (
            ids[1],
            "failed",
            "cancelled by a test",
        )
        [late] = await rows.database.fetch("late_batch_traces", [*ids, *others, click, background])
        assert (late["request_id"], late["reason"]) == (ids[0], "cancelled")
        assert await cancelled(rows, country="US") == 6
        left = await rows.sql(
            "select request_id from active_trace_requests where status = 'pending' and node_id is null"
        )
        assert {row["request_id"] for row in left} == {click, background}
        assert await cancelled(rows) == 0


async def test_a_row_whose_time_has_passed_is_not_begun_and_ends(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        late, early = await added(rows, timeout_s=60), await added(rows, timeout_s=600)
        background = await rows.add_trace(priority=1)
        await rows.sql("update active_trace_requests set timeout_at = timeout_at - interval '90 s'")
        await rows.sql("update active_trace_requests set timeout_at = now() - interval '9 s' where priority = 1")
        await rows.sql("update active_trace_requests set node_id = $1 where request_id = $2", OTHER, late[0])
        assert set(await claim(rows, 2, 9)) == set(early)
        ended = await rows.database.fetch("end_late_batch_traces", "too late", 99)
        assert {row["request_id"] for row in ended} == set(late[1:]), (
            "another node ends its own, and background clicks wait"
        )
        found = await rows.database.work(traces_of, late)
        assert {(row["status"], row["error_message"]) for row in found} == {("timeout", "too late")}
        assert await rows.database.work(traces_of, [background]) == []
