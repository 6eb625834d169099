"""A journal whose spool counts commits and can fail, and entries for it."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import trio
import trio.testing

from daemon.control.journal import journal_commands
from daemon.database.postgres import Database
from daemon.journal.entries import Entry, encode
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool, SpooledEntry
from daemon.journal.writer import JournalWriter
from daemon.troubles import Troubles
from tests.integration.databases import Rows
from tests.support.waiting import PATIENCE_S


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
    async with shipping(journal):
        yield journal


@asynccontextmanager
async def shipping(journal: Journal) -> AsyncIterator[None]:
    try:
        await journal.shipper.find_position()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.writer.run)
            nursery.start_soon(journal.shipper.run)
            yield
            nursery.cancel_scope.cancel()
    finally:
        journal.spool.close()


async def edit_no_of(rows: Rows, ip_id: UUID) -> int:
    number = await rows.one("select edit_no from ip_rotation_pool where id = $1", ip_id)
    assert isinstance(number, int)
    return number


def spooled(first_seq: int, *entries: Entry) -> list[SpooledEntry]:
    return [SpooledEntry(first_seq + place, *encode(entry)) for place, entry in enumerate(entries)]
