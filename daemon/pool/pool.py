"""One country's IPs and those who wait for one. Synchronous, without a clock: an event and the time in, a Decision out.

The actor around it journals a decision's entries before it sends the answers. Heaps give the next IP, the next timer
and the next waiter in O(log n); what they hold may be outdated, is checked when it comes up, and each is rebuilt once the
outdated part outgrows the rest.

An endpoint whose row is deleted, or moved to another country, while it is in use or rests is remembered in `departed`,
which all pools share: should it come back as a new row, it rests until then first.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from daemon.journal.entries import Entry, IpChanged
from daemon.moment import Moment
from daemon.pool.messages import Acquire, Adopt, Counts, Lease, Message, NoIPAvailable, Release, Remove
from daemon.pool.states import NEVER_USED, Event, Ip, Occurrence, Rules, Status, move

Endpoint = tuple[str, str]  # address, port

OVERDUE_S = 1.0
OUTDATED_FACTOR = 4
HEAP_MIN = 64


@dataclass(slots=True)
class Decision:
    """What one or more events led to. `answers` go out once `entries` are durable; `remarks` are for the log."""

    entries: list[Entry] = field(default_factory=list)
    answers: list[tuple[Acquire, Lease | NoIPAvailable]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def grants(self) -> bool:
        return any(isinstance(answer, Lease) for _, answer in self.answers)


class Pool:
    """`ips` by id. Change it only through `decide`, `fire_timers` and `load`."""

    def __init__(self, country: str, rules: Rules, departed: dict[Endpoint, float] | None = None) -> None:
        self.country = country
        self.rules = rules
        self.departed = {} if departed is None else departed
        self.ips: dict[UUID, Ip] = {}
        self._by_status = dict.fromkeys(Status, 0)
        self._rested: list[tuple[float, int, UUID]] = []  # last used, order of arrival, id
        self._timers: list[tuple[float, int, UUID]] = []  # locked until, order of arrival, id
        self._waiting: list[tuple[int, int, Acquire]] = []  # priority, order of arrival
        self._deadlines: list[tuple[float, int, Acquire]] = []
        self._unanswered: dict[int, Acquire] = {}  # by order of arrival
        self._order = 0

    def __repr__(self) -> str:
        c = self.counts()
        return (
            f"<Pool {self.country}: {c.available} available, {c.locked} locked, {c.cooldown} cooldown, "
            f"{c.failed} failed, {c.waiting} waiting>"
        )

    def load(self, ips: Iterable[Ip]) -> None:
        """Takes IPs over as they stand, without a decision: at start, from rows."""
        for ip in ips:
            self._join(ip)

    def counts(self) -> Counts:
        by = self._by_status
        available, locked = by[Status.AVAILABLE], by[Status.LOCKED]
        cooldown, failed = by[Status.COOLDOWN], by[Status.FAILED]
        return Counts(len(self.ips), available, locked, cooldown, failed, len(self._unanswered))

    def overdue(self, now: Moment) -> int:
        """IPs whose lock or rest should have ended over a second ago: 0, unless a timer failed us."""
        late_s = now.tick_s - OVERDUE_S
        return sum(1 for timer in self._timers if timer[0] < late_s and self._is_current_timer(timer))

    def unanswered(self) -> list[Acquire]:
        return list(self._unanswered.values())

    def next_due_s(self) -> float | None:
        """When `fire_timers` has something to do again; an outdated timer only makes it early."""
        dues = [heap[0][0] for heap in (self._timers, self._deadlines) if heap]
        return min(dues, default=None)

    def decide(self, message: Message, now: Moment, decision: Decision) -> None:
        """Adds to `decision` what `message` leads to at `now`. Raises nothing but our own faults."""
        match message:
            case Acquire():
                self._acquire(message, now, decision)
            case Release():
                self._release(message, now, decision)
            case Adopt(ips):
                for row in ips:
                    self._adopt(row, now, decision)
                self._serve_waiting(now, decision)
            case Remove(ip_ids):
                for ip_id in ip_ids:
                    if (ip := self.ips.get(ip_id)) and not ip.leaving:
                        self._remove(ip, now, decision)

    def fire_timers(self, now: Moment, decision: Decision) -> None:
        """Everything that is due at `now`: locks and rests that end, then waiters whose deadline has come."""
        while self._timers and self._timers[0][0] <= now.tick_s:
            until_s, _, ip_id = heapq.heappop(self._timers)
            if (ip := self.ips.get(ip_id)) is None or ip.locked_until_s != until_s:
                continue
            if ip.status is Status.LOCKED:
                decision.remarks.append(f"{ip!r} kept its lock to the end: its trace never gave it back")
                self._step(ip, Occurrence(Event.LOCK_EXPIRED, now.tick_s), now, decision)
            elif ip.status is Status.COOLDOWN:
                self._step(ip, Occurrence(Event.COOLDOWN_OVER, now.tick_s), now, decision)
        self._serve_waiting(now, decision)
        while self._deadlines and self._deadlines[0][0] <= now.tick_s:
            _, order, request = heapq.heappop(self._deadlines)
            if self._unanswered.pop(order, None):
                decision.answers.append((request, NoIPAvailable(self._next_free_s(), "deadline")))

    def _acquire(self, request: Acquire, now: Moment, decision: Decision) -> None:
        if request.deadline_s <= now.tick_s:
            decision.answers.append((request, NoIPAvailable(self._next_free_s(), "deadline")))
            return
        if not self._unanswered and (ip := self._longest_rested()):
            self._lease(ip, request, now, decision)
            return
        if len(self._unanswered) >= self.rules.waiting_max:
            decision.answers.append((request, NoIPAvailable(self._next_free_s(), "full")))
            return
        order = self._next_order()
        self._unanswered[order] = request
        heapq.heappush(self._waiting, (request.priority, order, request))
        heapq.heappush(self._deadlines, (request.deadline_s, order, request))

    def _serve_waiting(self, now: Moment, decision: Decision) -> None:
        while self._unanswered:
            while self._waiting and self._waiting[0][1] not in self._unanswered:
                heapq.heappop(self._waiting)
            if not (ip := self._longest_rested()):
                break
            _, order, request = heapq.heappop(self._waiting)
            del self._unanswered[order]
            self._lease(ip, request, now, decision)
        if len(self._deadlines) > OUTDATED_FACTOR * len(self._unanswered) + HEAP_MIN:
            self._deadlines = [d for d in self._deadlines if d[1] in self._unanswered]
            self._waiting = [w for w in self._waiting if w[1] in self._unanswered]
            heapq.heapify(self._deadlines)
            heapq.heapify(self._waiting)

    def _lease(self, ip: Ip, request: Acquire, now: Moment, decision: Decision) -> None:
        self._step(ip, Occurrence(Event.LEASE, now.tick_s, request.request_id), now, decision)
        lease = Lease(
            ip_id=ip.id,
            address=ip.address,
            port=ip.port,
            provider=ip.provider,
            country=self.country,
            lease_no=ip.lease_no,
            locked_until_s=now.tick_s + self.rules.lock_s,
            request_id=request.request_id,
        )
        decision.answers.append((request, lease))

    def _release(self, release: Release, now: Moment, decision: Decision) -> None:
        ip = self.ips.get(release.ip_id)
        if ip is None or ip.status is not Status.LOCKED or ip.lease_no != release.lease_no:
            decision.remarks.append(f"release of lease {release.lease_no} of {ip or release.ip_id} came too late")
            return
        what = Occurrence(release.event, now.tick_s, response_ms=release.response_ms)
        self._step(ip, what, now, decision)
        if self.rules.cooldown_s == 0:
            self.fire_timers(now, decision)

    def _adopt(self, row: Ip, now: Moment, decision: Decision) -> None:
        """A row as it stands now. An edit may change where a known IP is and whether it is fit; never its lease."""
        ip = self.ips.get(row.id)
        if ip is None:
            self._welcome(row, now, decision)
            return
        if row.edit_no <= ip.edit_no:
            return
        ip.address, ip.port, ip.provider, ip.country = row.address, row.port, row.provider, row.country
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
        elif not fit:
            self._step(ip, Occurrence(Event.MARKED_FAILED, now.tick_s), now, decision)
            return
        decision.entries.append(self._entry(ip, "edited", now))  # the row says again what holds

    def _welcome(self, row: Ip, now: Moment, decision: Decision) -> None:
        rests_until_s = self.departed.pop((row.address, row.port), now.tick_s)
        if row.status is Status.AVAILABLE and rests_until_s > now.tick_s:
            row.status, row.locked_until_s = Status.COOLDOWN, rests_until_s
            decision.entries.append(self._entry(row, "returned", now))
        self._join(row)

    def _remove(self, ip: Ip, now: Moment, decision: Decision) -> None:
        rests_until_s = ip.locked_until_s or now.tick_s
        if ip.status is Status.LOCKED:
            rests_until_s += self.rules.cooldown_s
        for endpoint in [e for e, until_s in self.departed.items() if until_s <= now.tick_s]:
            del self.departed[endpoint]
        if rests_until_s > now.tick_s:
            self.departed[ip.address, ip.port] = rests_until_s
        self._step(ip, Occurrence(Event.REMOVED, now.tick_s), now, decision)

    def _step(self, ip: Ip, what: Occurrence, now: Moment, decision: Decision) -> None:
        before = ip.status
        move(ip, what, self.rules)
        self._by_status[before] -= 1
        if ip.status is Status.GONE:
            del self.ips[ip.id]  # its row is gone already
            return
        self._by_status[ip.status] += 1
        decision.entries.append(self._entry(ip, what.event.value, now))
        self._file(ip)

    def _join(self, ip: Ip) -> None:
        if not ip.is_healthy and ip.status is Status.AVAILABLE:
            ip.status = Status.FAILED  # a row that its operator half marked
        self.ips[ip.id] = ip
        self._by_status[ip.status] += 1
        self._file(ip)

    def _file(self, ip: Ip) -> None:
        """Puts an IP where its status makes it be found."""
        if ip.status is Status.AVAILABLE and ip.is_healthy:
            heapq.heappush(self._rested, (ip.last_used_s, self._next_order(), ip.id))
        elif ip.locked_until_s is not None:
            heapq.heappush(self._timers, (ip.locked_until_s, self._next_order(), ip.id))
        most = OUTDATED_FACTOR * len(self.ips) + HEAP_MIN
        if len(self._timers) > most:
            self._timers = [t for t in self._timers if self._is_current_timer(t)]
            heapq.heapify(self._timers)
        if len(self._rested) > most:
            self._rested = [r for r in self._rested if self._is_rested(r)]
            heapq.heapify(self._rested)

    def _is_current_timer(self, timer: tuple[float, int, UUID]) -> bool:
        ip = self.ips.get(timer[2])
        return ip is not None and ip.locked_until_s == timer[0]

    def _is_rested(self, rested: tuple[float, int, UUID]) -> bool:
        ip = self.ips.get(rested[2])
        return ip is not None and ip.status is Status.AVAILABLE and ip.is_healthy and ip.last_used_s == rested[0]

    def _longest_rested(self) -> Ip | None:
        while self._rested:
            rested = heapq.heappop(self._rested)
            if self._is_rested(rested):
                return self.ips[rested[2]]
        return None

    def _next_free_s(self) -> float | None:
        """When the next IP that rests or is in use can be had again, at the earliest."""
        while self._timers and not self._is_current_timer(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _entry(self, ip: Ip, event: str, now: Moment) -> IpChanged:
        until_s, health_s = ip.locked_until_s, ip.last_health_check_s
        return IpChanged(
            id=ip.id,
            event=event,
            status=ip.status.value,
            locked_until=None if until_s is None else now.wall_at(until_s),
            locked_by_request=ip.locked_by,
            last_used_at=None if ip.last_used_s == NEVER_USED else now.wall_at(ip.last_used_s),
            total_uses=ip.total_uses,
            success_count=ip.success_count,
            failure_count=ip.failure_count,
            consecutive_failures=ip.consecutive_failures,
            is_healthy=ip.is_healthy,
            avg_response_time_ms=ip.avg_response_time_ms,
            last_health_check=None if health_s is None else now.wall_at(health_s),
            lease_no=ip.lease_no,
            edit_no=ip.edit_no,
        )
