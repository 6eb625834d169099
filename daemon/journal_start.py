"""Opens the journal, and ships it once this node has joined.

While the disk of the state directory refuses writes, the daemon starts as far as it can. Clicks of the offers that are
known then get their fallbacks: a lease must be on disk before its first hop, so nothing is traced. The hits stay in the
writer's memory. With `database.url` they are written to PostgreSQL directly: a hit is inserted once, however often it
is sent. Everything else follows without a restart once the disk takes writes again.
"""

import functools
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
import trio

from daemon.database.connect import RETRY_S, reached_database, retry_until_available
from daemon.database.failures import REFUSALS
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseUnavailable, DiskUnavailable, NodeDisplaced
from daemon.host.clocks import read_boot_clock
from daemon.host.state_dir import DISK_ERRORS, StateDir
from daemon.journal.entries import KINDS, Hit, TracePending, TraceQueued
from daemon.journal.forgetting import without_forgotten
from daemon.journal.shipper import Shipper
from daemon.journal.spool import FILE, Spool, SpooledEntry
from daemon.journal.writer import JournalWriter
from daemon.nodes.clones import taken_row
from daemon.nodes.identity import Identity, NodeListener
from daemon.nodes.member import Member
from daemon.nodes.membership import quiet_s
from daemon.offers.model import Offers
from daemon.offers.store import load_offers
from daemon.restarts import restarted
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles

OPENING = "opening the journal"
WRITING = "writing hits without the journal"
EFFECT = "clicks of known offers fall back; their hits are kept in memory"
SHIP_S = 3.0
SHIP_EACH_S = 1.0
SHIP_LAST_S = 3.0
HITS_MAX = 2_000

log = structlog.get_logger("daemon.journal")


@dataclass(frozen=True, slots=True)
class NodeJournal:
    spool: Spool
    writer: JournalWriter
    shipper: Shipper
    member: Member


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
        await writer.close()


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
        log_copied(spool)
    writer.attach(spool)
    return spool


def log_copied(spool: Spool) -> None:
    log.warning("state_directory_copied", file=str(spool.path), node_id=str(spool.node_id),
                effect="this daemon is a new node: it sends the hits and traces that the copy has, and takes IPs of"
                " its own; those of the original node stay with it until it is lost",
                next="if the original runs no more: tracepool nodes remove, with its name")  # fmt: skip


async def original_or_copy(spool: Spool, database: Database) -> int | None:
    """Makes the spool a new node's if it is a clone and the original runs. Raises DatabaseUnavailable.

    Returns the epoch of the node's row if this run has taken it before it joins, see nodes/clones.py.
    """
    if not spool.may_be_copy:
        return None
    epoch = await taken_row(database, spool.node_id)
    if epoch is None:
        await trio.to_thread.run_sync(spool.become_copy)
        log_copied(spool)
    else:
        await trio.to_thread.run_sync(spool.is_original)
    return epoch or None


def days_kept(settings: Settings) -> dict[str, float]:
    """By the kinds of entries that make rows which are removed by their age."""
    kept = settings.retention
    return {KINDS[Hit]: kept.hits_days} | dict.fromkeys((KINDS[TracePending], KINDS[TraceQueued]), kept.traces_days)


@asynccontextmanager
async def journal_shipped(
    live: LiveSettings,
    spool: Spool,
    writer: JournalWriter,
    database: Database,
    offers: Offers,
    troubles: Troubles,
    on_displaced: Callable[[NodeDisplaced], None] = lambda error: None,
) -> AsyncIterator[NodeJournal]:
    """The whole journal. Yields when this node has joined and all that an earlier run left in the spool is shipped.

    The offers are loaded first, so that clicks fall back to their URLs while this node cannot join. Its hits and traces
    are shipped even then. On exit this node leaves, unless something stays in the spool. If another run with this node
    id has displaced it (`on_displaced`), the spool becomes a new node's for the next start.
    """
    with suppress(DatabaseUnavailable):  # the offers of the cache file serve; the next step reports the error
        offers.replace(await database.work(load_offers))

    def keep_s() -> float:  # entries about IPs in cooldown are kept at least as long as the cooldown
        settings = live.current
        return max(settings.journal.keep_s, settings.pool.lock_s + settings.pool.cooldown_s)

    def quiet() -> float:
        return quiet_s(live.current.pool.lock_s, live.current.pool.cooldown_s)

    node, alone, epoch = live.current.node, live.current.database.url is None, None
    if not alone:  # with its own database, a clone of the machine has a clone of the database
        epoch = await retry_until_available(lambda: original_or_copy(spool, database), troubles)
    identity = Identity(spool.node_id, node.shown_name(), spool.epoch, node.trust_s, quiet)
    member = Member(
        database, identity, troubles, read_boot_clock, alone=alone, taken_epoch=epoch, on_displaced=on_displaced
    )
    shipper = Shipper(
        spool, writer, database, troubles, keep_s=keep_s, claim=member.claim, days_kept=lambda: days_kept(live.current)
    )

    async def ship() -> None:
        await member.decided.wait()
        await shipper.run()

    await retry_until_available(shipper.find_position, troubles)
    if shipper.has_found_loss:
        member.doubt.rows_lost()
    member.subscribe(NodeListener(ips_lost=shipper.discard_states))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restarted, "shipper", ship)
            await member.join()
            nursery.start_soon(restarted, "membership", member.run)
            await shipper.flush()
            yield NodeJournal(spool, writer, shipper, member)
            with trio.move_on_after(0 if member.is_displaced else SHIP_S) as shipping:
                await writer.durable()
                await shipper.flush()
            nursery.cancel_scope.cancel()
    finally:
        if member.is_displaced:
            with trio.CancelScope(shield=True):
                await writer.durable()  # with the last note of what was applied, which is no note of the new node
                await trio.to_thread.run_sync(functools.partial(spool.become_copy, all_facts=True))
    if member.is_displaced:
        return
    if shipping.cancelled_caught:
        log.warning("not_all_shipped", effect="the next start ships the rest from the spool")
    else:
        await member.leave()


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
    batch = [SpooledEntry(number, KINDS[Hit], body) for number, body in enumerate(bodies)]
    kept = await without_forgotten(conn, batch) or batch
    await conn.execute(QUERIES["apply_hit"], f"[{','.join(entry.body for entry in kept)}]", None)
