"""Blanks what this node's spool has of forgotten people, also in entries that PostgreSQL has or has refused.

The shipper blanks entries on their way in any case (forgetting.py); this is for the file on the disk.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from uuid import UUID

import structlog
import trio

from daemon.database.postgres import Database
from daemon.journal.forgetting import blanked_entries
from daemon.journal.personal import Person, people_of
from daemon.journal.refused import PREFIX
from daemon.journal.spool import Spool, SpooledEntry

CHANNEL = "tracepool_forget"
ENTRIES_AT_ONCE = 1_000

log = structlog.get_logger("daemon.journal")


class SpoolForgetting:
    """`take` blanks the spool for each request that is new to this run."""

    def __init__(self, spool: Spool, database: Database) -> None:
        self._spool = spool
        self._database = database
        self._done_id = 0  # the last request that was taken

    async def take(self) -> None:
        """Raises DatabaseUnavailable."""
        rows = await self._database.fetch("new_forget_requests", self._done_id)
        if not rows:
            return
        known = frozenset(row["request_id"] for row in await self._database.fetch("forgotten_clicks"))
        changed = await trio.to_thread.run_sync(blank_spool, self._spool, people_of(rows), known)
        self._done_id = max(row["id"] for row in rows)
        if changed:
            log.info("spool_forgot", entries=changed, requests=len(rows))


def blank_spool(spool: Spool, people: Collection[Person], known: frozenset[UUID]) -> int:
    """Returns how many entries have changed. Synchronous; raises sqlite3.Error."""
    clicks = set(known)  # first all of them: an entry of a trace does not name the visitor
    for _, entries in _pages(spool):
        clicks |= blanked_entries(entries, people, frozenset())[0]
    changed = 0
    for table, entries in _pages(spool):
        _, after = blanked_entries(entries, people, frozenset(clicks))
        bodies = {new.seq: new.body for new, old in zip(after, entries, strict=True) if new.body != old.body}
        if bodies:
            spool.replace(table, bodies)
        changed += len(bodies)
    return changed


def _pages(spool: Spool) -> Iterator[tuple[str, list[SpooledEntry]]]:
    """(table, entries with their kinds, whether refused or not)."""
    after_seq = 0
    while entries := spool.read(after_seq, ENTRIES_AT_ONCE):
        after_seq = entries[-1].seq
        yield "entries", [replace(entry, kind=entry.kind.removeprefix(PREFIX)) for entry in entries]
    refused = [SpooledEntry(entry.id, entry.kind, entry.body) for entry in spool.refused_entries()]
    yield "refused", refused
