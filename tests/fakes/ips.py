"""IPs, requests and replies for tests of the pool, and a pool's decision on a batch."""

from collections import Counter
from typing import Any
from uuid import UUID, uuid4

from daemon.clock import Moment
from daemon.pool.messages import Acquire, Adopt, Counts, Decision, Lease, Message, NoIPAvailable, Release
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Ip, Rules, Status

WALL_S = 1_700_000_000.0
RULES = Rules(lock_s=90, cooldown_s=60, failures_max=5, waiting_max=3)
ROW_FIELDS = tuple(name for name in Ip.__slots__)


def at(tick_s: float) -> Moment:
    return Moment(tick_s, WALL_S + tick_s)


def an_ip(name: str = "192.0.2.1", **changes: Any) -> Ip:
    """An available, unused IP with `changes`."""
    return Ip(changes.pop("id", None) or uuid4(), name, changes.pop("port", "7000"), "us", "luna", **changes)


def row_of(ip: Ip, **changes: Any) -> Ip:
    """The current row of `ip` with an operator's `changes`; each edit increments edit_no."""
    row = Ip(**state(ip))
    row.edit_no += 1
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def state(ip: Ip) -> dict[str, Any]:
    """All fields, to compare."""
    return {name: getattr(ip, name) for name in ROW_FIELDS}


def a_pool(*ips: Ip, rules: Rules = RULES, **options: Any) -> Pool:
    pool = Pool("us", rules, **options)
    pool.load(ips)
    return pool


class Unread:
    """A reply channel that must not be used."""

    def send_nowait(self, value: Lease | NoIPAvailable, /) -> None:
        raise AssertionError("a pool answers through its decision only")


def a_request(deadline_s: float = 1e9, priority: int = 0, tried: frozenset[UUID] = frozenset()) -> Acquire:
    return Acquire(uuid4(), deadline_s, Unread(), priority, tried=tried)


def granted(decision: Decision) -> dict[UUID, Lease]:
    """The leases by their request."""
    return {r.request_id: answer for r, answer in decision.answers if isinstance(answer, Lease)}


def refused(decision: Decision) -> dict[UUID, NoIPAvailable]:
    return {r.request_id: answer for r, answer in decision.answers if isinstance(answer, NoIPAvailable)}


def say(pool: Pool, tick_s: float, *messages: Message) -> Decision:
    """Handles a batch like an actor."""
    decision = Decision()
    pool.fire_timers(at(tick_s), decision)
    for message in messages:
        pool.decide(message, at(tick_s), decision)
    return decision


def leased(pool: Pool, tick_s: float) -> Lease:
    (lease,) = granted(say(pool, tick_s, a_request(tick_s + 1000))).values()
    return lease


def released(lease: Lease, event: Event = Event.RELEASED_OK) -> Release:
    return Release(lease.ip_id, lease.lease_no, event, 800.0)


def adopt(*rows: Ip) -> Adopt:
    return Adopt(rows)


def recount(pool: Pool) -> Counts:
    """The counts, computed from each IP."""
    by = Counter(ip.status for ip in pool.ips.values())
    return Counts(
        total=len(pool.ips),
        available=by[Status.AVAILABLE],
        locked=by[Status.LOCKED],
        cooldown=by[Status.COOLDOWN],
        failed=by[Status.FAILED],
        waiting=len(pool.waiting),
    )
