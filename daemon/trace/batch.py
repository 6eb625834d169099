"""The batch lane: traces that no visitor waits for, those of background clicks first.

They use an IP only while their country's pool has IPs to spare.

Their rows are the queue, so they survive a restart: traces that were under way then start again. A node claims a row
before it traces the URL, so that all nodes can work on one queue. The rows of a node that is lost start again too, see
maintenance/rounds.py. A click never waits for a batch trace: none starts that would raise a country's utilisation, on
this node or on all nodes together, to `pool.batch_below_percent` (a background click's: to
`pool.background_below_percent`), and at most half of the workers have one. Rows with `starts_now` begin ahead of the
first of these rules, as soon as an IP is free.

A row whose `timeout_at` has passed ends, and so does its trace. To cancel a trace is to let its time pass, so that any
node can cancel any trace (batch_rows.py). Traces that can never begin end with an error (batch_queue.py).
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog
import trio
from msgspec import json

from daemon.clock import Moment
from daemon.countries import canonical, names_of
from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.journal.entries import Recorder
from daemon.offers.model import Offer
from daemon.pool.directory import PoolHandle
from daemon.pool.messages import NO_COUNTS, Counts, Elsewhere
from daemon.settings.live import LiveSettings
from daemon.trace.attempts import never_attempted
from daemon.trace.batch_queue import (
    AHEAD,
    ALONE,
    BACKGROUND,
    QUEUED,
    Lane,
    WaitingTraces,
    Which,
    never,
    room,
    waiting_traces,
)
from daemon.trace.batch_rows import CHANNEL
from daemon.trace.dispatch import Dispatcher, JobRequest
from daemon.trace.jobs import (
    BACKGROUND_PRIORITY,
    BATCH_PRIORITY,
    CANCELLED,
    OUT_OF_TIME,
    Finished,
    Started,
    TraceUpdate,
)
from daemon.trace.walk.hops import GaveUp
from daemon.trace.walk.steps import Identity
from daemon.trace.walk.verdicts import Verdict
from daemon.troubles import Troubles

TICK_S = 1.0  # while rows wait for IPs
PAUSE_S = 0.1  # between two queries, however often rows are announced
CHECK_S = 15.0  # the poll interval, in case a NOTIFY was lost
RETRY_S = 2.0
WORKERS_SHARE = 0.5
COUNT_REST = 20  # how many times as long as a count the next one waits
FILLING = "beginning batch traces"
LATE = "not traced within the time that was given for it"
NO_POOL = {"no_ips": "no_pool"}  # reasons that clicks have too
REFUSED_ROWS_MAX = 500  # of one query

log = structlog.get_logger("daemon.trace")


EndTrace = Callable[[UUID, GaveUp], None]


@dataclass(eq=False, repr=False)
class Batch:
    """`under_way`: traces in the queue of jobs or with a worker. `_flush` returns once PostgreSQL has all entries.

    `_restarted`: the traces that an earlier run of the node had under way. `beginning`: traces under way without an IP
    yet, by country. `_without_ip`: claimed traces that got no IP. `_elsewhere(country)`: the IPs of the other nodes. A
    node that may not lease now leaves the rows to the others. `_offer_of(id)`: the settings of a background click.
    `_end(request_id, why)` ends a trace that is under way. `_queue`: the rows by country, as they were read last.
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
    _end: EndTrace = lambda request_id, why: None
    _wake: trio.Event = field(default_factory=trio.Event, init=False)
    _restarted: bool = field(default=False, init=False)
    beginning: Counter[str] = field(default_factory=Counter, init=False)
    under_way: set[UUID] = field(default_factory=set, init=False)
    _without_ip: set[UUID] = field(default_factory=set, init=False)
    _queue: Sequence[Mapping[str, Any]] = field(default=(), init=False)
    _count_at_s: float = field(default=float("-inf"), init=False)

    def wake(self) -> None:
        self._wake.set()

    def waiting(self) -> list[WaitingTraces]:
        """The queue by country, with the reason why traces wait."""
        return [waiting_traces(row, self._lane(row["country"])) for row in self._queue]

    def _lane(self, country: str) -> Lane:
        """Of the pool that serves the country."""
        settings, pool = self._live.current, self._dispatcher.pool_of(country)
        name = canonical(country) if pool is None else pool.country
        own = NO_COUNTS if pool is None else pool.view.counts
        failing = {} if pool is None else pool.view.failing
        return Lane(
            country=name,
            counts=own + self._elsewhere(name).counts,
            below_percent=settings.pool.batch_below_percent,
            beginning=self.beginning[name],
            workers=self._workers,
            workers_left=self._workers - len(self.under_way),
            may_lease=self._may_lease(),
            database_answers=not any(trouble.activity == FILLING for trouble in self._troubles),
            provider=max(failing, key=lambda one: sum(failing[one]), default=""),
            can_check=bool(settings.provision.check_url),
        )

    @property
    def _workers(self) -> int:
        return math.ceil(self._live.current.trace.workers * WORKERS_SHARE)

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
        """Dispatches the traces that may start now; True if traces wait or are under way."""
        running = frozenset(self.under_way)  # those that end now may be missing in PostgreSQL
        await self._flush()
        if not self._restarted:
            await self._database.fetch("restart_batch_traces", self._node_id)
            self._restarted = True
        if released := set(self._without_ip):
            await self._database.fetch("release_batch_traces", self._node_id, list(released))
            self._without_ip -= released
        await self._end_late()
        waits = False
        if self._may_lease():
            for row in await self._database.fetch("batch_countries", self._node_id):
                waits |= await self._fill_from(row["target_country"], row["priority"], row["ahead"], running)
        await self._count()
        return waits or bool(self._queue or self.under_way)

    async def _count(self) -> None:
        """Reads the queue's length, at most a twentieth of the time: there may be a million rows."""
        began_s = trio.current_time()
        if began_s >= self._count_at_s:
            self._queue = await self._database.fetch("batch_queue")
            self._count_at_s = trio.current_time() + COUNT_REST * (trio.current_time() - began_s)

    async def _end_late(self) -> None:
        """Ends the traces whose time has passed: those that no node has, and this node's."""
        await self._database.fetch("end_late_batch_traces", LATE, REFUSED_ROWS_MAX)
        late = await self._database.fetch("late_batch_traces", list(self.under_way)) if self.under_way else ()
        for row in late:
            if row["request_id"] in self.under_way:
                cancelled = row["reason"] == CANCELLED
                verdict, reason = (Verdict.OPERATOR, CANCELLED) if cancelled else (Verdict.LIMIT, OUT_OF_TIME)
                self._end(row["request_id"], GaveUp(verdict, reason, row["error_message"] or LATE))

    async def _fill_from(self, country: str, first_priority: int, has_ahead: bool, running: frozenset[UUID]) -> bool:
        """True if traces of background clicks may be waiting."""
        pool = self._dispatcher.pool_of(country)
        is_here = pool is not None and pool.country == canonical(country) and pool.view.counts.total > 0
        if not is_here and self._elsewhere(canonical(country)).counts.total:
            return False  # the nodes that have these IPs take the rows
        lane, below = self._lane(country), self._live.current.pool.background_below_percent
        if (
            pool is not None
            and first_priority <= BACKGROUND_PRIORITY
            and await self._begin(pool, country, BACKGROUND, self._room(pool, below, least=below > 0), running)
        ):
            return True
        for which in (AHEAD, QUEUED) if has_ahead else (QUEUED,):
            if never(lane, ahead=which.ahead):
                await self._refuse(lane, country, running, which)
            elif pool is not None:
                free = self._room_ahead(pool) if which.ahead else self._room(pool, lane.below_percent)
                await self._begin(pool, country, which, free, running)
        return False

    def _room(self, pool: PoolHandle, below_percent: float, *, least: bool = False) -> int:
        counts, beginning = pool.view.counts, self.beginning[pool.country]
        return room(counts, beginning, below_percent, self._elsewhere(pool.country), least=int(least))

    def _room_ahead(self, pool: PoolHandle) -> int:
        """As many as there are free IPs; without one, a single trace waits for the next IP, behind all clicks."""
        view, beginning = pool.view, self.beginning[pool.country]
        if (free := view.counts.available - view.counts.waiting - beginning) > 0:
            return free
        by_s = self._now().tick_s + self._live.current.click.deadline_s - 1
        return int(not beginning and view.rested_s is not None and view.rested_s < by_s)

    async def _begin(self, pool: PoolHandle, country: str, which: Which, free: int, running: frozenset[UUID]) -> bool:
        """Dispatches traces; True if more may be waiting."""
        most = min(free, self._workers - len(self.under_way))
        if most <= 0:
            return True
        rows = await self._claim(country, running, which, most)
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
        self, country: str, running: frozenset[UUID], which: Which, rows_max: int
    ) -> Sequence[Mapping[str, Any]]:
        excluded = list(running | self.under_way)
        if which.ahead:
            return await self._database.fetch("next_traces_ahead", country, self._node_id, excluded, rows_max)
        bounds = which.first, which.last, which.without_ahead
        return await self._database.fetch("next_batch_traces", country, self._node_id, excluded, *bounds, rows_max)

    async def _refuse(self, lane: Lane, country: str, running: frozenset[UUID], which: Which) -> None:
        """Ends the traces of a country that can never begin, if the rows of the IPs say so too."""
        now = self._now()
        [ips] = await self._database.fetch("ips_of_country", names_of(lane.country))
        total, healthy = ips["total"], ips["healthy"]
        wait = never(replace(lane, counts=Counts(total, healthy, 0, 0, total - healthy, 0)), ahead=which.ahead)
        if wait is None:
            return  # there are IPs of other nodes, or some that are not adopted yet
        first = BACKGROUND_PRIORITY if wait.reason == "no_ips" else BATCH_PRIORITY
        rows = replace(which, first=first, without_ahead=wait.reason == "too_few_ips")
        for row in await self._claim(country, running, rows, REFUSED_ROWS_MAX):
            why = f"{wait.why}. Next: {wait.next}"
            self._journal.record(never_attempted(row["request_id"], now, NO_POOL.get(wait.reason, wait.reason), why))

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
