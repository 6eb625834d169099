"""A journal whose spool counts commits and can fail, and entries for it."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import trio
import trio.testing

from daemon.control.journal import journal_commands
from daemon.database.postgres import Database
from daemon.journal.entries import Entry, Hit, IpChanged, TraceFinished, TracePending, TraceProcessing, encode
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool, SpooledEntry
from daemon.journal.writer import JournalWriter
from daemon.troubles import Troubles
from tests.integration.databases import Rows
from tests.support.waiting import PATIENCE_S

AT = 1_700_000_000.0


class CountedSpool(Spool):
    """`commits` so far; `broken`: the disk's error."""

    commits = 0
    broken: str | None = None

    def append(self, entries: Sequence[tuple[str, str]], forget_seq: int = 0, applied_seq: int = 0) -> int:
        if self.broken:
            raise sqlite3.OperationalError(self.broken)
        self.commits += bool(entries)
        return super().append(entries, forget_seq, applied_seq)


class Journal:
    def __init__(self, path: Path, database: Database, keep_s: float) -> None:
        self.spool = CountedSpool(path)
        self.writer = JournalWriter(self.spool)
        self.troubles = Troubles()
        self.shipper = Shipper(self.spool, self.writer, database, self.troubles, keep_s=lambda: keep_s)

    async def send_again(self, *ids: int) -> int:
        """Refused entries, all without `ids`. Returns how many."""
        return int((await journal_commands(self.spool, self.writer)["refused_retry"](ids=list(ids)))["entries"])

    async def flush(self) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.shipper.flush()


@asynccontextmanager
async def running_journal(path: Path, database: Database, keep_s: float = 0.0) -> AsyncIterator[Journal]:
    journal = Journal(path, database, keep_s)
    try:
        await journal.shipper.find_position()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.writer.run)
            nursery.start_soon(journal.shipper.run)
            yield journal
            nursery.cancel_scope.cancel()
    finally:
        journal.spool.close()


def hit(**values: Any) -> Hit:
    common: dict[str, Any] = {
        "request_id": uuid4(),
        "offer_id": uuid4(),
        "offer_name": "summer-sale",
        "outcome": "resolved",
        "reason": None,
        "location": "https://shop.example/?gclid=1",
        "visitor_address": "192.0.2.7",
        "user_agent": "Browser/1",
        "referrer": None,
        "wait_ms": 1234,
        "answered_at": AT,
    }
    return Hit(**{**common, **values})


def pending(request_id: UUID, **values: Any) -> TracePending:
    common: dict[str, Any] = {
        "offer_id": uuid4(),
        "tracking_url": "https://ads.example/go",
        "target_country": "us",
        "inbound_params": {"gclid": "1", "tag": ["a", "b"]},
        "started_at": AT,
        "timeout_at": AT + 85,
    }
    return TracePending(request_id, **{**common, **values})


def processing(request_id: UUID) -> TraceProcessing:
    return TraceProcessing(request_id, "198.51.100.1", AT + 1, 1000)


def finished(request_id: UUID) -> TraceFinished:
    hop = {"url": "https://ads.example/go", "status": 302, "ms": 12.5, "kind": "http"}
    params: dict[str, str | list[str]] = {"a": ["1", "2"]}
    return TraceFinished(
        request_id, "completed", AT + 2, "https://shop.example/?a=1&a=2", params, (hop,), None, 900, 1900, 0, 4321
    )


def leased(ip_id: UUID, edit_no: int, **values: Any) -> IpChanged:
    common: dict[str, Any] = {
        "id": ip_id,
        "event": "lease",
        "status": "locked",
        "locked_until": AT + 90,
        "locked_by_request": uuid4(),
        "last_used_at": AT,
        "total_uses": 1,
        "success_count": 0,
        "failure_count": 0,
        "consecutive_failures": 0,
        "is_healthy": True,
        "avg_response_time_ms": None,
        "last_health_check": None,
        "lease_no": 1,
        "edit_no": edit_no,
        "probe_failures": 0,
    }
    return IpChanged(**{**common, **values})


async def edit_no_of(rows: Rows, ip_id: UUID) -> int:
    number = await rows.one("select edit_no from ip_rotation_pool where id = $1", ip_id)
    assert isinstance(number, int)
    return number


def spooled(first_seq: int, *entries: Entry) -> list[SpooledEntry]:
    return [SpooledEntry(first_seq + place, *encode(entry)) for place, entry in enumerate(entries)]
