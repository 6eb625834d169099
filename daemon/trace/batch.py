"""The batch lane: traces that no visitor waits for, those of background clicks first.

They use an IP only while their country's pool has IPs to spare.

Their rows are the queue, so they survive a restart: traces that were under way then start again. A node claims a row
before it traces the URL, so that all nodes can work on one queue. The rows of a node that is lost start again too, see
maintenance/rounds.py. A click never waits for a batch trace: none starts that would raise a country's utilisation, on
this node or on all nodes together, to `pool.batch_below_percent` (a background click's: to
`pool.background_below_percent`), and at most half of the workers have one.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import structlog
import trio
from msgspec import json

from daemon.clock import Moment
from daemon.countries import canonical
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Recorder
from daemon.offers.model import Offer
from daemon.pool.directory import PoolHandle
from daemon.pool.messages import Counts, Elsewhere
from daemon.settings.live import LiveSettings
from daemon.trace.attempts import never_attempted
from daemon.trace.dispatch import Dispatcher, JobRequest
from daemon.trace.jobs import BACKGROUND_PRIORITY, BATCH_PRIORITY, Finished, Started, TraceUpdate
from daemon.trace.walk.steps import Identity
from daemon.troubles import Troubles

CHANNEL = "tracepool_traces"
TICK_S = 1.0  # while rows wait for IPs
PAUSE_S = 0.1  # between two queries, however often rows are announced
CHECK_S = 15.0  # the poll interval, in case a NOTIFY was lost
RETRY_S = 2.0
LAST_PRIORITY = 9
WORKERS_SHARE = 0.5
FILLING = "beginning batch traces"
REFUSED_ROWS_MAX = 500  # of one query
COPY_BATCH_ROWS = 5_000

log = structlog.get_logger("daemon.trace")


ALONE = Elsewhere()


def room(counts: Counts, beginning: int, below_percent: float, elsewhere: Elsewhere = ALONE) -> int:
    """How many more batch traces may start in a country where `beginning` have no IP yet. Pure.

    The utilisation, (locked + cooldown) / healthy, of this node and of all nodes stays below `below_percent`. Where the
    node has too few IPs for that but uses none, it may start one, if the nodes before it leave room for it.
    """
    others = elsewhere.counts
    if counts.waiting or others.waiting:
        return 0
    healthy, used = counts.total - counts.failed, counts.locked + counts.cooldown + beginning
    here = _unused_below(healthy, used, below_percent)
    in_all = _unused_below(
        healthy + others.total - others.failed, used + others.locked + others.cooldown, below_percent
    )
    if not used and elsewhere.before < in_all:
        here = max(1, here)
    return max(0, min(here, in_all, counts.available - beginning))


def _unused_below(healthy: int, used: int, below_percent: float) -> int:
    return math.ceil(healthy * below_percent / 100) - 1 - used


@dataclass(eq=False, repr=False)
class Batch:
    """`under_way`: traces in the queue of jobs or with a worker. `_flush` returns once PostgreSQL has all entries.

    `_restarted`: the traces that an earlier run of the node had under way. `beginning`: traces under way without an IP
    yet, by country. `_without_ip`: claimed traces that got no IP. `_elsewhere(country)`: the IPs of the other nodes. A
    node that may not lease now leaves the rows to the others. `_offer_of(id)`: the settings of a background click.
    """

    _database: Database
    _dispatcher: Dispatcher
    _journal: Recorder
    _flush: Callable[[], Awaitable[None]]
    _live: LiveSettings
    _now: Callable[[], Moment]
    _troubles: Troubles
    _node_id: UUID
    _elsewhere: Callable[[str], Elsewhere] = lambda country: ALONE
    _may_lease: Callable[[], bool] = lambda: True
    _offer_of: Callable[[UUID], Offer | None] = lambda offer_id: None
    _wake: trio.Event = field(default_factory=trio.Event, init=False)
    _restarted: bool = field(default=False, init=False)
    beginning: Counter[str] = field(default_factory=Counter, init=False)
    under_way: set[UUID] = field(default_factory=set, init=False)
    _without_ip: set[UUID] = field(default_factory=set, init=False)

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled. While PostgreSQL is away the rows wait."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            while True:
                self._wake = trio.Event()
                try:
                    more = await self._fill()
                    self._troubles.over(FILLING)
                except DatabaseUnavailable as e:
                    self._troubles.note(FILLING, e, effect="batch traces wait; clicks go on")
                    more = True
                with trio.move_on_after(TICK_S if more else CHECK_S):
                    await self._wake.wait()
                await trio.sleep(PAUSE_S)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._database.listen(CHANNEL) as announcements:
                    self.wake()
                    while True:
                        with trio.move_on_after(CHECK_S) as silence:
                            await announcements.received.receive()
                            self.wake()
                        if silence.cancelled_caught:
                            await announcements.connection.execute("select 1")
            except (DatabaseUnavailable, trio.EndOfChannel) as e:
                log.debug("batch_listens_again", why=str(e))
                await trio.sleep(RETRY_S)

    async def _fill(self) -> bool:
        """Dispatches the traces that may start now; True if more are waiting."""
        running = frozenset(self.under_way)  # those that end now may be missing in PostgreSQL
        await self._flush()
        if not self._restarted:
            await self._database.fetch("restart_batch_traces", self._node_id)
            self._restarted = True
        if released := set(self._without_ip):
            await self._database.fetch("release_batch_traces", self._node_id, list(released))
            self._without_ip -= released
        if not self._may_lease():
            return False
        more = False
        for row in await self._database.fetch("batch_countries", self._node_id):
            more |= await self._fill_from(row["target_country"], row["priority"], running)
        return more

    async def _fill_from(self, country: str, first_priority: int, running: frozenset[UUID]) -> bool:
        pool = self._dispatcher.pool_of(country)
        is_here = pool is not None and pool.country == canonical(country) and pool.view.counts.total > 0
        if not is_here and self._elsewhere(canonical(country)).counts.total:
            return False  # the nodes that have these IPs take the rows
        if pool is None:
            return await self._refuse(country, running)
        percents = self._live.current.pool
        if first_priority <= BACKGROUND_PRIORITY and await self._begin(
            pool, country, BACKGROUND_PRIORITY, percents.background_below_percent, running
        ):
            return True
        return await self._begin(pool, country, LAST_PRIORITY, percents.batch_below_percent, running)

    async def _begin(
        self, pool: PoolHandle, country: str, last_priority: int, below_percent: float, running: frozenset[UUID]
    ) -> bool:
        """Dispatches traces up to a priority; True if more may be waiting."""
        free = room(pool.view.counts, self.beginning[pool.country], below_percent, self._elsewhere(pool.country))
        workers = math.ceil(self._live.current.trace.workers * WORKERS_SHARE) - len(self.under_way)
        most = min(free, workers)
        if most <= 0:
            return True
        rows = await self._claim(country, running, last_priority, most)
        for place, row in enumerate(rows):
            listener = _BatchListener(self, row["request_id"], pool.country)
            if not self._dispatcher.dispatch_batch(self._request(row, country), pool, listener, row["priority"]):
                self._without_ip.update(left["request_id"] for left in rows[place:])
                return True
            self.under_way.add(row["request_id"])
            self.beginning[pool.country] += 1
        return len(rows) == most

    def _request(self, row: Mapping[str, Any], country: str) -> JobRequest:
        offer_id, identity = row["offer_id"], row["identity"]
        return JobRequest(
            request_id=row["request_id"],
            tracking_url=row["tracking_url"],
            country=country,
            asked=self._now(),
            offer=None if offer_id is None else self._offer_of(offer_id),
            offer_id=offer_id,
            visitor=None if identity is None else json.decode(identity, type=Identity),
        )

    async def _claim(
        self, country: str, running: frozenset[UUID], last_priority: int, rows_max: int
    ) -> Sequence[Mapping[str, Any]]:
        excluded = list(running | self.under_way)
        return await self._database.fetch(
            "next_batch_traces", country, self._node_id, excluded, last_priority, rows_max
        )

    async def _refuse(self, country: str, running: frozenset[UUID]) -> bool:
        """Ends the traces of a country without IPs."""
        countries = {canonical(row["country"]) for row in await self._database.fetch("ip_countries")}
        if canonical(country) in countries:
            return True  # another node's, or without an owner yet
        now = self._now()
        rows = await self._claim(country, running, LAST_PRIORITY, REFUSED_ROWS_MAX)
        why = f"no pool: there is no IP in {country}, and trace.default_country names no other"
        for row in rows:
            self._journal.record(never_attempted(row["request_id"], now, "no_pool", why))
        return len(rows) == REFUSED_ROWS_MAX

    def began(self, country: str) -> None:
        self.beginning[country] -= 1

    def ended(self, request_id: UUID, *, had_ip: bool) -> None:
        self.under_way.discard(request_id)
        if not had_ip:
            self._without_ip.add(request_id)
        self.wake()


@dataclass(slots=True)
class _BatchListener:
    """Receives the updates of one batch trace."""

    _batch: Batch
    _request_id: UUID
    _country: str
    _has_ip: bool = False

    def send_nowait(self, value: TraceUpdate, /) -> None:
        begins, had_ip = not self._has_ip, self._has_ip
        if isinstance(value, Started | Finished) and begins:
            self._has_ip = True
            self._batch.began(self._country)
        if isinstance(value, Finished):
            self._batch.ended(self._request_id, had_ip=had_ip)


async def add_traces(conn: Connection, urls: Sequence[str], country: str) -> list[UUID]:
    """Adds a row for each URL, which a running daemon traces. Returns the ids in the order of `urls`."""
    ids = [uuid4() for _ in urls]
    await conn.execute("create temp table asked (place bigint, request_id uuid, url text) on commit drop")
    rows = list(zip(range(len(ids)), ids, urls, strict=True))
    for start in range(0, len(rows), COPY_BATCH_ROWS):
        await conn.copy_records_to_table("asked", records=rows[start : start + COPY_BATCH_ROWS])
    await conn.execute(QUERIES["add_batch_traces"], canonical(country), BATCH_PRIORITY)
    return ids


async def traces_of(conn: Connection, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """The rows of the traces that have ended."""
    return [dict(row) for row in await conn.fetch(QUERIES["ended_traces"], list(ids))]
