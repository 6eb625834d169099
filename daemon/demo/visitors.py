"""The demo's visitors: real HTTP clicks, all at once, and what became of each by its hit, its trace and the network."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import trio

from daemon.database.postgres import Connection, Database
from daemon.demo.events import EventLog
from daemon.demo.showcase import ClickResult, Offer, hops_of

ANSWER_S = 30.0  # far above any deadline of the demo
ROWS_S = 5.0
ROWS_POLL_S = 0.03
LATER_SHOWN_MAX = 20
_HIT = """
select h.outcome, h.reason, t.ip_assigned from hits h left join active_trace_requests t using (request_id)
where h.request_id = $1
"""
# Overlapping by some seconds, since rows of one moment may arrive in two batches.
_LATER = """
select h.request_id, h.created_at, h.offer_name, h.outcome, h.reason, h.location, h.wait_ms, t.ip_assigned
from hits h left join active_trace_requests t using (request_id)
where h.created_at > $1::timestamptz - interval '5 seconds' order by h.created_at desc limit $2
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a visitor got. Times are readings of CLOCK_MONOTONIC, as in the network's log."""

    sent_s: float
    answered_s: float
    request_id: UUID | None
    location: str | None


@dataclass(frozen=True, slots=True)
class LaterClick:
    """A click that somebody made while the demo goes on serving."""

    request_id: UUID
    created_at: datetime
    offer: str
    outcome: str
    reason: str | None
    location: str
    wait_ms: int
    ip: str | None


async def send_clicks(
    url: str, offers: Sequence[Offer], database: Database, seen: EventLog, tell: Callable[[int, ClickResult], None]
) -> list[ClickResult]:
    """One click for each of `offers`, at the same moment; `tell` hears of each when it has ended. In their order."""
    results: dict[int, ClickResult] = {}

    async def one(client: httpx.AsyncClient, number: int, offer: Offer) -> None:
        gclid = f"demo-{number + 1}"
        answer = await _click(client, url, offer.name, gclid)
        results[number] = await _result(answer, offer, gclid, database, seen)
        tell(number, results[number])

    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=ANSWER_S) as client,
        trio.open_nursery() as nursery,
    ):
        for number, offer in enumerate(offers):
            nursery.start_soon(one, client, number, offer)
    return [results[number] for number in range(len(offers))]


async def _click(client: httpx.AsyncClient, url: str, offer: str, gclid: str) -> Answer:
    sent_s = time.monotonic()
    try:
        response = await client.get(f"{url}/track-hit", params={"offer": offer, "gclid": gclid})
    except httpx.HTTPError:
        return Answer(sent_s, time.monotonic(), None, None)
    request_id = response.headers.get("x-request-id")
    location = response.headers.get("location") if response.status_code == 302 else None
    return Answer(sent_s, time.monotonic(), UUID(request_id) if request_id else None, location)


async def _result(answer: Answer, offer: Offer, gclid: str, database: Database, seen: EventLog) -> ClickResult:
    row = await _row(answer.request_id, database) if answer.request_id else None
    ip = row["ip_assigned"] if row else None
    hops = hops_of(seen.of_origin(), ip, answer.sent_s, answer.answered_s) if ip else []
    return ClickResult(
        offer=offer.name,
        country=offer.country,
        gclid=gclid,
        ip=ip,
        hops=len(hops),
        wait_ms=round((answer.answered_s - answer.sent_s) * 1000),
        outcome=row["outcome"] if row else None,
        reason=row["reason"] if row else None,
        location=answer.location,
    )


async def _row(request_id: UUID, database: Database) -> Any:
    """The hit with the trace's IP, both of which the journal brings within moments; None if the hit does not come."""

    async def unit(conn: Connection) -> Any:
        return await conn.fetchrow(_HIT, request_id)

    row = None
    with trio.move_on_after(ROWS_S):
        while row is None or row["ip_assigned"] is None:
            row = await database.work(unit) or row
            await trio.sleep(ROWS_POLL_S)
    return row


async def later_clicks(database: Database, since: datetime) -> list[LaterClick]:
    """The newest clicks since shortly before then, oldest first."""

    async def unit(conn: Connection) -> list[Any]:
        return list(await conn.fetch(_LATER, since, LATER_SHOWN_MAX))

    return [LaterClick(*row) for row in reversed(await database.work(unit))]
