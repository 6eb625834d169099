"""What operators change by SQL reaches the running daemon here: IPs join, change and leave, offers come and go.

PostgreSQL announces each such statement. An announcement is a hint: any role can send one, and one may be lost. So what
cannot be read means "compare everything", as does the first moment after each (re)connect; every CHECK_S, and every
POLL_S behind a pooler, a fingerprint of the tables is compared. No more than half of the time goes into all that.
"""

import functools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from sys import intern
from types import MappingProxyType
from typing import Any
from uuid import UUID

import structlog
import trio

from daemon.clock import Moment
from daemon.countries import canonical
from daemon.database.postgres import Announcements, Connection, Database, in_chunks
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseUnavailable
from daemon.offers.model import Offers
from daemon.offers.store import load_offers
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Adopt, Remove
from daemon.pool.rows import ip_from_row
from daemon.pool.states import Ip
from daemon.troubles import Troubles

IPS, OFFERS, GONE = "tracepool_ips", "tracepool_offers", "gone"
CHECK_S = 15.0  # a connection that hears nothing is asked whether it is still there
POLL_S = 0.5
REST_MAX_S = 5.0
EDIT_NO_MAX = 2**63 - 1
SHOWN = 40
SAID_EVERY_S = 60.0
COMPARED = "all rows are compared"
ADOPTING = "taking over edits by SQL"
PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 2.0
REMOVE_S = 30.0  # an actor that starts over may lose the message; what it then loads has no such row
CHUNK_IPS = 5_000  # adopted between two turns of the other tasks

log = structlog.get_logger("daemon.pool")


class SqlSync:
    """`country_of` each known IP: the actor that has it."""

    def __init__(
        self,
        database: Database,
        directory: PoolDirectory,
        offers: Offers,
        now: Callable[[], Moment],
        troubles: Troubles,
        remember: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
        also: Mapping[str, Callable[[], Awaitable[None]]] = MappingProxyType({}),
    ) -> None:
        """`remember` keeps the offers' rows for a start without PostgreSQL; it may raise OSError.

        `also`: channels of other tables, and what to do when theirs have changed, or may have.
        """
        self._remember = remember
        self._also = also
        self._database = database
        self._directory = directory
        self._offers = offers
        self._now = now
        self._troubles = troubles
        self._fingerprint: dict[str, Any] = {}
        self._said_s = float("-inf")
        self._country_of: dict[UUID, str] = {}
        self._announcements: Announcements | None = None
        self.compared = trio.Event()  # set once the rows have been taken over for the first time

    @property
    def waiting(self) -> int:
        """Announcements that have come and are not taken yet; NOTIFICATIONS_MAX at most."""
        return self._announcements.received.statistics().current_buffer_used if self._announcements else 0

    async def run(self) -> None:
        """Listens until cancelled, starting over with a pause whenever the connection is lost."""
        pause_s = PAUSE_MIN_S
        while True:
            try:
                async with self._database.listen(IPS, OFFERS, *self._also) as announcements:
                    await self._unhurried(self.compare)
                    self._announcements = announcements
                    pause_s = PAUSE_MIN_S
                    await self._follow(announcements)
            except trio.EndOfChannel:
                log.warning("adoption_listens_again", why="the connection was lost, or too much was announced at once")
            except DatabaseUnavailable as e:
                self._troubles.note(ADOPTING, e, effect="edits by SQL wait; clicks go on")
            await trio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, 2 * pause_s)

    async def compare(self) -> None:
        """Takes over all rows as they stand; IPs without a row leave."""
        self._fingerprint = await self._read_fingerprint()  # first: what changes meanwhile is compared again
        for take_over in self._also.values():
            await take_over()
        await self._adopt(await self._database.work(load_ips, self._now()), everything=True)
        await self._load_offers()
        self._troubles.over(ADOPTING)
        self.compared.set()

    async def _unhurried(self, work: Callable[[], Awaitable[None]]) -> None:
        """Rests as long as the work took: announcements without end must not take all of the daemon's time."""
        began_s = trio.current_time()
        await work()
        await trio.sleep(min(REST_MAX_S, trio.current_time() - began_s))

    async def _follow(self, announcements: Announcements) -> None:
        check_s = POLL_S if announcements.pooled else CHECK_S
        if announcements.pooled:
            log.info("adoption_polls", every_s=POLL_S, why="a pooler stands before PostgreSQL: it announces nothing")
        while True:
            batch = []
            with trio.move_on_after(check_s):
                batch.append(await announcements.received.receive())
            if not batch:
                await announcements.test_connection()
                if await self._read_fingerprint() != self._fingerprint:
                    await self._unhurried(self.compare)
            try:
                while True:
                    batch.append(announcements.received.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                if batch:
                    await self._unhurried(functools.partial(self._take, batch))

    async def _read_fingerprint(self) -> dict[str, Any]:
        [row] = await self._database.fetch("fingerprint")
        return row

    async def _take(self, batch: list[tuple[str, str]]) -> None:
        """IPs without a row leave first: a row in their place may have the same address, never to be leased twice."""
        payloads = {payload for channel, payload in batch if channel == IPS}
        edits = {payload: edits_in(payload) for payload in payloads - {GONE}}
        if unreadable := [payload for payload, edit in edits.items() if edit is None]:
            self._say_unreadable(unreadable[0])
            await self.compare()
            return
        self._fingerprint = await self._read_fingerprint()
        for announced in self._also.keys() & {channel for channel, _ in batch}:
            await self._also[announced]()
        if GONE in payloads:
            await self._remove(set(self._country_of) - await self._database.work(_load_ids))
        edited = [edit for edit in edits.values() if edit is not None]
        if edited:
            first, last = min(e[0] for e in edited), max(e[1] for e in edited)
            between = "where edit_no between $1 and $2"
            await self._adopt(await self._database.work(load_ips, self._now(), between, first, last))
        if any(channel == OFFERS for channel, _ in batch):
            await self._load_offers()

    def _say_unreadable(self, payload: str) -> None:
        """At most each SAID_EVERY_S: any role can send as many as it likes."""
        now_s = trio.current_time()
        if now_s >= self._said_s + SAID_EVERY_S:
            self._said_s = now_s
            why = "tracepool's triggers send no such thing; any role that may connect can"
            log.warning("notification_unreadable", channel=IPS, payload=payload[:SHOWN], why=why, effect=COMPARED)

    async def _load_offers(self) -> None:
        before = len(self._offers)
        rows = await self._database.work(load_offers)
        for complaint in self._offers.replace(rows):
            log.warning("offer_value_ignored" if complaint.usable else "offer_unusable", why=complaint.sentence)
        try:
            await trio.to_thread.run_sync(self._remember, rows)
        except OSError as e:
            log.warning(
                "offers_not_remembered", why=str(e), effect="a start without PostgreSQL has older offers, or none"
            )
        log.info("offers_adopted", active=len(self._offers), before=before)

    async def _adopt(self, rows: list[Ip], *, everything: bool = False) -> None:
        by_country: dict[str, list[Ip]] = defaultdict(list)
        moved = set()
        for ip in rows:
            country = canonical(ip.country)
            by_country[country].append(ip)
            if self._country_of.get(ip.id, country) != country:
                moved.add(ip.id)
        if everything:
            moved |= set(self._country_of) - {ip.id for ip in rows}
        await self._remove(moved)
        for country, ips in by_country.items():
            self._country_of.update((ip.id, country) for ip in ips)
            handle = self._directory.known(country)
            if handle is None:
                self._directory.open(country, ips)
                continue
            for at in range(0, len(ips), CHUNK_IPS):
                await handle.mailbox.send(Adopt(tuple(ips[at : at + CHUNK_IPS])))
        if rows:
            log.info("ips_adopted", countries={country: len(ips) for country, ips in by_country.items()})

    async def _remove(self, ip_ids: set[UUID]) -> None:
        """Returns once the actors have let go: an IP that moves to another country must not be in two."""
        by_country: dict[str, list[UUID]] = defaultdict(list)
        for ip_id in ip_ids:
            by_country[self._country_of.pop(ip_id)].append(ip_id)
        for country, gone in by_country.items():
            handle = self._directory.known(country)
            if handle is None:
                continue
            done = trio.Event()
            await handle.mailbox.send(Remove(tuple(gone), done.set))
            with trio.move_on_after(REMOVE_S):
                await done.wait()
        if ip_ids:
            log.info("ips_removed", countries={country: len(gone) for country, gone in by_country.items()})


async def load_ips(conn: Connection, now: Moment, where: str = "", *args: Any) -> list[Ip]:
    """A unit of work: the rows that `where` selects, all without it.

    Rows are turned into IPs as they come, and texts that are alike are kept once: there may be 100,000.
    """
    ips = []
    async for chunk in in_chunks(conn, f"{QUERIES['load_ips']} {where}", *args, rows=CHUNK_IPS):
        for row in chunk:
            ip = ip_from_row(row, now)
            ip.port, ip.country, ip.provider = intern(ip.port), intern(ip.country), intern(ip.provider)
            ips.append(ip)
    return ips


async def _load_ids(conn: Connection) -> set[UUID]:
    return {row["id"] async for chunk in in_chunks(conn, QUERIES["load_ids"], rows=CHUNK_IPS) for row in chunk}


def edits_in(payload: str) -> tuple[int, int] | None:
    """The edit numbers, first and last, that tracepool's triggers announce; None for anything else."""
    words = payload.split(" ")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 20 for word in words):
        return None
    first, last = map(int, words)
    return (first, last) if first <= last <= EDIT_NO_MAX else None
