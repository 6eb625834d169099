"""One daemon of the simulation: its state directory, and a run with its protocol steps towards PostgreSQL.

The pools, their rests, the balance and the decisions of membership are the daemon's own code. This file has what
the daemon does between them, in the same order: `Member` (nodes/member.py), `SqlSync` (sql_sync.py), the journal's
shipper (journal/shipper.py, journal/lane.py) and the balancer (nodes/balancer.py).
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from daemon.clock import Moment
from daemon.journal.entries import IpChanged, encode
from daemon.nodes.membership import Sighting, Watch, quiet_s, trusts_itself_until
from daemon.nodes.peers import RENEW_MIN_S, is_reading_due
from daemon.pool.messages import Acquire, Adopt, Decision, Lease, Message, Release, Remove
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.pool.rows import ip_from_row
from daemon.pool.states import Endpoint, Event, Ip, Rules, Status
from tests.sim.balancing import Balancing
from tests.sim.loop import Call, Refused, Signal, Task, Unavailable, Wait
from tests.sim.network import Link
from tests.sim.tables import IpRow, NodeRecord
from tests.sim.traces import Trace

if TYPE_CHECKING:
    from tests.sim.world import World

WALL_S = 1_800_000_000.0
COMMIT_S = 0.003
RENEW_S, RETRY_S = 1.0, 1.0
CHECK_S = 15.0  # as in sql_sync.py
CONFIRM_S = 1.0
DOUBT_S = 10.0
BATCH_MAX = 200
LINGER_S = 0.02  # more entries may follow
TIMERS_EACH_S = 0.1
TIMER_MIN_S = 0.0005
SPOOL_KEPT = 2_000


@dataclass(eq=False)
class Directory:
    """A state directory and its machine: what survives a crash. `spool`: per lane (seq, entry), in order."""

    node_id: UUID
    name: str
    rules: Rules
    link: Link
    spool: dict[str, list[tuple[int, Any]]] = field(default_factory=lambda: {"facts": [], "states": []})
    seq: int = 0
    boot_jump_s: float = 0.0
    suspended_s: float = 0.0
    wall_jump_s: float = 0.0
    is_copied: bool = False
    killed_s: float | None = None

    def commit(self, lane: str, entry: Any) -> None:
        self.seq += 1
        self.spool[lane].append((self.seq, entry))

    def after(self, lane: str, seq: int) -> list[tuple[int, Any]]:
        """The next entries of a lane."""
        entries = self.spool[lane]
        at = bisect_right(entries, seq, key=lambda entry: entry[0])
        return entries[at : at + BATCH_MAX]


class Run:
    """One run of the daemon on `home`."""

    def __init__(self, world: "World", home: Directory) -> None:
        self.world, self.home, self.loop = world, home, world.loop
        self.is_alive, self.is_stopped = True, False
        self._backlog: list[tuple[float, Callable[[], None]]] = []
        self.pools: dict[str, Pool] = {}
        self.rests = Rests()
        self.news, self.hurried = Signal(), Signal()
        self._committed = {"facts": Signal(), "states": Signal()}
        self.is_listening = False
        self._pending: list[tuple[str, Any]] = []
        self._claim: int | None = None
        self.epoch = self._beat = 0  # as in the last answer
        self._trusted_until_s = float("-inf")
        self._watch = Watch()
        self.era = self._handled_era = 0  # how often the node has joined again
        self._announced: list[tuple[int, int]] = []
        self._shipped: dict[str, int | None] = {"facts": None, "states": None}
        self._due: dict[str, float] = {}
        self._departing = False  # endpoints of this node have departed, and may be in use or rest
        self._fingerprint: object = None
        self._is_due = False  # a comparison of all rows
        self._doubt_until_s = float("-inf")  # the database may lack other nodes' last changes, too
        self.is_draining = self.is_renewing = False
        self.balancing = Balancing(self)
        self.loaded_s: float | None = None
        self.spawn(self._main())

    # Time and tasks

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def rules(self) -> Rules:
        return self.home.rules

    def tick(self) -> float:
        return self.loop.now_s - self.home.suspended_s

    def boot(self) -> float:
        return self.loop.now_s + self.home.boot_jump_s

    def moment(self) -> Moment:
        wall_s = WALL_S + self.loop.now_s + self.home.wall_jump_s
        return Moment(self.tick(), wall_s, self.boot(), self.home.name)

    def after(self, pause_s: float, event: Callable[[], None]) -> None:
        due_s = self.loop.now_s + pause_s

        def guarded() -> None:
            if self.is_stopped:
                self._backlog.append((due_s, event))
            elif self.is_alive:
                event()

        self.loop.at(due_s, guarded)

    def spawn(self, task: Task) -> None:
        self._step(task)

    def _step(self, task: Task, value: Any = None, error: Exception | None = None) -> None:
        if not self.is_alive:
            return
        try:
            wanted = task.send(value) if error is None else task.throw(error)
        except StopIteration:
            return
        if isinstance(wanted, Call):
            self.home.link.call(wanted, lambda v, e: self._step(task, v, e), self.after)
        elif isinstance(wanted, Wait):
            self._wait(task, wanted)
        else:
            self.after(wanted, lambda: self._step(task))

    def _wait(self, task: Task, wanted: Wait) -> None:
        waits = [True]

        def go_on() -> None:
            if waits:
                waits.clear()
                got, wanted.signal.is_set = wanted.signal.is_set, False
                self._step(task, got)

        wanted.signal.wake = lambda: self.after(0.0, go_on)
        if wanted.signal.is_set:
            self.after(0.0, go_on)
        else:
            self.after(wanted.timeout_s, go_on)

    def stop(self) -> None:
        """SIGSTOP."""
        self.is_stopped = True
        self.world.checker.stopped(self.name)

    def go_on(self) -> None:
        """SIGCONT. Everything that was due meanwhile happens now."""
        self.is_stopped = False
        backlog, self._backlog = self._backlog, []
        for _, event in backlog:
            self.after(0.0, event)

    def kill(self) -> None:
        """SIGKILL."""
        if not self.is_alive:
            return
        self.is_alive = self.is_stopped = False
        self.home.killed_s = self.loop.now_s
        self.world.checker.killed(self.name, self.loop.now_s)

    # The node's membership: nodes/member.py

    def may_lease(self) -> bool:
        may = self.era == self._handled_era and self.boot() < self._trusted_until_s
        return may and not self.is_draining and self.is_alive

    @property
    def _quiet_s(self) -> float:
        return quiet_s(self.rules.lock_s, self.rules.cooldown_s)

    def _main(self) -> Task:
        yield from self._join()
        self.rests.learn(self._spooled(), self.moment(), self.rules)
        self.spawn(self._renew())
        self.spawn(self._ship("states"))
        self.spawn(self._ship("facts"))
        yield from self._flush()
        self.spawn(self._sync())
        yield self.world.chance.random()
        self.spawn(self.balancing.run())

    def _spooled(self) -> list[str]:
        states = self.home.spool["states"][-SPOOL_KEPT:]
        return [encode(entry)[1] for _, entry in states if isinstance(entry, IpChanged)]

    def _join(self) -> Task:
        home = self.home
        while True:
            asked_s, claim = self.boot(), self.world.new_number()
            values = home.node_id, home.name, claim, self.epoch + 1, self.world.trust_s, self._quiet_s
            try:
                continues, epoch, beat = yield Call(partial(self.world.tables.join, *values))
                break
            except Unavailable:
                yield RETRY_S
        if not continues:
            home.spool["states"].clear()
            self._pending = [entry for entry in self._pending if entry[0] != "states"]
        self._claim, self.epoch, self._beat, self._watch = claim, epoch, beat, Watch()
        self._trust_from(asked_s)

    def _trust_from(self, asked_s: float) -> None:
        trust_s = math.inf if "endless_trust" in self.world.faults else self.world.trust_s
        self._trusted_until_s = trusts_itself_until(asked_s, trust_s)

    def _renew(self) -> Task:
        while True:
            asked_s = self.boot()
            self.is_renewing = True
            peers = self.balancing.peers
            passed_s, hurried = self.tick() - peers.read_s, self.hurried.is_set
            reads = is_reading_due(len(peers.by_id), passed_s, hurried=hurried)
            self.hurried.is_set = False
            try:
                now_s, beat, rows = yield self._renewal(reads=reads)
            except Unavailable:
                self.is_renewing = False
                yield RETRY_S
                continue
            self.is_renewing = False
            mine = next((row for row in rows if row.node_id == self.home.node_id), None)
            if beat is None or mine is None:
                yield from self._rejoin(mine)
                continue
            self._beat, self.is_draining = beat, mine.draining
            self._trust_from(asked_s)
            if reads:
                self.balancing.read(rows, now_s)
                with suppress(Unavailable):
                    yield from self._free_lost(rows, now_s)
            yield RENEW_MIN_S
            self.hurried.is_set = yield Wait(self.hurried, RENEW_S - RENEW_MIN_S)

    def _renewal(self, *, reads: bool) -> Call:
        values = self.home.node_id, self._claim or 0, self._beat, self.world.trust_s, self._quiet_s
        figures = self.balancing.figures()
        return Call(lambda: self.world.tables.renew(*values, figures, reads))

    def _free_lost(self, rows: list[NodeRecord], now_s: float) -> Task:
        others = [self._sighting(row, now_s) for row in rows if row.node_id != self.home.node_id]
        lost = self._watch.lost(others, self.tick())
        if "lost_by_database_clock" in self.world.faults:
            lost = [other for other in others if other.state != "lost" and other.free_in_s < 0]
        for other in lost:
            yield Call(lambda o=other: self.world.tables.mark_lost(o.node_id, o.version))  # type: ignore[misc]
        if lost or any(row.state == "lost" for row in rows):
            yield Call(self.world.tables.free_lost)

    def _sighting(self, row: NodeRecord, now_s: float) -> Sighting:
        quiet_s = 0.0 if "free_without_quiet" in self.world.faults else row.quiet_s
        trust_s = row.trust_s if row.state == "active" else 0.0
        free_in_s = row.trusted_until_s + quiet_s - now_s
        return Sighting(row.node_id, row.name, row.beat, row.epoch, row.state, trust_s + quiet_s, free_in_s)

    def _rejoin(self, row: NodeRecord | None) -> Task:
        """The claim or rows are lost: nothing is leased until all pools have loaded their rows again."""
        self.era += 1
        era = self.era
        self._trusted_until_s = float("-inf")
        lost_rows = row is None or (row.epoch, row.beat) < (self.epoch, self._beat)
        for country in self.pools:
            self.handle(country)
        yield from self._join()
        if lost_rows and "no_beat_check" not in self.world.faults:
            self._doubt_until_s = self.tick() + DOUBT_S
            self._shipped = {"facts": None, "states": None}  # PostgreSQL may lack entries that it had
        self.spawn(self._start_over(era))

    def _start_over(self, era: int) -> Task:
        while True:
            yield from self._flush()
            try:
                rows = yield self._reading(self.world.tables.rows_of)
                break
            except (Unavailable, Refused):
                yield RETRY_S
        held = {ip_id for pool in self.pools.values() for ip_id in pool.ips}
        by_country: dict[str, list[Ip]] = {country: [] for country in self.pools}
        now = self.moment()
        for row in rows:
            by_country.setdefault(row.country, []).append(self._ip(row, is_own=row.id in held))
        for country, ips in by_country.items():
            if country not in self.pools:
                self.open(country)
            waiting = list(self.pools[country].waiting)
            rows_read = Adopt(tuple(ips), self.epoch, self._newcomers_rest_s())
            self.pools[country] = self.pools[country].reloaded(rows_read, now)
            self.handle(country, *waiting)
        if era == self.era:
            self._handled_era = era
        self._is_due = True
        self.news.set()

    # Operators' edits and moved IPs: sql_sync.py

    def announce(self, first: int, last: int) -> None:
        """A notification arrives."""
        if self.is_listening:
            self._announced.append((first, last))
            self.news.set()

    def _sync(self) -> Task:
        while True:
            try:
                self.is_listening = True
                yield from self._compare()
                self.loaded_s = self.loaded_s or self.loop.now_s
                check_at_s = self.loop.now_s + CHECK_S
                while True:
                    left_s = max(0.0, check_at_s - self.loop.now_s)
                    yield Wait(self.news, min(left_s, CONFIRM_S) if self._departing else left_s)
                    if self._announced:
                        yield from self._take_news()
                    if self.loop.now_s >= check_at_s or self._is_due:
                        yield from self._poll()
                        check_at_s = self.loop.now_s + CHECK_S
                    if self._departing:
                        yield from self._read_rows(None)
            except (Unavailable, Refused) as e:
                if isinstance(e, Refused):
                    self.hurried.set()  # a renewal finds out what the database has lost
                self.is_listening = False
                self._announced.clear()
                yield 0.2

    def _poll(self) -> Task:
        found = yield Call(lambda: self.world.tables.fingerprint(self.home.node_id))
        if found != self._fingerprint or self._is_due:
            yield from self._compare()

    def _take(self) -> Task:
        """How many rows had no owner."""
        if not self.may_lease():
            return 0
        return (yield self._reading(self.world.tables.take))

    def _reading(self, work: Callable[..., Any], *values: Any) -> Call:
        """Refused by a database that has lost this run's claim, or its last renewal."""
        return Call(partial(work, self.home.node_id, self._claim, self._beat, *values))

    def _compare(self) -> Task:
        self._is_due = False
        yield from self._read_rows(None)

    def _take_news(self) -> Task:
        announced, self._announced = self._announced, []
        is_any_deleted = any(first == 0 for first, _ in announced)
        yield from self._read_rows(None if is_any_deleted else announced)

    def _read_rows(self, edits: list[tuple[int, int]] | None) -> Task:
        """Takes rows without an owner, and adopts this node's rows with these edit numbers; without `edits` all."""
        tables, me = self.world.tables, self.home.node_id
        term = self.epoch
        departures = yield Call(lambda: tables.departures(me))  # before the rows, see _confirm
        taken = yield from self._take()
        if edits is None or taken:  # taking changes no edit number
            known = [ip_id for pool in self.pools.values() for ip_id in pool.ips]
            self._fingerprint = yield Call(lambda: tables.fingerprint(me))
            rows = yield self._reading(tables.rows_of)
            mine = {row.id for row in rows}
            others = {ip_id for ip_id in known if ip_id not in mine}
        else:
            rows, others = yield self._reading(tables.edited, edits)
        self._adopt(rows, others, term)
        if edits is None or taken:  # else the pools may not have handled a deleted row yet
            yield from self._confirm(departures)
        else:
            self._departing |= bool(departures)

    def _confirm(self, departures: list[Endpoint]) -> Task:
        """The pools have handled all edits before `departures` was read. Confirms the endpoints that have rested."""
        self.rests.forget(self.tick())
        leaving = {ip.endpoint for pool in self.pools.values() for ip in pool.ips.values() if ip.leaving}
        rests = self.rests.departed if "confirm_at_once" not in self.world.faults else {}
        over = [endpoint for endpoint in departures if endpoint not in rests and endpoint not in leaving]
        self._departing = len(over) < len(departures)
        if over:
            yield Call(lambda: self.world.tables.confirm(self.home.node_id, over))

    def _ip(self, row: IpRow, *, is_own: bool) -> Ip:
        """Times that another machine's wall clock gave are not read as ticks."""
        ip = ip_from_row(row, self.moment())  # type: ignore[arg-type]
        if not is_own:
            ip.last_used_s = min(ip.last_used_s, self.tick() - self.rules.cooldown_s)
        return ip

    def _newcomers_rest_s(self) -> float:
        return self._quiet_s if self.tick() < self._doubt_until_s else 0.0

    def _adopt(self, rows: list[IpRow], others: set[UUID], term: int) -> None:
        """`others`: ids of rows that are not this node's. `term`: see nodes/owned.py."""
        if term != self.epoch and "stale_adopt" not in self.world.faults:
            return
        by_country: dict[str, list[Ip]] = {}
        for row in rows:
            by_country.setdefault(row.country, []).append(self._ip(row, is_own=False))
        country_of = {row.id: row.country for row in rows}
        changed = country_of.keys() | others
        for country, pool in list(self.pools.items()):
            gone = sorted(i for i in changed & pool.ips.keys() if country_of.get(i) != country)
            if gone:
                self.handle(country, Remove(tuple(gone)))
        for country, ips in by_country.items():
            if country not in self.pools:
                self.open(country)
            self.handle(country, Adopt(tuple(ips), term, self._newcomers_rest_s()))

    # The pools: pool/actor.py

    def open(self, country: str) -> Pool:
        pool = self.pools[country] = self.world.pool(country, self.rules, self.rests)
        return pool

    def handle(self, country: str, *messages: Message) -> None:
        """Decides, records the entries, and answers when they are on disk."""
        pool, now = self.pools[country], self.moment()
        decision = Decision(may_lease=self.may_lease())
        pool.fire_timers(now, decision)
        for message in messages:
            pool.decide(message, now, decision)
        for entry in decision.entries:
            self.record("states", entry)
        if decision.grants:
            self.after(COMMIT_S, lambda: self._answer(decision))
        else:
            self._answer(decision)
        self._schedule(country, pool)
        if pool.waiting:
            self.balancing.note_waiting()

    def _answer(self, decision: Decision) -> None:
        for request, answer in decision.answers:
            request.reply.send_nowait(answer)

    def _schedule(self, country: str, pool: Pool) -> None:
        due_s = pool.next_due_s()
        if due_s is None:
            return
        if not pool.waiting:
            due_s = (due_s // TIMERS_EACH_S + 1) * TIMERS_EACH_S
        if self._due.get(country, float("inf")) <= due_s and self._due[country] > self.tick():
            return
        self._due[country] = due_s

        def fire() -> None:
            if self._due.get(country) == due_s:
                del self._due[country]
                self.handle(country)

        self.after(max(TIMER_MIN_S, due_s - self.tick()), fire)

    # Clicks

    def click(self, country: str, number: int, deadline_s: float) -> None:
        self.world.checker.clicked(number, self.name, self.loop.now_s + deadline_s)
        trace = Trace(self, number, country, self.tick() + deadline_s)
        if country not in self.pools:
            trace.answer("no_pool")
            return
        self.after(deadline_s, lambda: trace.answer("deadline"))
        self.acquire(country, trace)

    def acquire(self, country: str, trace: Trace) -> None:
        request = Acquire(UUID(int=trace.number), trace.deadline_s, trace, tried=frozenset(trace.tried))
        self.handle(country, request)

    def release(self, country: str, lease: Lease, event: Event) -> None:
        self.handle(country, Release(lease.ip_id, lease.lease_no, event, 1000.0))

    # The journal: journal/writer.py, journal/shipper.py

    def record(self, lane: str, entry: Any) -> None:
        if not self._pending:
            self.after(COMMIT_S, self._commit)
        self._pending.append((lane, entry))

    def _commit(self) -> None:
        for lane, entry in self._pending:
            self.home.commit(lane, entry)
            if lane == "facts":
                self.world.checker.durable.add(entry)
            self._committed[lane].set()
        self._pending.clear()

    def _flush(self) -> Task:
        """Returns when PostgreSQL has all entries about IPs that are on disk now."""
        yield 2 * COMMIT_S
        for signal in self._committed.values():
            signal.set()
        states = self.home.spool["states"]
        last = states[-1][0] if states else 0
        while (self._shipped["states"] or 0) < last:
            yield 0.05

    def _ship(self, lane: str) -> Task:
        home, tables = self.home, self.world.tables
        while True:
            try:
                if (seq := self._shipped[lane]) is None:
                    seq = self._shipped[lane] = yield Call(lambda: tables.position(home.node_id, lane))
                batch = home.after(lane, seq)
                if not batch:
                    yield Wait(self._committed[lane], 60.0)
                    yield LINGER_S
                    continue
                values = home.node_id, lane, self._claim, seq, batch
                applied = yield Call(lambda v=values: tables.apply(*v))  # type: ignore[misc]
                if self._shipped[lane] == seq:
                    self._shipped[lane] = batch[-1][0] if applied else None
            except Unavailable:
                self._shipped[lane] = None
                yield 0.5
            except Refused:
                yield 0.2

    def usable(self) -> Iterator[UUID]:
        """The IPs that the node leases, or will lease when their lock or rest is over."""
        if not self.may_lease() or self.is_stopped:
            return
        until_s = self.tick() + max(self._quiet_s, self.rules.lock_s + self.rules.cooldown_s)
        for pool in self.pools.values():
            for ip in pool.ips.values():
                if ip.status is not Status.FAILED and (ip.locked_until_s or 0.0) <= until_s:
                    yield ip.id
