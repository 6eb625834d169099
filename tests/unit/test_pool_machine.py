"""Random messages in any order: a pool compared with a simple model that has no heaps and no statuses.

The model keeps per endpoint when it may be used again, per IP its lease and counters, and the waiting requests.
Journaled entries are applied to `rows`, as PostgreSQL would do, and must equal the pool's state.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from statistics import median_low
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from daemon.errors import IllegalTransition
from daemon.journal.entries import IpChanged, IpGiven
from daemon.pool.admission import LANDED_MAX, LANDED_MIN
from daemon.pool.messages import Acquire, Adopt, Decision, Give, Lease, Message, NoIPAvailable, Release, Remove
from daemon.pool.pool import Pool
from daemon.pool.queues import IpRequest
from daemon.pool.states import CHECKS, NEVER_USED, TABLE, Event, Ip, Occurrence, Rules, Status, move
from tests.fakes.futures import Returning, served
from tests.fakes.ips import a_request, an_ip, at, recount, row_of, state

RULES = Rules(lock_s=90, cooldown_s=60, failures_max=2, waiting_max=4)
ANOTHER_NODE = UUID(int=1)
ENDPOINTS = [f"192.0.2.{n}" for n in range(4)]
RELEASES = [Event.RELEASED_OK, Event.RELEASED_IP_AT_FAULT, Event.RELEASED_TARGET_AT_FAULT]
NEXT_DUE = 0.0
STEPS_S = [NEXT_DUE, NEXT_DUE, 0.5, 20.0, 60.0, 151.0]
PICKS = st.integers(0, 9)
PATIENCE_S = [0.0, 5.0, 40.0, 100.0, 9999.0]
STATES = ("status", "lease_no", "consecutive_failures", "is_healthy")
COUNTERS = {"total_uses": "uses", "success_count": "successes", "failure_count": "failures"}
FIELDS = (*STATES, *COUNTERS)


@dataclass(eq=False)
class Known:
    """The model's state of one IP. `lock_end_s` is None without a lease."""

    endpoint: str
    lock_end_s: float | None = None
    lease_no: int = 0
    rests_until_s: float = -math.inf
    last_used_s: float = NEVER_USED
    fit: bool = True
    probes_failed: int = 0
    broke: bool = False  # failed by failures in a row
    leaving: bool = False
    uses: int = 0
    good: int = 0
    bad: int = 0
    bad_in_row: int = 0


class PoolBesideItsModel(RuleBasedStateMachine):
    pool_rules = RULES

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool("us", self.pool_rules, chance=Random(7).random)
        self.now_s = 0.0
        self.known: dict[UUID, Known] = {}
        self.rows: dict[UUID, dict[str, Any]] = {}
        self.waiting: list[Acquire] = []
        self.asks: dict[UUID, IpRequest] = {}  # by request_id; until when each request may wait
        self.asked_s: dict[UUID, float] = {}
        self.landed_s: list[float] = []  # durations of traces
        self.held: list[Lease] = []
        self.checks: list[Lease] = []
        self.old: list[Lease] = []
        self.busy_until_s: dict[str, float] = {}  # endpoints as used by their traces
        self.departed: dict[str, float] = {}
        self.away: dict[UUID, tuple[Known, Ip]] = {}  # given, with the row
        self.addresses: dict[UUID, str] = {}  # the address of an IP's lease, even after an edit

    # what the model expects ------------------------------------------------------------------------------------------

    def free(self, tried: frozenset[UUID] = frozenset()) -> list[Known]:
        return [
            known
            for ip_id, known in self.known.items()
            if known.fit and known.lock_end_s is None and known.rests_until_s <= self.now_s and ip_id not in tried
        ]

    def returning(self, hold: Callable[[], float]) -> list[Returning]:
        """The IPs that may become available, if leases last as `hold` says."""
        checked = {lease.ip_id for lease in self.checks if self.is_current(lease)}
        found = []
        for ip_id, known in self.known.items():
            if not known.fit or known.leaving:
                continue
            free_s = max(self.now_s, known.rests_until_s)
            if known.lock_end_s is not None:
                free_s = self.now_s + hold() + (0.0 if ip_id in checked else RULES.cooldown_s)
            found.append(Returning(ip_id, free_s, known.last_used_s))
        return found

    def asks_of(self, request: Acquire) -> IpRequest:
        """A click waits only while a trace of the usual duration can end before its deadline."""
        known = len(self.landed_s) >= LANDED_MIN and request.priority == 0
        usual_s = median_low(self.landed_s[-LANDED_MAX:]) if known else 0.0
        return IpRequest(request.deadline_s - usual_s, request.priority, request.tried)

    def can_be_served(self, request: Acquire) -> bool:
        """In one of three futures: no lease ends; all end at once; all end just in time for this request."""
        waiting = sorted(self.waiting, key=lambda r: r.priority)
        queue, place = [self.asks[r.request_id] for r in waiting], waiting.index(request)
        just_in_time_s = queue[place].deadline_s - 0.01

        def much_later(ip: Returning, at_s: float) -> float:
            return math.inf

        def at_once(ip: Returning, at_s: float) -> float:
            return at_s + RULES.cooldown_s

        def just_in_time(ip: Returning, at_s: float) -> float:
            return max(just_in_time_s, at_s + RULES.cooldown_s)

        late = self.returning(lambda: 0.0)
        for ip in late:
            if self.known[ip.id].lock_end_s is not None:
                ip.free_s = max(ip.free_s, just_in_time_s)
        return (
            place in served(queue, self.returning(lambda: math.inf), much_later)
            or place in served(queue, self.returning(lambda: 0.0), at_once)
            or place in served(queue, late, just_in_time)
        )

    def depends_on_order(self) -> bool:
        """Whether a retried request depends on the order of IPs leased at the same time, which the model lacks."""
        last_used_s = [known.last_used_s for known in self.known.values()]
        return len(set(last_used_s)) < len(last_used_s) and any(request.tried for request in self.waiting)

    def is_reachable(self, request: Acquire) -> bool:
        """Whether an IP that it has not tried can become available before its deadline."""
        until_s = self.asks[request.request_id].deadline_s
        return any(ip.free_s < until_s for ip in self.returning(lambda: 0.0) if ip.id not in request.tried)

    def lease_ends(self, ip_id: UUID, address: str) -> None:
        known = self.known[ip_id]
        rests_until_s = self.now_s + RULES.cooldown_s
        self.busy_until_s[address] = rests_until_s
        if known.lock_end_s is not None and (known.leaving or known.endpoint != address):  # remembered as departed
            self.busy_until_s[address] = min(rests_until_s, known.lock_end_s + RULES.cooldown_s)
        known.lock_end_s = None
        known.rests_until_s = rests_until_s
        if known.fit:
            known.rests_until_s = max(known.rests_until_s, self.departed.get(known.endpoint, -math.inf))
        if known.leaving:
            del self.known[ip_id]

    def departs(self, known: Known) -> None:
        ends_s = known.rests_until_s if known.lock_end_s is None else known.lock_end_s + RULES.cooldown_s
        self.departed[known.endpoint] = max(ends_s, self.departed.get(known.endpoint, -math.inf))

    # inputs ---------------------------------------------------------------------------------------------------------

    def say(self, *messages: Message) -> None:
        """One batch of the actor; the answers are checked in the order in which they were decided."""
        rows = [row for message in messages if isinstance(message, Adopt) for row in message.ips]
        newest_last = sorted([*rows, *self.pool.ips.values()], key=lambda ip: ip.edit_no)
        self.before = {ip.id: Ip(**state(ip)) for ip in newest_last}
        decision = Decision()
        self.pool.fire_timers(at(self.now_s), decision)
        for ip_id, known in list(self.known.items()):
            if known.lock_end_s is not None and known.lock_end_s <= self.now_s:
                self.lease_ends(ip_id, self.addresses.pop(ip_id))
        for message in messages:
            self.pool.decide(message, at(self.now_s), decision)
        self.apply(decision)
        self.check_answers(decision)

    def apply(self, decision: Decision) -> None:
        for entry in decision.entries:
            if isinstance(entry, IpGiven):
                self.check_gift(entry)
                continue
            assert isinstance(entry, IpChanged)
            if entry.id in self.rows:
                row = self.rows[entry.id] | {name: getattr(entry, name) for name in STATES}
                self.rows[entry.id] = row | {
                    name: row[name] + getattr(entry, added) for name, added in COUNTERS.items()
                }

    def check_gift(self, entry: IpGiven) -> None:
        """Only an IP that nobody uses and that does not rest, also not as another row's endpoint."""
        known = self.known.pop(entry.id)
        rests_until_s = max(known.rests_until_s, self.departed.get(known.endpoint, -math.inf))
        assert known.lock_end_s is None
        assert self.now_s >= max(rests_until_s, self.busy_until_s.get(known.endpoint, -math.inf))
        row = self.before[entry.id]
        assert (entry.to, entry.lease_no) == (ANOTHER_NODE, row.lease_no)
        values = self.rows.pop(entry.id)
        values["status"] = Status(values["status"])
        for name, value in values.items():
            setattr(row, name, value)
        row.locked_until_s = row.locked_by = None
        row.last_used_s = known.last_used_s = min(known.last_used_s, self.now_s - 2 * RULES.cooldown_s)
        self.away[entry.id] = known, row

    def check_answers(self, decision: Decision) -> None:
        """First the refusals of requests that waited too long, then the leases, each to the first request."""
        for request, answer in decision.answers:
            assert request in self.waiting
            if isinstance(answer, Lease):
                has_waited = self.asked_s[request.request_id] < self.now_s
                assert (self.asks[request.request_id] if has_waited else request).deadline_s > self.now_s
                servable = [r for r in self.waiting if self.free(r.tried)]
                assert request is min(servable, key=lambda r: r.priority)  # min gives the first of equal ones
                self.check_grant(request, answer)
                self.held.append(answer)
            elif answer.why == "full":
                assert len(self.waiting) == RULES.waiting_max + 1
            elif answer.why in ("tried", "too_late"):
                assert (answer.why == "tried") == bool(request.tried)
                assert not self.is_reachable(request) or self.depends_on_order() or not self.can_be_served(request)
            else:
                assert (answer.why, request.deadline_s <= self.now_s) == ("deadline", True)
            self.waiting.remove(request)

    def check_grant(self, request: Acquire, lease: Lease) -> None:
        known = self.known[lease.ip_id]
        assert known in self.free(request.tried)
        rested_s = sorted(k.last_used_s for k in self.free(request.tried))
        assert known.last_used_s <= rested_s[(len(rested_s) - 1) // 2 if self.pool_rules.fastest else 0]
        self.check_lease(request, lease, known)

    def check_lease(self, request: Acquire, lease: Lease, known: Known) -> None:
        assert self.now_s >= self.busy_until_s.get(lease.address, -math.inf)
        assert (lease.request_id, lease.address) == (request.request_id, known.endpoint)
        assert lease.lease_no > known.lease_no
        assert lease.locked_until_s == self.now_s + RULES.lock_s
        known.lease_no, known.lock_end_s, known.last_used_s = lease.lease_no, lease.locked_until_s, self.now_s
        known.uses += 1
        self.busy_until_s[lease.address] = math.inf
        self.addresses[lease.ip_id] = lease.address

    def is_current(self, lease: Lease) -> bool:
        known = self.known.get(lease.ip_id)
        return bool(known and known.lock_end_s is not None and known.lease_no == lease.lease_no)

    # what may happen -------------------------------------------------------------------------------------------------

    @initialize(count=st.integers(1, 4), usual_s=st.sampled_from([None, 30.0]))
    def some_ips(self, count: int, usual_s: float | None) -> None:
        self.landed_s += [] if usual_s is None else [usual_s] * LANDED_MIN
        for held_s in self.landed_s:
            self.pool._estimate.note_hold(held_s, landed=True)
        ips = [an_ip(endpoint) for endpoint in ENDPOINTS[:count]]
        self.pool.load(ips)
        for ip in ips:
            self.known[ip.id] = Known(ip.address)
            self.rows[ip.id] = {name: getattr(ip, name) for name in FIELDS}

    @rule(
        priorities=st.lists(st.integers(0, 2), min_size=1, max_size=3),
        patience_s=st.sampled_from(PATIENCE_S),
        tries=st.lists(PICKS, max_size=2),
    )
    def acquire(self, priorities: list[int], patience_s: float, tries: list[int]) -> None:
        ip_ids = list(self.known)
        tried = frozenset(ip_ids[pick % len(ip_ids)] for pick in tries if ip_ids)
        for priority in priorities:
            request = a_request(self.now_s + patience_s, priority, tried)
            self.say()
            self.waiting.append(request)
            self.asks[request.request_id], self.asked_s[request.request_id] = self.asks_of(request), self.now_s
            self.say(request)

    @precondition(lambda self: self.held)
    @rule(pick=PICKS, event=st.sampled_from(RELEASES), ms=st.floats(0, 9e4))
    def release(self, pick: int, event: Event, ms: float) -> None:
        self.say()
        lease = self.held.pop(pick % len(self.held))
        self.old.append(lease)
        if not self.is_current(lease):
            self.releases_in_vain(lease, event)
            return
        known = self.known[lease.ip_id]
        known.good += event is Event.RELEASED_OK
        self.landed_s += [self.now_s - known.last_used_s] if event is Event.RELEASED_OK else []
        known.bad += event is Event.RELEASED_IP_AT_FAULT
        if event is not Event.RELEASED_TARGET_AT_FAULT:
            known.bad_in_row = 0 if event is Event.RELEASED_OK else known.bad_in_row + 1
        too_often = event is Event.RELEASED_IP_AT_FAULT and known.bad_in_row >= RULES.failures_max
        fails = too_often and (not known.fit or not any(k.broke for k in self.known.values()))  # one of so few at most
        known.broke = known.broke or (fails and known.fit)
        known.fit = known.fit and not fails
        self.lease_ends(lease.ip_id, self.addresses.pop(lease.ip_id))
        self.say(Release(lease.ip_id, lease.lease_no, event, ms))

    @rule(pick=PICKS)
    def a_check_begins(self, pick: int) -> None:
        self.say()
        if not self.known:
            return
        ip_id, known = list(self.known.items())[pick % len(self.known)]
        request, decision = structs.replace(a_request(self.now_s + 5), ip_id=ip_id), Decision()
        self.pool.decide(request, at(self.now_s), decision)
        self.apply(decision)
        ((asked, answer),) = decision.answers
        assert asked is request
        rests = max(known.rests_until_s, self.departed.get(known.endpoint, -math.inf)) > self.now_s
        if isinstance(answer, NoIPAvailable):
            whys = {"gone": known.leaving, "locked": known.lock_end_s is not None, "cooldown": rests}
            # Even if all waiting requests have tried it; and one of five IPs is kept for clicks.
            whys["busy"] = bool(self.waiting) or len(self.free()) <= len(self.known) // 5
            assert whys[answer.why]
            return
        assert not rests
        assert (known.leaving, known.lock_end_s) == (False, None)
        self.check_lease(request, answer, known)
        self.checks.append(answer)

    @precondition(lambda self: self.checks)
    @rule(pick=PICKS, event=st.sampled_from(sorted(CHECKS)))
    def a_check_ends(self, pick: int, event: Event) -> None:
        """A check causes no rest, but an endpoint that an edit has set meanwhile may rest."""
        self.say()
        lease = self.checks.pop(pick % len(self.checks))
        if not self.is_current(lease):
            self.releases_in_vain(lease, event)
            return
        known, address = self.known[lease.ip_id], self.addresses.pop(lease.ip_id)
        if self.departed.get(known.endpoint, -math.inf) > self.now_s:
            self.lease_ends(lease.ip_id, address)
        else:
            known.lock_end_s, known.rests_until_s = None, -math.inf
            self.busy_until_s[address] = self.now_s
            if not known.fit and address == known.endpoint:
                known.probes_failed += event is Event.PROBE_FAILED
                if event is Event.PROBE_WORKED:
                    known.fit, known.broke, known.bad_in_row, known.probes_failed = True, False, 0, 0
            if known.leaving:
                del self.known[lease.ip_id]
        self.say(Release(lease.ip_id, lease.lease_no, event, endpoint=lease.endpoint))

    @precondition(lambda self: self.old)
    @rule(pick=PICKS, event=st.sampled_from(list(Event)))
    def release_again(self, pick: int, event: Event) -> None:
        self.say()
        self.releases_in_vain(self.old[pick % len(self.old)], event)

    def releases_in_vain(self, lease: Lease, event: Event) -> None:
        before, decision = self.everything(), Decision()
        self.pool.decide(Release(lease.ip_id, lease.lease_no, event), at(self.now_s), decision)
        assert (decision.entries, decision.answers, len(decision.remarks)) == ([], [], 1)
        assert self.everything() == before

    @rule(step_s=st.sampled_from(STEPS_S))
    def time_passes(self, step_s: float) -> None:
        """To the time of the pool's next timer, or later, as after a suspended process."""
        due_s = self.pool.next_due_s()
        assert due_s is None or due_s > self.now_s
        self.now_s = due_s if step_s == NEXT_DUE and due_s is not None else self.now_s + step_s
        self.say()

    @rule(pick=PICKS, fit=st.sampled_from([True, True, False]))
    def operator_inserts(self, pick: int, fit: bool) -> None:
        self.say()
        endpoint = self.untaken(pick)
        if endpoint is not None:
            ip = an_ip(endpoint, is_healthy=fit)
            self.rows[ip.id] = {name: getattr(ip, name) for name in FIELDS}
            self.known[ip.id] = Known(endpoint, fit=fit, rests_until_s=self.departed.get(endpoint, -math.inf))
            self.say(Adopt((ip,)))

    def untaken(self, pick: int) -> str | None:
        taken = {self.known[ip_id].endpoint for ip_id in self.rows} | {
            known.endpoint for known, _ in self.away.values()
        }
        first = pick % len(ENDPOINTS)
        return next((e for e in ENDPOINTS[first:] + ENDPOINTS[:first] if e not in taken), None)

    @rule(pick=PICKS, edit=st.sampled_from(["mark", "reset", "move", "notes"]))
    def operator_edits(self, pick: int, edit: str) -> None:
        self.say()
        if not self.rows:
            return
        ip_id = list(self.rows)[pick % len(self.rows)]
        known, changes = self.known[ip_id], dict[str, Any]()
        if edit == "mark":
            changes = {"status": Status.FAILED, "is_healthy": False}
            known.broke = known.broke or (known.fit and known.bad_in_row >= RULES.failures_max)
            known.fit = False
        elif edit == "reset":
            changes = {"status": Status.AVAILABLE, "is_healthy": True, "consecutive_failures": 0}
            known.fit, known.broke, known.bad_in_row, known.probes_failed = True, False, 0, 0
        elif edit == "move":
            changes = {"address": self.moves(known, pick)}
        row = row_of(self.pool.ips[ip_id], **changes)
        self.rows[ip_id] = {name: getattr(row, name) for name in FIELDS}
        self.say(Adopt((row,)))

    def moves(self, known: Known, pick: int) -> str:
        endpoint = self.untaken(pick)
        if endpoint is not None:
            self.departs(known)
            known.endpoint = endpoint
            if known.lock_end_s is None:
                known.rests_until_s = max(known.rests_until_s, self.departed.get(endpoint, -math.inf))
        return known.endpoint

    @rule(pick=PICKS)
    def an_old_row_is_adopted_again(self, pick: int) -> None:
        self.say()
        if self.pool.ips:
            ip = list(self.pool.ips.values())[pick % len(self.pool.ips)]
            before = self.everything()
            self.say(Adopt((row_of(ip, edit_no=ip.edit_no, status=Status.AVAILABLE, locked_until_s=None),)))
            assert self.everything() == before

    @rule(pick=PICKS)
    def operator_deletes(self, pick: int) -> None:
        self.say()
        if pick < len(self.rows) and len(self.rows) > 1:  # rarely, or there would be nothing to lease
            ip_id = list(self.rows)[pick]
            del self.rows[ip_id]
            known = self.known[ip_id]
            self.departs(known)
            known.leaving = True
            if known.lock_end_s is None:
                del self.known[ip_id]
            self.say(Remove((ip_id,)))

    @rule(count=st.integers(0, 3), later=st.integers(0, 2), failed=st.integers(0, 1))
    def a_gift(self, count: int, later: int, failed: int) -> None:
        self.say()
        before, idle = len(self.away), len(self.free())
        fits = [known.fit for known, _ in self.away.values()]
        self.say(Give(ANOTHER_NODE, count, min(count, later), failed))
        given = [known.fit for known, _ in self.away.values()][before:]
        assert [known.fit for known, _ in self.away.values()][:before] == fits
        assert given.count(True) == min(count, idle)
        assert given.count(False) <= failed

    @precondition(lambda self: self.away)
    @rule(pick=PICKS, outdated=st.booleans())
    def a_given_ip_is_seen_again(self, pick: int, outdated: bool) -> None:
        """In a row that was read before the gift, or because the IP has come back."""
        self.say()
        ip_id = list(self.away)[pick % len(self.away)]
        known, row = self.away[ip_id]
        if outdated:
            before = self.everything()
            self.say(Adopt((row_of(row),)))
            assert self.everything() == before
            return
        del self.away[ip_id]
        known.rests_until_s = max(-math.inf, self.departed.get(known.endpoint, -math.inf))
        self.known[ip_id] = known
        row.lease_no += 1
        known.lease_no += 1
        self.rows[ip_id] = {name: getattr(row, name) for name in FIELDS}
        self.say(Adopt((row_of(row),)))

    @rule(pick=PICKS, event=st.sampled_from(list(Event)))
    def an_illegal_event(self, pick: int, event: Event) -> None:
        illegal: list[Ip] = [ip for ip in self.pool.ips.values() if (ip.status, event) not in TABLE]
        if illegal:
            before = self.everything()
            with pytest.raises(IllegalTransition):
                move(illegal[pick % len(illegal)], Occurrence(event, self.now_s), RULES)
            assert self.everything() == before

    # invariants ----------------------------------------------------------------------------------------------------

    def everything(self) -> Any:
        ips = [state(ip) for ip in self.pool.ips.values()]
        departed = {endpoint: until_s for endpoint, until_s in self.pool.rests.departed.items() if until_s > self.now_s}
        return ips, self.pool.counts(), list(self.pool.waiting), self.pool.next_due_s(), departed

    @invariant()
    def nobody_is_passed_over(self) -> None:
        available = {ip.id for ip in self.pool.ips.values() if ip.status is Status.AVAILABLE}
        assert all(available <= request.tried for request in self.waiting)
        assert list(self.pool.waiting) == self.waiting

    @invariant()
    def no_request_waits_that_cannot_be_served(self) -> None:
        """Exact for requests that no leased IP can serve: their future is known."""
        for request in self.waiting:
            assert self.is_reachable(request)
            until_s = self.asks[request.request_id].deadline_s
            is_exact = until_s <= self.now_s + RULES.cooldown_s and not self.checks
            if is_exact and not self.pool_rules.fastest and not self.depends_on_order():
                assert self.can_be_served(request)

    @invariant()
    def counters_equal_what_happened(self) -> None:
        assert self.pool.counts() == recount(self.pool)
        assert set(self.pool.ips) == set(self.known)
        for ip_id, known in self.known.items():
            ip = self.pool.ips[ip_id]
            assert (ip.total_uses, ip.success_count, ip.failure_count) == (known.uses, known.good, known.bad)
            assert (ip.lease_no, ip.consecutive_failures) == (known.lease_no, known.bad_in_row)
            assert ip.probe_failures == known.probes_failed
            assert (ip.status is Status.LOCKED, ip.locked_by is not None) == (known.lock_end_s is not None,) * 2

    @invariant()
    def just_those_that_may_be_leased_are_available(self) -> None:
        available = {ip.id for ip in self.pool.ips.values() if ip.status is Status.AVAILABLE}
        assert available == {ip_id for ip_id, known in self.known.items() if known in self.free()}

    @invariant()
    def the_rows_say_what_holds(self) -> None:
        for ip_id, row in self.rows.items():
            assert row == {name: getattr(self.pool.ips[ip_id], name) for name in FIELDS}


PoolBesideItsModel.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestPoolBesideItsModel = PoolBesideItsModel.TestCase


class PoolOfTheFastestBesideItsModel(PoolBesideItsModel):
    pool_rules = replace(RULES, fastest=True)


PoolOfTheFastestBesideItsModel.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestPoolOfTheFastestBesideItsModel = PoolOfTheFastestBesideItsModel.TestCase
