"""One country's IPs: how rows join, how operators' edits change them, and how they change status. Pure.

Pool adds the requests. All pools share one `rests`, see rests.py.
"""

from collections.abc import Iterable
from operator import attrgetter
from uuid import UUID

from daemon.clock import Moment
from daemon.pool.failing import Failing
from daemon.pool.giving import Giving
from daemon.pool.messages import NOTHING_ELSEWHERE, Decision
from daemon.pool.prospects import Prospects
from daemon.pool.queues import IpHeap, Waiting
from daemon.pool.rests import Rests
from daemon.pool.rows import ip_changed
from daemon.pool.states import Event, Ip, Occurrence, Quarantine, Rules, Status, move

OVERDUE_S = 1.0  # a lock or a rest that ends later than this was missed by its timer


class Stock:
    """`ips` by id. `adopted`: how many have joined. `elsewhere`: what other nodes have of this country.

    `term`: see messages.Adopt.
    """

    def __init__(self, country: str, rules: Rules, rests: Rests, waiting: Waiting) -> None:
        self.country = country
        self.rules = rules
        self.rests = rests
        self.ips: dict[UUID, Ip] = {}
        self.term = self.adopted = 0
        self.elsewhere = NOTHING_ELSEWHERE
        self.giving = Giving(rests.given)
        self.quarantine = Quarantine()
        self.failing = Failing()
        self._by_status = dict.fromkeys(Status, 0)
        self._rested = IpHeap(self.ips, Status.AVAILABLE, attrgetter("last_used_s"))
        self._locks = IpHeap(self.ips, Status.LOCKED, attrgetter("locked_until_s"))
        self._rests = IpHeap(self.ips, Status.COOLDOWN, attrgetter("locked_until_s"))
        self._heaps = {Status.AVAILABLE: self._rested, Status.LOCKED: self._locks, Status.COOLDOWN: self._rests}
        self._corrected: list[Ip] = []
        self._prospects = Prospects(self._rests, self._locks, waiting)

    def load(self, ips: Iterable[Ip]) -> None:
        """Adds IPs as they are, without a decision."""
        for ip in ips:
            self._join(ip)

    def load_rows(self, rows: Iterable[Ip], now: Moment, term: int = 0, rests_s: float = 0.0) -> None:
        """Adds the IPs of rows, without a decision: at the start. `fire_timers` writes the rows that were corrected."""
        self.term = term
        current = [row for row in rows if not self.giving.is_outdated(row)]
        self._corrected += [row for row in current if self._enter(row, now, rests_s)]

    def _is_quarantine_full(self) -> bool:
        others = self.elsewhere
        return self.quarantine.is_full(len(self.ips) + others.counts.total, others.broken)

    def _adopt(self, row: Ip, rests_s: float, now: Moment, decision: Decision) -> None:
        """Takes over a current row. An edit may change a known IP's endpoint and health, but never its lease."""
        ip = self.ips.get(row.id)
        if ip is None:
            if self.giving.is_outdated(row):
                return
            if self._enter(row, now, rests_s):
                decision.entries.append(ip_changed(row, "joined", now))
            return
        if row.edit_no <= ip.edit_no:
            return
        if row.endpoint != ip.endpoint:
            self._relocate(ip, row, now)
        ip.provider, ip.country, ip.login = row.provider, row.country, row.login
        ip.edit_no, ip.leaving = row.edit_no, False
        if ip.status is not Status.LOCKED:  # its release has the present number
            ip.lease_no = max(ip.lease_no, row.lease_no)  # the row had no owner meanwhile
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
        self.failing.note(ip)
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
        self.failing.note(ip)
        self._prospects.note(ip)
        if ip.status is Status.GONE:
            self.rests.departs(ip, self.rules)
            del self.ips[ip.id]
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
        self.adopted += 1
        self.giving.came_back(row.id)
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
        self.failing.note(ip)
        self._prospects.note(ip)
        self._file(ip)

    def _file(self, ip: Ip) -> None:
        if (heap := self._heaps.get(ip.status)) is not None:
            heap.put(ip)
