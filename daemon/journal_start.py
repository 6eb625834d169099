"""Opens the journal. While the disk of the state directory refuses writes, the daemon starts as far as it can.

Clicks of the offers that are known then get their fallbacks: a lease must be on disk before its first hop, so nothing
is traced. The hits stay in the writer's memory. With `database.url` they are written to PostgreSQL directly: a hit is
inserted once, however often it is sent. Everything else follows without a restart once the disk takes writes again.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from daemon.database.connect import RETRY_S, reached_database
from daemon.database.failures import REFUSALS
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseUnavailable, DiskUnavailable
from daemon.host.state_dir import DISK_ERRORS, StateDir
from daemon.journal.spool import FILE, Spool
from daemon.journal.writer import JournalWriter
from daemon.offers.model import Offers
from daemon.offers.store import load_offers
from daemon.settings.model import Settings
from daemon.troubles import Troubles

OPENING = "opening the journal"
WRITING = "writing hits without the journal"
EFFECT = "clicks of known offers fall back; their hits are kept in memory"
SHIP_EACH_S = 1.0
SHIP_LAST_S = 3.0
HITS_MAX = 2_000

log = structlog.get_logger("daemon.journal")


@asynccontextmanager
async def journal_written() -> AsyncIterator[JournalWriter]:
    """A writer that has no spool yet. On exit, all recorded entries are on disk, or counted as dropped."""
    writer = JournalWriter()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            yield writer
            nursery.cancel_scope.cancel()
    finally:
        writer.close()


async def spool_opened(
    settings: Settings, state_dir: StateDir, writer: JournalWriter, offers: Offers, troubles: Troubles
) -> Spool:
    """Returns the spool, attached to `writer`, once the disk takes it. Raises AlreadyRunning and BadSettings."""
    path = settings.state_dir / FILE

    def open_spool() -> Spool:
        try:
            state_dir.hold()
            return Spool(path, settings.journal.spool_bytes_max)
        except sqlite3.OperationalError as e:
            raise DiskUnavailable(f"{path}: {e}") from e
        except sqlite3.Error as e:
            raise DiskUnavailable(f"{path}: {e}", f"move {path} away, or restore it from a backup") from e
        except OSError as e:
            if e.errno not in DISK_ERRORS:
                raise
            raise DiskUnavailable(f"{path}: {e.strerror}") from e

    async with trio.open_nursery() as nursery:
        is_first = True
        while True:
            try:
                spool = await trio.to_thread.run_sync(open_spool)
                break
            except DiskUnavailable as e:
                troubles.note(OPENING, e, effect=EFFECT)
                if is_first and settings.database.url is not None:
                    nursery.start_soon(_ship_hits, settings, writer, offers, troubles)
                is_first = False
                await trio.sleep(RETRY_S)
        nursery.cancel_scope.cancel()
    troubles.over(OPENING)
    troubles.over(WRITING)
    if spool.is_copy:
        log.warning("state_directory_copied", file=str(path), node_id=str(spool.node_id),
                    effect="this daemon is a new node: it sends the hits and traces that the copy has, and takes IPs of"
                    " its own; those of the original node stay with it until it is lost",
                    next="if the original runs no more: tracepool nodes remove, with its name")  # fmt: skip
    writer.attach(spool)
    return spool


async def _ship_hits(settings: Settings, writer: JournalWriter, offers: Offers, troubles: Troubles) -> None:
    """Loads the current offers, and writes hits to PostgreSQL until cancelled."""
    async with reached_database(settings, troubles) as database:
        try:
            offers.replace(await database.work(load_offers))
        except DatabaseUnavailable as e:
            log.warning("offers_not_loaded", why=str(e), effect="the offers of the cache file serve")
        refused: set[int] = set()
        try:
            while True:
                await _ship(database, writer, refused, troubles)
                await trio.sleep(SHIP_EACH_S)
        finally:
            with trio.move_on_after(SHIP_LAST_S, shield=True):
                await _ship(database, writer, refused, troubles)


async def _ship(database: Database, writer: JournalWriter, refused: set[int], troubles: Troubles) -> None:
    """`refused`: the hits that PostgreSQL refused, by identity; they wait for the journal, which keeps such entries."""
    while hits := [hit for hit in writer.pending_hits(HITS_MAX) if id(hit) not in refused]:
        try:
            await database.work(_apply_hits, [body for _, body in hits], own=True)
        except DatabaseUnavailable as e:
            troubles.note(WRITING, e, effect="the hits stay in memory")
            return
        except REFUSALS:
            for hit in hits:
                try:
                    await database.work(_apply_hits, [hit[1]], own=True)
                except REFUSALS:
                    refused.add(id(hit))
                else:
                    writer.forget([hit])
        else:
            writer.forget(hits)
        troubles.over(WRITING)


async def _apply_hits(conn: Connection, bodies: list[str]) -> None:
    await conn.execute(QUERIES["apply_hit"], f"[{','.join(bodies)}]")
