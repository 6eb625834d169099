"""Forgets a person in the tables, and in entries of the journal that reach them later. Units of work.

`begin` stores a digest of the person first. A batch of entries (lane.py) reads the digests in its own transaction, and
`begin` waits until the transactions before it have ended. So each row is either in the tables when `forget` reads them,
or its entry is compared with the digest. A click that is forgotten is noted by its request id, because the entries of
its trace do not name the visitor.
"""

import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from daemon.database.postgres import Connection, in_chunks
from daemon.database.queries import QUERIES
from daemon.journal.entries import KINDS, Hit, TraceFinished, TracePending, TraceQueued
from daemon.journal.personal import HOPS, PARAMS, Kind, Person, blanked, is_about, pattern_of, people_of, person_of
from daemon.journal.refused import REQUEST_ID
from daemon.journal.spool import PASSED_OVER, SpooledEntry

ROWS_AT_ONCE = 500
PERSONAL = tuple(KINDS[kind] for kind in (TracePending, TraceQueued, TraceFinished, Hit))
"""The kinds of entries that have something of a visitor."""
QUEUED = KINDS[TraceQueued]
_JSON = (*PARAMS, HOPS)


@dataclass(frozen=True, slots=True)
class Found:
    """The clicks of a person: the ids of hits and of traces."""

    hits: frozenset[UUID]
    traces: frozenset[UUID]

    @property
    def clicks(self) -> frozenset[UUID]:
        return self.hits | self.traces


async def find(conn: Connection, kind: Kind, value: str) -> Found:
    """The hits and traces of a person. Reads the whole tables: no index has what it compares."""
    person = [person_of(kind, value)]
    if kind == "visitor":
        hits = {row["request_id"] for row in await conn.fetch(QUERIES["hits_of_visitor"], value)}
        traces: set[UUID] = set()
    else:
        pattern = pattern_of(value)
        hits = {i async for i in _matching(conn, "hits_with_text", pattern, person)}
        traces = {i async for i in _matching(conn, "traces_with_text", pattern, person)}
    clicks = list(hits | traces)
    return Found(
        frozenset(row["request_id"] for row in await conn.fetch(QUERIES["hits_of_clicks"], clicks)),
        frozenset(row["request_id"] for row in await conn.fetch(QUERIES["traces_of_clicks"], clicks)),
    )


async def _matching(conn: Connection, query: str, pattern: str, person: list[Person]) -> AsyncIterator[UUID]:
    async for rows in in_chunks(conn, QUERIES[query], pattern, rows=ROWS_AT_ONCE):
        for row in rows:
            if is_about(_read(row), person):
                yield row["request_id"]


async def begin(conn: Connection, kind: Kind, value: str) -> None:
    """From the end of this transaction on, entries of the person are blanked before they are applied."""
    await conn.execute("lock table forget_requests in access exclusive mode")
    await conn.execute(QUERIES["add_forget_request"], kind, person_of(kind, value).digest)


async def forget(conn: Connection, kind: Kind, value: str) -> Found:
    """Blanks the rows of a person. Call it after `begin`, in a transaction of its own."""
    found = await find(conn, kind, value)
    await _blank(conn, found.clicks)
    return found


async def without_forgotten(conn: Connection, batch: Sequence[SpooledEntry]) -> list[SpooledEntry] | None:
    """The batch with the entries of forgotten people blanked; None if there are none.

    Rows of the same clicks that are in the tables already are blanked too.
    """
    people = people_of(await conn.fetch(QUERIES["forget_requests"]))
    if not people:
        return None
    ids = [UUID(entry.body[REQUEST_ID]) for entry in batch if entry.kind in PERSONAL]
    known = {row["request_id"] for row in await conn.fetch(QUERIES["forgotten_among"], ids)}
    gone, kept = blanked_entries(batch, people, frozenset(known))
    if new := gone - known:
        await _blank(conn, new)
    return [_without_queued(entry, gone) for entry in kept] if gone else None


def _without_queued(entry: SpooledEntry, gone: Collection[UUID]) -> SpooledEntry:
    """A trace that nobody has begun is given up: its URL is blanked."""
    is_given_up = entry.kind == QUEUED and UUID(entry.body[REQUEST_ID]) in gone
    return SpooledEntry(entry.seq, PASSED_OVER, "{}") if is_given_up else entry


def blanked_entries(
    batch: Sequence[SpooledEntry], people: Collection[Person], known: frozenset[UUID]
) -> tuple[frozenset[UUID], list[SpooledEntry]]:
    """The clicks in the batch that are about these people, or are known; and the batch with their entries blanked."""
    read = {entry.seq: json.loads(entry.body) for entry in batch if entry.kind in PERSONAL}
    gone = known | {UUID(body["request_id"]) for body in read.values() if is_about(body, people)}
    return gone, [
        replace(entry, body=json.dumps(blanked(body), separators=(",", ":")))
        if (body := read.get(entry.seq)) is not None and UUID(body["request_id"]) in gone
        else entry
        for entry in batch
    ]


async def _blank(conn: Connection, clicks: Collection[UUID]) -> None:
    """Blanks the rows of these clicks, and notes the clicks as forgotten."""
    ids = list(clicks)
    await conn.execute(QUERIES["note_forgotten"], ids)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = ids[start : start + ROWS_AT_ONCE]
        for select, update in (("hits_of_clicks", "blank_hits"), ("traces_of_clicks", "blank_traces")):
            rows = [blanked(_read(row)) for row in await conn.fetch(QUERIES[select], some)]
            if rows:
                await conn.execute(QUERIES[update], json.dumps(rows, default=str))


def _read(row: Any) -> dict[str, Any]:
    """The row with its JSON columns parsed."""
    return {name: json.loads(value) if name in _JSON and value is not None else value for name, value in row.items()}
