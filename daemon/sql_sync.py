"""Takes over what operators change by SQL while the daemon runs: IPs, offers, tokens.

PostgreSQL announces each such statement by NOTIFY. An announcement is a hint: any role can send one, and one may be
lost. So all rows are compared after each connect and after an unreadable announcement. Every CHECK_S, or POLL_S behind
a pooler, a fingerprint of the tables is compared. All this takes at most half of the time.
"""

import functools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from sys import intern
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
CHECK_S = 15.0  # without an announcement the connection is tested
POLL_S = 0.5
REST_MAX_S = 5.0
EDIT_NO_MAX = 2**63 - 1
SHOWN_CHARACTERS = 40
LOG_EVERY_S = 60.0
ADOPTING = "taking over edits by SQL"
PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 2.0
REMOVE_S = 30.0  # an actor that starts over may lose the message, but then loads rows without these IPs
CHUNK_IPS = 5_000  # between two turns of the other tasks

log = structlog.get_logger("daemon.pool")


@dataclass(eq=False, repr=False)
class SqlSync:
    """`_remember` writes the offers' rows to the cache file; it may raise OSError.

    `_also`: other channels, with the function to call when their tables may have changed. `_country_of` has each IP's
    country, whose actor has the IP. `compared` is set when all rows have been taken over once.
    """

    _database: Database
    _directory: PoolDirectory
    _offers: Offers
    _now: Callable[[], Moment]
    _troubles: Troubles
    _remember: Callable[[list[dict[str, Any]]], None] = lambda rows: None
    _also: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    _fingerprint: dict[str, Any] = field(default_factory=dict, init=False)
    _logged_s: float = field(default=float("-inf"), init=False)
    _country_of: dict[UUID, str] = field(default_factory=dict, init=False)
    _announcements: Announcements | None = field(default=None, init=False)
    compared: trio.Event = field(default_factory=trio.Event, init=False)

    @property
    def waiting(self) -> int:
        """Received announcements that are not handled yet; at most NOTIFICATIONS_MAX."""
        return self._announcements.received.statistics().current_buffer_used if self._announcements else 0

    async def run(self) -> None:
        """Listens until cancelled; connects again after a pause if the connection is lost."""
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
        """Takes over all current rows, and removes IPs without a row."""
        self._fingerprint = await self._read_fingerprint()  # first, so that later changes are compared again
        for take_over in self._also.values():
            await take_over()
        await self._adopt(await self._database.work(load_ips, self._now()), everything=True)
        await self._load_offers()
        self._troubles.over(ADOPTING)
        self.compared.set()

    async def _unhurried(self, work: Callable[[], Awaitable[None]]) -> None:
        """Pauses as long as `work` took, so that endless announcements do not take all of the daemon's time."""
        began_s = trio.current_time()
        await work()
        await trio.sleep(min(REST_MAX_S, trio.current_time() - began_s))

    async def _follow(self, announcements: Announcements) -> None:
        check_s = POLL_S if announcements.pooled else CHECK_S
        if announcements.pooled:
            log.info("adoption_polls", every_s=POLL_S, why="a pooler before PostgreSQL passes no announcements")
        while True:
            batch = []
            with trio.move_on_after(check_s):
                batch.append(await announcements.received.receive())
            if not batch:
                await announcements.connection.execute("select 1")
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
        """Removes IPs without a row first: a new row may have the same endpoint, which must not be leased twice."""
        payloads = {payload for channel, payload in batch if channel == IPS}
        edits = {payload: edits_in(payload) for payload in payloads - {GONE}}
        if unreadable := [payload for payload, edit in edits.items() if edit is None]:
            self._log_unreadable(unreadable[0])
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
            between = "and edit_no between $1 and $2"
            await self._adopt(await self._database.work(load_ips, self._now(), between, first, last))
        if any(channel == OFFERS for channel, _ in batch):
            await self._load_offers()

    def _log_unreadable(self, payload: str) -> None:
        """At most every LOG_EVERY_S, because any role can send any number of them."""
        now_s = trio.current_time()
        if now_s >= self._logged_s + LOG_EVERY_S:
            self._logged_s = now_s
            log.warning("notification_unreadable", channel=IPS, payload=payload[:SHOWN_CHARACTERS],
                        why="it is not from tracepool's triggers; any role that may connect can send it",
                        effect="all rows are compared")  # fmt: skip

    async def _load_offers(self) -> None:
        before = len(self._offers)
        rows = await self._database.work(load_offers)
        for complaint in self._offers.replace(rows):
            log.warning("offer_value_ignored" if complaint.usable else "offer_unusable", why=complaint.sentence)
        try:
            await trio.to_thread.run_sync(self._remember, rows)
        except OSError as e:
            effect = "a start without PostgreSQL has older offers, or none"
            log.warning("offers_not_remembered", why=str(e), effect=effect)
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
        """Returns when the actors have removed the IPs: an IP that moves to another country must not be in two."""
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


async def load_ips(conn: Connection, now: Moment, condition: str = "", *args: Any) -> list[Ip]:
    """A unit of work: the rows that meet `condition` too, all by default. Saves memory, since there may be 100,000."""
    ips = []
    async for chunk in in_chunks(conn, f"{QUERIES['load_ips']} {condition}", *args, rows=CHUNK_IPS):
        for row in chunk:
            ip = ip_from_row(row, now)
            ip.port, ip.country, ip.provider = intern(ip.port), intern(ip.country), intern(ip.provider)
            ips.append(ip)
    return ips


async def _load_ids(conn: Connection) -> set[UUID]:
    return {row["id"] async for chunk in in_chunks(conn, QUERIES["load_ids"], rows=CHUNK_IPS) for row in chunk}


def edits_in(payload: str) -> tuple[int, int] | None:
    """(first, last) edit number of an announcement by tracepool's triggers; None for any other payload."""
    words = payload.split(" ")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 20 for word in words):
        return None
    first, last = map(int, words)
    return (first, last) if first <= last <= EDIT_NO_MAX else None
