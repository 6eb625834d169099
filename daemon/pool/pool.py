"""One country's IPs and the requests that wait for one: event and time in, Decision out, synchronous. Pure.

The actor journals a decision's entries before it sends the answers. All pools share one `rests`, see rests.py.
"""

import math
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from itertools import islice
from uuid import UUID

from daemon.clock import Moment
from daemon.pool.admission import WaitEstimate, refused_check
from daemon.pool.messages import (
    Acquire,
    Adopt,
    Counts,
    Decision,
    Give,
    Message,
    NoIPAvailable,
    PoolView,
    Release,
    Remove,
    SetElsewhere,
    SetRules,
)
from daemon.pool.prospects import too_late
from daemon.pool.queues import IpRequest, Waiting, fast_one
from daemon.pool.rests import SAME_S, Rests
from daemon.pool.rows import ip_changed, lease_of
from daemon.pool.states import CHECKS, Event, Ip, Occurrence, Rules, Status
from daemon.pool.stock import OVERDUE_S, Stock


class Pool(Stock):
    """`ips` by id. Only `decide`, `fire_timers` and `load` change it. `chance()` is random, in [0, 1)."""

    def __init__(
        self, country: str, rules: Rules, rests: Rests | None = None, chance: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.waiting = Waiting()
        super().__init__(country, rules, Rests() if rests is None else rests, self.waiting)
        self.chance = chance
        self.leases = self.asked = self.missed = 0  # see PoolView
        self._began_s = math.inf  # of the first `fire_timers`
        self._estimate = WaitEstimate(self._by_status, self._rests)

    def __repr__(self) -> str:
        return f"<Pool {self.country}: {self.counts()}>"

    def reloaded(self, rows: Adopt, now: Moment, undone: AbstractSet[UUID] = frozenset()) -> "Pool":
        """The same country's pool from its current rows. No request waits in it. `undone`: changed without an entry."""
        fresh = type(self)(self.country, self.rules, self.rests, self.chance)
        fresh.term, fresh.leases, fresh.asked, fresh.missed = rows.term, self.leases, self.asked, self.missed
        fresh.elsewhere, fresh.giving = self.elsewhere, self.giving
        fresh.adopted = self.adopted + sum(ip.id not in self.ips for ip in rows.ips)
        if rows.term > self.term:
            self.giving.forget()
        for ip in rows.ips:
            self.giving.came_back(ip.id)
        before = {ip_id: ip for ip_id, ip in self.ips.items() if ip_id not in undone}
        self.rests.settle_again(rows.ips, before, now, self.rules, rows.rests_s)
        fresh.load(rows.ips)
        return fresh

    def view(self, *, starts_over: bool = False) -> PoolView:
        giving, broken = self.giving, self.quarantine.broken
        return PoolView(self.counts(), self.leases, self.rules, starts_over, self.asked, self.missed, self.adopted,
                        giving.handled, giving.totals, broken, self.elsewhere, self._rests.first_s(),
                        self.failing.by_provider)  # fmt: skip

    def counts(self) -> Counts:
        available, locked, cooldown, failed, _ = self._by_status.values()  # in the order of Status
        return Counts(len(self.ips), available, locked, cooldown, failed, len(self.waiting))

    def would_refuse(self, deadline_s: float, now_s: float) -> str | None:
        """Why a new request would be refused at once (see NoIPAvailable); None if it would wait or get an IP.

        Changes nothing, because a PoolHandle calls it outside of the actor's task.
        """
        if self._by_status[Status.AVAILABLE]:
            return None  # every waiting request has tried the available IPs
        return self._refusal(IpRequest(self._estimate.waits_until_s(deadline_s)), now_s)

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
            case Give():
                self._give(message, now, decision)
            case SetElsewhere():
                self.elsewhere = message
                self._prospects.hope(message.coming, now.tick_s)
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
            self._refuse(request, "deadline" if request.deadline_s <= now.tick_s else too_late(request), decision)
        self._serve_waiting(now, decision)
        self._refuse_hopeless(now, decision)

    def _refuse_hopeless(self, now: Moment, decision: Decision) -> None:
        """Refuses the waiting requests that certainly get no IP before their deadline."""
        for request in self._prospects.take_hopeless(now.tick_s, self.rules):
            self._refuse(request, too_late(request), decision)

    def _refuse(self, request: Acquire, why: str, decision: Decision) -> None:
        self.missed += 1
        decision.answers.append((request, NoIPAvailable(self._prospects.next_free_s(self.rules), why)))

    def _acquire(self, request: Acquire, now: Moment, decision: Decision) -> None:
        self.asked += request.ip_id is None
        if request.deadline_s <= now.tick_s:
            self._refuse(request, "deadline", decision)
        elif not decision.may_lease:
            decision.answers.append((request, NoIPAvailable(None, "untrusted")))
        elif request.ip_id is not None:
            self._acquire_that(self.ips.get(request.ip_id), request, now, decision)
        elif ip := self._next(request.tried, now, decision):  # every waiting request has tried the available IPs
            self._lease(ip, request, now, decision)
        else:
            until_s = self._estimate.waits_until_s(request.deadline_s, request.priority)
            asks = IpRequest(until_s, request.priority, request.tried)
            if why := self._refusal(asks, now.tick_s):
                self._refuse(request, why, decision)
                return
            self.waiting.add(request, asks)
            self._prospects.joined(asks, now.tick_s, self.rules)

    def _refusal(self, request: IpRequest, now_s: float) -> str | None:
        """Why a request may not wait for an IP; None if it may."""
        if request.deadline_s <= now_s:
            return too_late(request)
        if len(self.waiting) >= self.rules.waiting_max:
            return "full"
        if not self._prospects.has_any(request, now_s, self.rules):
            return None if self._prospects.may_hope(now_s) else too_late(request)
        ahead = len(self.waiting) - self._prospects.hoped_for(now_s)
        expects_too_long = self._estimate.expects_too_long(ahead, request.deadline_s, now_s, self.rules)
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

    def _give(self, give: Give, now: Moment, decision: Decision) -> None:
        given = 0
        while given < give.count and (ip := self._next(frozenset(), now, decision)):
            self._give_ip(ip, give.to, now, decision)
            given += 1
        failed = (self.ips[ip_id] for ip_id in self.quarantine.ids) if give.failed else ()
        for ip in list(islice((ip for ip in failed if self._rests_no_more(ip, now)), give.failed)):
            self._give_ip(ip, give.to, now, decision)
        self.giving.order(give, given, now.tick_s)

    def _rests_no_more(self, ip: Ip, now: Moment) -> bool:
        until_s = max(ip.locked_until_s or 0.0, self.rests.others_until_s(ip))
        return ip.status is Status.FAILED and until_s <= now.tick_s

    def _give_ip(self, ip: Ip, to: UUID, now: Moment, decision: Decision) -> None:
        self._step(ip, Occurrence(Event.GIVEN, now.tick_s), now, decision)
        decision.entries.append(self.giving.give(ip, to))

    def _serve_waiting(self, now: Moment, decision: Decision) -> None:
        """Gives and leases available IPs. Afterwards each waiting request has tried all available IPs."""
        if not decision.may_lease:
            decision.answers += [(request, NoIPAvailable(None, "untrusted")) for request in self.waiting.take_all()]
        while self._by_status[Status.AVAILABLE]:
            request = self.waiting.first()
            if to := self.giving.next_receiver(now.tick_s, is_waited_for=request is not None):
                if ip := self._next(frozenset(), now, decision):
                    self._give_ip(ip, to, now, decision)
                continue
            if request is None:
                break
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
            self._estimate.note_hold(now.tick_s - ip.last_used_s, landed=event is Event.RELEASED_OK)
        spared = event is Event.RELEASED_IP_AT_FAULT and ip.is_healthy and self._is_quarantine_full()
        self._step(ip, Occurrence(event, now.tick_s, None, release.response_ms, spared), now, decision)
        if spared and ip.consecutive_failures >= self.rules.failures_max:
            decision.spared.append(ip.provider)
        if self.rules.cooldown_s == 0 or event in CHECKS:
            self.fire_timers(now, decision)
