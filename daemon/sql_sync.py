"""Takes over what changes in the tables while the daemon runs: IPs, offers, tokens. Operators change them, and nodes.

IPs without an owner are taken, and this node's rows are adopted (nodes/owned.py): also those that another node gave. A
row that is this node's no longer is removed like a deleted one.

PostgreSQL announces each such statement by NOTIFY. An announcement is a hint: any role can send one, and one may be
lost. So all rows are compared after each connect, after each join and after an unreadable announcement. Every CHECK_S,
or POLL_S behind a pooler, a fingerprint of the tables is compared. All this takes at most half of the time.
"""

import functools
import math
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
import trio

from daemon.clock import Moment
from daemon.countries import canonical
from daemon.database.postgres import Announcements, Database
from daemon.departures import Departures
from daemon.errors import DatabaseOccupied, DatabaseUnavailable
from daemon.nodes.member import Member
from daemon.nodes.owned import CHUNK_IPS, Edits, Reading, read_all, read_edited, read_fingerprint, read_ids, take
from daemon.offers.model import Offers
from daemon.offers.store import load_offers
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Adopt, Remove
from daemon.pool.states import Ip
from daemon.troubles import Troubles

IPS, OFFERS, NODES, GONE = "tracepool_ips", "tracepool_offers", "tracepool_nodes", "gone"
ADDRESSEE = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EDITED = ("ips", "edits", "offers", "tokens", "forgets")
"""What an edit changes in a fingerprint."""
CHECK_S = 15.0  # without an announcement the connection is tested
POLL_S = 0.5
REST_MAX_S = 5.0
EDIT_NO_MAX = 2**63 - 1
SHOWN_CHARACTERS = 40
LOG_EVERY_S = 60.0
ADOPTING = "taking over edits by SQL"
PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 2.0
REMOVE_S = 30.0  # an actor that starts over may lose the message, but then loads rows without these IPs

log = structlog.get_logger("daemon.pool")


@dataclass(eq=False, repr=False)
class SqlSync:
    """`_remember` writes the offers' rows to the cache file; it may raise OSError.

    `_also`: other channels, with the function to call when their tables may have changed. `_country_of` has each IP's
    country, whose actor has the IP. `_fingerprint`: empty, or that of the tables as they were compared last. `compared`
    is set when all rows have been taken over once.
    """

    _member: Member
    _database: Database
    _directory: PoolDirectory
    _offers: Offers
    _now: Callable[[], Moment]
    _troubles: Troubles
    _remember: Callable[[list[dict[str, Any]]], None] = lambda rows: None
    _also: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    _departures: Departures | None = None
    _fingerprint: Mapping[str, Any] = field(default_factory=dict, init=False)
    _logged_s: float = field(default=float("-inf"), init=False)
    _country_of: dict[UUID, str] = field(default_factory=dict, init=False)
    _announcements: Announcements | None = field(default=None, init=False)
    _is_due: bool = field(default=False, init=False)  # a comparison of all rows, at once
    _pausing: trio.CancelScope = field(default_factory=trio.CancelScope, init=False)
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
                async with self._database.listen(IPS, OFFERS, NODES, *self._also) as announcements:
                    await self._unhurried(self.compare)
                    self._announcements = announcements
                    pause_s = PAUSE_MIN_S
                    await self._follow(announcements)
            except trio.EndOfChannel:
                log.warning("adoption_listens_again", why="the connection was lost, or too much was announced at once")
            except DatabaseOccupied:
                self._member.hurry()  # and wait for the next claim
            except DatabaseUnavailable as e:
                self._troubles.note(ADOPTING, e, effect="edits by SQL wait; clicks go on")
            await trio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, 2 * pause_s)

    async def compare_soon(self) -> None:
        """Makes `run` compare all rows. After each join, because the pools ignore what was read before."""
        self._is_due = True
        self._pausing.cancel()

    async def compare(self) -> None:
        """Takes over all current rows, and removes IPs that are not this node's. Raises DatabaseUnavailable."""
        self._is_due = False
        for take_over in self._also.values():
            await take_over()
        reading = await self._database.work(read_all, await self._member.tenure(), self._now(), own=True)
        self._fingerprint = reading.fingerprint  # older than the rows, so that later changes are compared again
        await self._adopt(reading, everything=True)
        await self._load_offers()
        self._troubles.over(ADOPTING)
        self.compared.set()

    async def _check(self) -> None:
        """Takes what nobody owns, and compares all rows if the tables have changed."""
        tenure = await self._member.tenure()
        found = await self._database.work(read_fingerprint, tenure)
        before, self._fingerprint = self._fingerprint, found
        if found["departed"] and self._departures is not None:
            await self._departures.forget(self._country_of)
        taken = bool(found["nobodys"]) and await self._database.work(take, tenure, own=True)
        if taken or (before and any(found[name] != before[name] for name in EDITED)):
            await self._unhurried(self.compare)

    async def _unhurried(self, work: Callable[[], Awaitable[None]]) -> None:
        """Pauses as long as `work` took, so that endless announcements do not take all of the daemon's time."""
        began_s = trio.current_time()
        await work()
        await trio.sleep(min(REST_MAX_S, trio.current_time() - began_s))

    async def _follow(self, announcements: Announcements) -> None:
        check_s = POLL_S if announcements.pooled else CHECK_S
        if announcements.pooled:
            log.info("adoption_polls", every_s=POLL_S, why="a pooler before PostgreSQL passes no announcements")
        check_at_s = trio.current_time() + check_s
        while True:
            batch = []
            with trio.move_on_at(-math.inf if self._is_due else check_at_s) as self._pausing:
                batch.append(await announcements.received.receive())
            if self._is_due:
                await self._unhurried(self.compare)
            elif not batch:
                await announcements.connection.execute("select 1")
                await self._check()
                check_at_s = trio.current_time() + check_s
            try:
                while True:
                    batch.append(announcements.received.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                me = self._member.peers.me
                heard = [(name, concerning(payload, me) if name == IPS else payload) for name, payload in batch]
                if news := [(name, payload) for name, payload in heard if payload is not None]:
                    await self._unhurried(functools.partial(self._take, news))
                    if not announcements.pooled:
                        self._fingerprint = {}  # of tables without what was announced now

    async def _take(self, batch: list[tuple[str, str]]) -> None:
        """Removes IPs without a row first: a new row may have the same endpoint, which must not be leased twice."""
        if any(channel == NODES for channel, _ in batch):
            self._member.hurry()
            batch = [(channel, payload) for channel, payload in batch if channel != NODES]
            if not batch:
                return
        payloads = {payload for channel, payload in batch if channel == IPS}
        edits = {payload: edits_in(payload) for payload in payloads - {GONE}}
        if unreadable := [payload for payload, edit in edits.items() if edit is None]:
            self._log_unreadable(unreadable[0])
            await self.compare()
            return
        for announced in self._also.keys() & {channel for channel, _ in batch}:
            await self._also[announced]()
        tenure = await self._member.tenure()
        if GONE in payloads:
            await self._remove_gone(set(self._country_of) - await self._database.work(read_ids, tenure))
        edited = [edit for edit in edits.values() if edit is not None]
        if edited:
            span = min(first for first, _ in edited), max(last for _, last in edited)
            reading = await self._database.work(read_edited, tenure, self._now(), span, own=True)
            await self._adopt(reading)
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

    async def _adopt(self, reading: Reading, *, everything: bool = False) -> None:
        by_country: dict[str, list[Ip]] = defaultdict(list)
        gone = {ip_id for ip_id in reading.others if ip_id in self._country_of}
        moved = set()
        for ip in reading.ips:
            country = canonical(ip.country)
            by_country[country].append(ip)
            if self._country_of.get(ip.id, country) != country:
                moved.add(ip.id)
        if everything:
            gone |= set(self._country_of) - {ip.id for ip in reading.ips}
        await self._remove_gone(gone - moved)
        await self._remove(moved)
        term, rests_s = reading.tenure.term, reading.tenure.rests_s
        for country, ips in by_country.items():
            if self._member.term != term:
                raise DatabaseOccupied("this node has lost its claim on these IPs")
            self._country_of.update((ip.id, country) for ip in ips)
            handle = self._directory.known(country)
            if handle is None:
                self._directory.open(country, ips, term, rests_s)
                continue
            for at in range(0, len(ips), CHUNK_IPS):
                await handle.mailbox.send(Adopt(tuple(ips[at : at + CHUNK_IPS]), term, rests_s))
        if reading.ips:
            log.info("ips_adopted", countries={country: len(ips) for country, ips in by_country.items()})

    async def _remove_gone(self, ip_ids: set[UUID]) -> None:
        """Removes IPs whose rows are not this node's any more. Those of other nodes were given to them."""
        rows = await self._database.fetch("others_of", self._member.peers.me, list(ip_ids)) if ip_ids else ()
        given = {row["id"] for row in rows}
        await self._remove(given, "ips_given")
        await self._remove(ip_ids - given)

    async def _remove(self, ip_ids: set[UUID], event: str = "ips_removed") -> None:
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
            log.info(event, countries={country: len(gone) for country, gone in by_country.items()})


def concerning(payload: str, me: UUID) -> str | None:
    """An announcement without its addressee; None if another node is the addressee, such as the receiver of a gift."""
    edits, _, addressee = payload.rpartition(" ")
    if " " not in edits or not ADDRESSEE.fullmatch(addressee):
        return payload
    return edits if addressee == str(me) else None


def edits_in(payload: str) -> Edits | None:
    """(first, last) edit number of an announcement by tracepool's triggers; None for any other payload."""
    words = payload.split(" ")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 20 for word in words):
        return None
    first, last = map(int, words)
    return (first, last) if first <= last <= EDIT_NO_MAX else None
