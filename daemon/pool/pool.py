"""One country's IPs and those who wait for one. Synchronous, without a clock: an event and the time in, a Decision out.
Pure.

The actor around it journals a decision's entries before it sends the answers.

`departed`, which all pools share, has the endpoints that left while they were in use or rested (rows.py).
"""

import math
from collections.abc import Callable, Iterable
from operator import attrgetter
from uuid import UUID

from daemon.clock import Moment
from daemon.pool.admission import WaitEstimate, refused_check
from daemon.pool.messages import (
    Acquire,
    Adopt,
    Counts,
    Decision,
    Lease,
    Message,
    NoIPAvailable,
    PoolView,
    Release,
    Remove,
    SetRules,
)
from daemon.pool.prospects import Newcomer, Prospects, too_late
from daemon.pool.quarantine import Quarantine
from daemon.pool.queues import IpHeap, Waiting, fast_one
from daemon.pool.rows import Departed, departed_until_s, forget, ip_changed, keep_ticks, remember
from daemon.pool.states import CHECKS, NEVER_USED, Event, Ip, Occurrence, Rules, Status, move

OVERDUE_S = 1.0  # so late, a lock or a rest has ended without its timer


class Pool:
    """`ips` by id. Change it only through `decide`, `fire_timers` and `load`. `chance` is random, from 0 to below 1."""

    def __init__(
        self, country: str, rules: Rules, departed: Departed | None = None, chance: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.country = country
        self.rules = rules
        self.chance = chance
        self.departed = {} if departed is None else departed
        self.leases = 0  # given so far
        self.ips: dict[UUID, Ip] = {}
        self._by_status = dict.fromkeys(Status, 0)
        self._rested = IpHeap(self.ips, Status.AVAILABLE, attrgetter("last_used_s"))
        self._locks = IpHeap(self.ips, Status.LOCKED, attrgetter("locked_until_s"))
        self._rests = IpHeap(self.ips, Status.COOLDOWN, attrgetter("locked_until_s"))
        self._heaps = {Status.AVAILABLE: self._rested, Status.LOCKED: self._locks, Status.COOLDOWN: self._rests}
        self.quarantine = Quarantine()
        self.waiting = Waiting()
        self._began_s = math.inf  # when timers were first looked at
        self._estimate = WaitEstimate(self._by_status, self._rests)
        self._prospects = Prospects(self._rests, self._locks, self.waiting)

    def __repr__(self) -> str:
        return f"<Pool {self.country}: {self.counts()}>"

    def load(self, ips: Iterable[Ip]) -> None:
        """Takes IPs over as they stand, without a decision: at start, from rows."""
        for ip in ips:
            self._join(ip)

    def reloaded(self, ips: Iterable[Ip]) -> "Pool":
        """The same country's pool, from rows as they stand now. No request waits in it."""
        fresh = type(self)(self.country, self.rules, self.departed, self.chance)
        fresh.leases = self.leases
        for ip in ips:
            if (before := self.ips.get(ip.id)) is not None:
                keep_ticks(ip, before)
            fresh._join(ip)
        return fresh

    def view(self, *, starts_over: bool = False) -> PoolView:
        return PoolView(self.counts(), self.leases, self.rules, starts_over)

    def counts(self) -> Counts:
        available, locked, cooldown, failed, _ = self._by_status.values()  # in the order of Status
        return Counts(len(self.ips), available, locked, cooldown, failed, len(self.waiting))

    def would_refuse(self, deadline_s: float, now_s: float) -> str | None:
        """Why a request that came now would not even wait (see NoIPAvailable); None if it would, or need not.

        It changes nothing: a PoolHandle asks from outside of the actor's task.
        """
        if self._by_status[Status.AVAILABLE]:
            return None  # every waiting request has tried the available IPs
        return self._refusal(Newcomer(deadline_s), now_s)

    def next_due_s(self) -> float | None:
        """When `fire_timers` has something to do again."""
        waiting = self.waiting
        dues = (self._locks.first_s(), self._rests.first_s(), waiting.next_deadline_s(), self._prospects.due_s())
        return min((due_s for due_s in dues if due_s is not None), default=None)

    def decide(self, message: Message, now: Moment, decision: Decision) -> None:
        """Adds to `decision` what `message` leads to at `now`. Raises nothing but our own faults."""
        match message:
            case Acquire():
                self._acquire(message, now, decision)
            case Release():
                self._release(message, now, decision)
            case Adopt(ips):
                self._prospects.review()
                forget(self.departed, now.tick_s)
                for row in ips:
                    self._adopt(row, now, decision)
                self._serve_waiting(now, decision)
            case Remove(ip_ids):
                self._prospects.review()
                forget(self.departed, now.tick_s)
                for ip_id in ip_ids:
                    if (ip := self.ips.get(ip_id)) and not ip.leaving:
                        remember(self.departed, ip, now.tick_s, self.rules)
                        self._step(ip, Occurrence(Event.REMOVED, now.tick_s), now, decision)
            case SetRules(rules):
                self.rules = rules
        self._refuse_hopeless(now, decision)

    def fire_timers(self, now: Moment, decision: Decision) -> None:
        """Everything that is due at `now`: locks and rests that end, and waiters whose deadline has come.

        A rest after a lock counts from `now`, however late that is: the IP may have been in use until now. But a lock
        that ended before this pool began had nobody left to use it.
        """
        self._began_s = min(self._began_s, now.tick_s)
        late_s = now.tick_s - OVERDUE_S
        while (ip := self._locks.first()) and (until_s := ip.locked_until_s or 0.0) <= now.tick_s:
            decision.remarks.append(f"{ip!r} kept its lock to the end: its trace never gave it back")
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
        """The waiting requests that no IP can be free for in time, as soon as that is certain."""
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
        elif ip := self._next(request.tried):  # every waiting request has tried the available IPs
            self._lease(ip, request, now, decision)
        elif why := self._refusal(request, now.tick_s):
            self._refuse(request, why, decision)
        else:
            self.waiting.add(request)
            self._prospects.joined(request, now.tick_s, self.rules)

    def _refusal(self, request: Acquire | Newcomer, now_s: float) -> str | None:
        """Why a request does not wait for an IP; None if it does."""
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
        until_s = departed_until_s(self.departed, ip, self.rules) or ip.locked_until_s
        if refused := refused_check(ip, until_s, self.counts(), now.tick_s):
            decision.answers.append((request, refused))
        else:
            self._lease(ip, request, now, decision)
            self._prospects.note_check(ip)

    def _serve_waiting(self, now: Moment, decision: Decision) -> None:
        """Afterwards, whatever is available has been tried by all who wait."""
        if not decision.may_lease:
            decision.answers += [(request, NoIPAvailable(None, "untrusted")) for request in self.waiting.take_all()]
            return
        while self._by_status[Status.AVAILABLE] and (request := self.waiting.first()):
            if ip := self._next(request.tried):
                self._lease(ip, request, now, decision)
                self.waiting.take_first()
            else:
                self.waiting.pass_over_first()
        self.waiting.look_again()

    def _next(self, tried: frozenset[UUID]) -> Ip | None:
        if self.rules.fastest and (ip := fast_one(self._rested, self._by_status[Status.AVAILABLE], tried, self.chance)):
            return ip
        return self._rested.first_but(tried)

    def _lease(self, ip: Ip, request: Acquire, now: Moment, decision: Decision) -> None:
        unused_s = None if ip.last_used_s == NEVER_USED else now.tick_s - ip.last_used_s
        choices = self._by_status[Status.AVAILABLE]
        self._step(ip, Occurrence(Event.LEASE, now.tick_s, request.request_id), now, decision)
        lease = Lease(
            ip.id, ip.address, ip.port, ip.provider, self.country, ip.lease_no,
            locked_until_s=now.tick_s + self.rules.lock_s, request_id=request.request_id, unused_s=unused_s,
            choices=choices, ends_boot_s=now.boot_s + self.rules.lock_s,
        )  # fmt: skip
        self.leases += 1
        decision.answers.append((request, lease))

    def _release(self, release: Release, now: Moment, decision: Decision) -> None:
        ip = self.ips.get(release.ip_id)
        if ip is None or ip.status is not Status.LOCKED or ip.lease_no != release.lease_no:
            decision.remarks.append(f"release of lease {release.lease_no} of {ip or release.ip_id} came too late")
            return
        event = release.event
        if event in CHECKS and self.departed.get((ip.address, ip.port), -math.inf) > now.tick_s:
            event = Event.RELEASED_TARGET_AT_FAULT  # an edit gave it an endpoint that rests
        elif event in CHECKS and release.endpoint not in (None, (ip.address, ip.port)):
            event = Event.CHECKED  # of the endpoint that an edit gave it nothing is known
        if release.event not in CHECKS:
            self._estimate.note_hold(now.tick_s - ip.last_used_s)
        spared = event is Event.RELEASED_IP_AT_FAULT and ip.is_healthy and self.quarantine.is_full(len(self.ips))
        self._step(ip, Occurrence(event, now.tick_s, None, release.response_ms, spared), now, decision)
        if spared and ip.consecutive_failures >= self.rules.failures_max:
            decision.spared.append(ip.provider)
        if self.rules.cooldown_s == 0 or event in CHECKS:
            self.fire_timers(now, decision)

    def _adopt(self, row: Ip, now: Moment, decision: Decision) -> None:
        """A row as it stands now. An edit may change where a known IP is and whether it is fit; never its lease."""
        ip = self.ips.get(row.id)
        if ip is None:
            as_written = row.status, row.locked_until_s
            self._join(row)
            if (row.status, row.locked_until_s) != as_written:
                decision.entries.append(ip_changed(row, "joined", now))
            return
        if row.edit_no <= ip.edit_no:
            return
        if (row.address, row.port) != (ip.address, ip.port):
            self._relocate(ip, row, now)
        ip.provider, ip.country = row.provider, row.country
        if ip.leaving:
            self.departed.pop((ip.address, ip.port), None)  # it never left: its rest will be its own
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
        decision.entries.append(ip_changed(ip, "edited", now))  # the row says again what holds

    def _relocate(self, ip: Ip, row: Ip, now: Moment) -> None:
        """An edit gives an IP another endpoint. What the old one, and the new one, have left of a rest still holds."""
        remember(self.departed, ip, now.tick_s, self.rules)
        ip.address, ip.port = row.address, row.port
        if ip.status is not Status.LOCKED:
            self._by_status[ip.status] -= 1
            self._join(ip)

    def _step(self, ip: Ip, what: Occurrence, now: Moment, decision: Decision) -> None:
        before = ip.status
        self._prospects.changed(what.event, now.tick_s, self.rules.cooldown_s)
        move(ip, what, self.rules)
        self._by_status[before] -= 1
        self.quarantine.note(ip, self.rules)
        self._prospects.note(ip)
        if ip.status is Status.GONE:
            del self.ips[ip.id]  # its row is gone already
            return
        self._by_status[ip.status] += 1
        if (
            ip.status is Status.COOLDOWN
            and (rests_until_s := departed_until_s(self.departed, ip, self.rules)) is not None
        ):
            ip.locked_until_s = rests_until_s  # an edit gave it this endpoint while it was in use through another
        decision.entries.append(ip_changed(ip, what.event.value, now))
        self._file(ip)

    def _join(self, ip: Ip) -> None:
        """An IP as its row has it, but for what the row cannot know or says by halves."""
        if ip.status is not Status.LOCKED and not (ip.is_healthy and ip.status is not Status.FAILED):
            ip.status, ip.is_healthy = Status.FAILED, False
        if (rests_until_s := departed_until_s(self.departed, ip, self.rules)) is not None:
            ip.locked_until_s, ip.locked_by = rests_until_s, None
            ip.status = Status.COOLDOWN if ip.is_healthy else Status.FAILED
        self.ips[ip.id] = ip
        self._by_status[ip.status] += 1
        self.quarantine.note(ip, self.rules)
        self._prospects.note(ip)
        self._file(ip)

    def _file(self, ip: Ip) -> None:
        """Puts an IP where its status makes it be found."""
        if (heap := self._heaps.get(ip.status)) is not None:
            heap.put(ip)
