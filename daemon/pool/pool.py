"""One country's IPs and the requests that wait for one: event and time in, Decision out, synchronous. Pure.

The actor journals a decision's entries before it sends the answers. All pools share one `rests`, see rests.py.
"""

import math
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from operator import attrgetter
from uuid import UUID

from daemon.clock import Moment
from daemon.pool.admission import WaitEstimate, refused_check
from daemon.pool.messages import (
    Acquire,
    Adopt,
    Counts,
    Decision,
    Message,
    NoIPAvailable,
    PoolView,
    Release,
    Remove,
    SetRules,
)
from daemon.pool.prospects import Newcomer, Prospects, too_late
from daemon.pool.queues import IpHeap, Waiting, fast_one
from daemon.pool.rests import SAME_S, Rests
from daemon.pool.rows import ip_changed, lease_of
from daemon.pool.states import CHECKS, Event, Ip, Occurrence, Quarantine, Rules, Status, move

OVERDUE_S = 1.0  # a lock or a rest that ends later than this was missed by its timer


class Pool:
    """`ips` by id. Only `decide`, `fire_timers` and `load` change it. `chance()` is random, in [0, 1)."""

    def __init__(
        self, country: str, rules: Rules, rests: Rests | None = None, chance: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.country = country
        self.rules = rules
        self.chance = chance
        self.rests = Rests() if rests is None else rests
        self.leases = self.term = 0  # how many were given so far; see messages.Adopt
        self.ips: dict[UUID, Ip] = {}
        self._by_status = dict.fromkeys(Status, 0)
        self._rested = IpHeap(self.ips, Status.AVAILABLE, attrgetter("last_used_s"))
        self._locks = IpHeap(self.ips, Status.LOCKED, attrgetter("locked_until_s"))
        self._rests = IpHeap(self.ips, Status.COOLDOWN, attrgetter("locked_until_s"))
        self._heaps = {Status.AVAILABLE: self._rested, Status.LOCKED: self._locks, Status.COOLDOWN: self._rests}
        self.quarantine = Quarantine()
        self.waiting = Waiting()
        self._began_s = math.inf  # of the first `fire_timers`
        self._corrected: list[Ip] = []
        self._estimate = WaitEstimate(self._by_status, self._rests)
        self._prospects = Prospects(self._rests, self._locks, self.waiting)

    def __repr__(self) -> str:
        return f"<Pool {self.country}: {self.counts()}>"

    def load(self, ips: Iterable[Ip]) -> None:
        """Adds IPs as they are, without a decision."""
        for ip in ips:
            self._join(ip)

    def load_rows(self, rows: Iterable[Ip], now: Moment, term: int = 0, rests_s: float = 0.0) -> None:
        """Adds the IPs of rows, without a decision: at the start. `fire_timers` writes the rows that were corrected."""
        self.term = term
        self._corrected += [row for row in rows if self._enter(row, now, rests_s)]

    def reloaded(self, rows: Adopt, now: Moment, undone: AbstractSet[UUID] = frozenset()) -> "Pool":
        """The same country's pool from its current rows. No request waits in it. `undone`: changed without an entry."""
        fresh = type(self)(self.country, self.rules, self.rests, self.chance)
        fresh.leases, fresh.term = self.leases, rows.term
        before = {ip_id: ip for ip_id, ip in self.ips.items() if ip_id not in undone}
        self.rests.settle_again(rows.ips, before, now, self.rules, rows.rests_s)
        fresh.load(rows.ips)
        return fresh

    def view(self, *, starts_over: bool = False) -> PoolView:
        return PoolView(self.counts(), self.leases, self.rules, starts_over)

    def counts(self) -> Counts:
        available, locked, cooldown, failed, _ = self._by_status.values()  # in the order of Status
        return Counts(len(self.ips), available, locked, cooldown, failed, len(self.waiting))

    def would_refuse(self, deadline_s: float, now_s: float) -> str | None:
        """Why a new request would be refused at once (see NoIPAvailable); None if it would wait or get an IP.

        Changes nothing, because a PoolHandle calls it outside of the actor's task.
        """
        if self._by_status[Status.AVAILABLE]:
            return None  # every waiting request has tried the available IPs
        return self._refusal(Newcomer(deadline_s), now_s)

    def next_due_s(self) -> float | None:
        """When `fire_timers` must be called next; None if nothing is due."""
        waiting = self.waiting
        dues = (self._locks.first_s(), self._rests.first_s(), waiting.next_deadline_s(), self._prospects.due_s())
        return min((due_s for due_s in dues if due_s is not None), default=None)

    def decide(self, message: Message, now: Moment, decision: Decision) -> None:
        """Adds the effects of `message` at `now` to `decision`. Raises only OurFault."""
        match message:
            case Acquire():
                self._acquire(message, now, decision)
            case Release():
                self._release(message, now, decision)
            case Adopt(ips, term, rests_s) if term >= self.term:
                self._prospects.review()
                self.rests.forget(now.tick_s)
                for row in ips:
                    self._adopt(row, rests_s, now, decision)
                self._serve_waiting(now, decision)
            case Remove(ip_ids):
                self._prospects.review()
                self.rests.forget(now.tick_s)
                for ip_id in ip_ids:
                    if (ip := self.ips.get(ip_id)) and not ip.leaving:
                        self.rests.departs(ip, self.rules)
                        self._step(ip, Occurrence(Event.REMOVED, now.tick_s), now, decision)
            case SetRules(rules):
                self.rules = rules
        self._refuse_hopeless(now, decision)

    def fire_timers(self, now: Moment, decision: Decision) -> None:
        """Ends the locks and rests that are due at `now`, and refuses the requests whose deadline has come.

        The rest after an expired lock begins `now`, however late: the IP may have been in use until now. If the lock
        ended before this pool began, no trace used it any more: the rest begins at the lock's end.
        """
        self._began_s = min(self._began_s, now.tick_s)
        late_s = now.tick_s - OVERDUE_S
        decision.entries += [ip_changed(ip, "joined", now) for ip in self._corrected]
        self._corrected.clear()
        while (ip := self._locks.first()) and (until_s := ip.locked_until_s or 0.0) <= now.tick_s:
            decision.remarks.append(f"{ip!r}: its lock expired, because its trace did not release it")
            ended_s = until_s if until_s < self._began_s else now.tick_s
            decision.overdue += until_s < late_s
            self._step(ip, Occurrence(Event.LOCK_EXPIRED, ended_s), now, decision)
        while (ip := self._rests.first()) and (until_s := ip.locked_until_s or 0.0) <= now.tick_s:
            decision.overdue += until_s < late_s
            self._step(ip, Occurrence(Event.COOLDOWN_OVER, now.tick_s), now, decision)
        for request in self.waiting.take_due(now.tick_s):
            self._refuse(request, "deadline", decision)
        self._serve_waiting(now, decision)
        self._refuse_hopeless(now, decision)

    def _refuse_hopeless(self, now: Moment, decision: Decision) -> None:
        """Refuses the waiting requests that certainly get no IP before their deadline."""
        for request in self._prospects.take_hopeless(now.tick_s, self.rules):
            self._refuse(request, too_late(request), decision)

    def _refuse(self, request: Acquire, why: str, decision: Decision) -> None:
        decision.answers.append((request, NoIPAvailable(self._prospects.next_free_s(self.rules), why)))

    def _acquire(self, request: Acquire, now: Moment, decision: Decision) -> None:
        if request.deadline_s <= now.tick_s:
            self._refuse(request, "deadline", decision)
        elif not decision.may_lease:
            decision.answers.append((request, NoIPAvailable(None, "untrusted")))
        elif request.ip_id is not None:
            self._acquire_that(self.ips.get(request.ip_id), request, now, decision)
        elif ip := self._next(request.tried, now, decision):  # every waiting request has tried the available IPs
            self._lease(ip, request, now, decision)
        elif why := self._refusal(request, now.tick_s):
            self._refuse(request, why, decision)
        else:
            self.waiting.add(request)
            self._prospects.joined(request, now.tick_s, self.rules)

    def _refusal(self, request: Acquire | Newcomer, now_s: float) -> str | None:
        """Why a request may not wait for an IP; None if it may."""
        if len(self.waiting) >= self.rules.waiting_max:
            return "full"
        if not self._prospects.has_any(request, now_s, self.rules):
            return too_late(request)
        expects_too_long = self._estimate.expects_too_long(len(self.waiting), request.deadline_s, now_s, self.rules)
        return "hopeless" if expects_too_long else None

    def _acquire_that(self, ip: Ip | None, request: Acquire, now: Moment, decision: Decision) -> None:
        if ip is None:
            decision.answers.append((request, NoIPAvailable(None, "gone")))
            return
        until_s = self.rests.later_s(ip, self.rules) or ip.locked_until_s
        if refused := refused_check(ip, until_s, self.counts(), now.tick_s):
            decision.answers.append((request, refused))
        else:
            self._lease(ip, request, now, decision)
            self._prospects.note_check(ip)

    def _serve_waiting(self, now: Moment, decision: Decision) -> None:
        """Leases available IPs to waiting requests. Afterwards each waiting request has tried all available IPs."""
        if not decision.may_lease:
            decision.answers += [(request, NoIPAvailable(None, "untrusted")) for request in self.waiting.take_all()]
            return
        while self._by_status[Status.AVAILABLE] and (request := self.waiting.first()):
            if ip := self._next(request.tried, now, decision):
                self._lease(ip, request, now, decision)
                self.waiting.take_first()
            else:
                self.waiting.pass_over_first()
        self.waiting.restore_passed_over()

    def _next(self, tried: frozenset[UUID], now: Moment, decision: Decision) -> Ip | None:
        """The next available IP. One whose endpoint another row has used since it became available rests instead."""
        while True:
            available = self._by_status[Status.AVAILABLE]
            ip = fast_one(self._rested, available, tried, self.chance) if self.rules.fastest else None
            ip = ip or self._rested.first_but(tried)
            if ip is None or (rests_until_s := self.rests.others_until_s(ip)) <= now.tick_s + SAME_S:
                return ip
            self._step(ip, Occurrence(Event.ENDPOINT_USED, now.tick_s, rests_until_s=rests_until_s), now, decision)

    def _lease(self, ip: Ip, request: Acquire, now: Moment, decision: Decision) -> None:
        last_used_s, choices = ip.last_used_s, self._by_status[Status.AVAILABLE]
        self._step(ip, Occurrence(Event.LEASE, now.tick_s, request.request_id), now, decision)
        self.leases += 1
        decision.answers.append((request, lease_of(ip, self.country, last_used_s, choices, now)))

    def _release(self, release: Release, now: Moment, decision: Decision) -> None:
        ip = self.ips.get(release.ip_id)
        if ip is None or ip.status is not Status.LOCKED or ip.lease_no != release.lease_no:
            decision.remarks.append(f"{ip or release.ip_id}: lease {release.lease_no} ended before its release")
            return
        event = release.event
        if event in CHECKS and self.rests.others_until_s(ip) > now.tick_s:
            event = Event.RELEASED_TARGET_AT_FAULT  # an edit has set an endpoint that rests
        elif event in CHECKS and release.endpoint not in (None, ip.endpoint):
            event = Event.CHECKED  # an edit has set another endpoint than the checked one
        if release.event not in CHECKS:
            self._estimate.note_hold(now.tick_s - ip.last_used_s)
        spared = event is Event.RELEASED_IP_AT_FAULT and ip.is_healthy and self.quarantine.is_full(len(self.ips))
        self._step(ip, Occurrence(event, now.tick_s, None, release.response_ms, spared), now, decision)
        if spared and ip.consecutive_failures >= self.rules.failures_max:
            decision.spared.append(ip.provider)
        if self.rules.cooldown_s == 0 or event in CHECKS:
            self.fire_timers(now, decision)

    def _adopt(self, row: Ip, rests_s: float, now: Moment, decision: Decision) -> None:
        """Takes over a current row. An edit may change a known IP's endpoint and health, but never its lease."""
        ip = self.ips.get(row.id)
        if ip is None:
            if self._enter(row, now, rests_s):
                decision.entries.append(ip_changed(row, "joined", now))
            return
        if row.edit_no <= ip.edit_no:
            return
        if row.endpoint != ip.endpoint:
            self._relocate(ip, row, now)
        ip.provider, ip.country, ip.login = row.provider, row.country, row.login
        ip.edit_no, ip.leaving = row.edit_no, False
        if row.consecutive_failures == 0:
            ip.consecutive_failures = 0
        fit = row.is_healthy and row.status is not Status.FAILED
        if ip.status is Status.FAILED:
            if row.is_healthy or row.status is Status.AVAILABLE:
                self._step(ip, Occurrence(Event.RESET, now.tick_s), now, decision)
                return
        elif ip.status is Status.LOCKED:
            ip.is_healthy = fit
            ip.probe_failures = 0 if fit else ip.probe_failures
            self.quarantine.note(ip, self.rules)
            self._prospects.note(ip)
        elif not fit:
            self._step(ip, Occurrence(Event.MARKED_FAILED, now.tick_s), now, decision)
            return
        decision.entries.append(ip_changed(ip, "edited", now))  # the row gets the pool's state again

    def _relocate(self, ip: Ip, row: Ip, now: Moment) -> None:
        """An edit sets another endpoint. The remaining rests of the old and of the new endpoint still apply."""
        self.rests.departs(ip, self.rules)
        ip.address, ip.port, ip.login = row.address, row.port, row.login
        if ip.status is not Status.LOCKED:
            self._by_status[ip.status] -= 1
            self._join(ip)

    def _step(self, ip: Ip, occurrence: Occurrence, now: Moment, decision: Decision) -> None:
        before = ip.status
        self._prospects.changed(occurrence.event, now.tick_s, self.rules.cooldown_s)
        move(ip, occurrence, self.rules)
        self._by_status[before] -= 1
        self.quarantine.note(ip, self.rules)
        self._prospects.note(ip)
        if ip.status is Status.GONE:
            self.rests.departs(ip, self.rules)
            del self.ips[ip.id]  # its row is deleted already
            return
        self._by_status[ip.status] += 1
        if ip.status is Status.COOLDOWN and (rests_until_s := self.rests.later_s(ip, self.rules)) is not None:
            ip.locked_until_s = rests_until_s  # an edit set this endpoint while the IP was leased with another one
        self.rests.held(ip, self.rules)
        decision.entries.append(ip_changed(ip, occurrence.event.value, now))
        self._file(ip)

    def _enter(self, row: Ip, now: Moment, rests_s: float) -> bool:
        """Adds the IP of a row. Whether its state differs from the row."""
        status, until_s = row.status, row.locked_until_s or 0.0
        self.rests.settle(row, now, self.rules, rests_s)
        self._join(row)
        return row.status is not status or abs((row.locked_until_s or 0.0) - until_s) > OVERDUE_S

    def _join(self, ip: Ip) -> None:
        """Adds an IP of a row. A row with only one of `failed` and `not is_healthy` gets both; other rests apply."""
        if ip.status is not Status.LOCKED and not (ip.is_healthy and ip.status is not Status.FAILED):
            ip.status, ip.is_healthy = Status.FAILED, False
        if (rests_until_s := self.rests.later_s(ip, self.rules)) is not None:
            ip.locked_until_s, ip.locked_by = rests_until_s, None
            ip.status = Status.COOLDOWN if ip.is_healthy else Status.FAILED
        self.rests.held(ip, self.rules)
        self.ips[ip.id] = ip
        self._by_status[ip.status] += 1
        self.quarantine.note(ip, self.rules)
        self._prospects.note(ip)
        self._file(ip)

    def _file(self, ip: Ip) -> None:
        if (heap := self._heaps.get(ip.status)) is not None:
            heap.put(ip)
