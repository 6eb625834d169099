"""The rests of endpoints: whatever the rows and the wall clock say, no endpoint is used before its rest is over."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from daemon.clock import Moment
from daemon.journal.entries import IpChanged, encode
from daemon.pool.messages import Adopt, Release, Remove
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.pool.rows import ip_changed, ip_from_row
from daemon.pool.states import NEVER_USED, Event, Ip, Rules, Status
from tests.fakes.ips import a_request, an_ip, at, granted, row_of, say
from tests.unit.test_pool_rows import row

RULES = Rules(lock_s=90, cooldown_s=60)
BEFORE = Moment(tick_s=1_000.0, wall_s=1_700_000_000.0, boot_s=5_000.0, boot_id="this boot")
HOUR_S = 3_600.0
A, B = "192.0.2.1", "192.0.2.2"


def later(seconds: float, *, wall_set_s: float = 0.0, boot_id: str = "this boot") -> Moment:
    """`seconds` after BEFORE, in another run of the daemon, whose ticks differ. The wall clock was set meanwhile."""
    return Moment(20.0, BEFORE.wall_s + seconds + wall_set_s, BEFORE.boot_s + seconds, boot_id)


def said(ip: Ip, status: Status, ends_in_s: float | None) -> str:
    """An entry of the spool, written at BEFORE."""
    ip.status, ip.locked_until_s = status, None if ends_in_s is None else BEFORE.tick_s + ends_in_s
    return encode(ip_changed(ip, "said", BEFORE))[1]


def learned(now: Moment, *bodies: str) -> Rests:
    rests = Rests()
    rests.learn(bodies, now, RULES)
    return rests


def test_the_spool_knows_what_rests_though_no_row_does() -> None:
    now, rests, free, used = later(10), an_ip("rests"), an_ip("free"), an_ip("in use")
    table = learned(
        now,
        said(used, Status.LOCKED, 50),
        said(rests, Status.LOCKED, 90),
        said(rests, Status.COOLDOWN, 30),
        said(an_ip("rested"), Status.COOLDOWN, 9),
        said(free, Status.COOLDOWN, 30),
        said(free, Status.AVAILABLE, None),
        f'{{"id": "{uuid4()}", "status": "locked", "locked_until": 4e9}}',  # of an earlier version, without an endpoint
    )
    assert table.departed == {
        ("in use", "7000", ""): pytest.approx(now.tick_s + 40 + 60),
        ("rests", "7000", ""): pytest.approx(now.tick_s + 20),
    }
    assert table.take_cut() == 0


@pytest.mark.parametrize("wall_set_s", [HOUR_S, -HOUR_S, 0.0])
def test_in_the_same_boot_the_boot_clock_decides(wall_set_s: float) -> None:
    now = later(10, wall_set_s=wall_set_s)
    table = learned(now, said(an_ip(A), Status.COOLDOWN, 30))
    assert table.departed == {(A, "7000", ""): pytest.approx(now.tick_s + 20)}
    assert table.take_cut() == 0


def test_time_in_which_the_machine_was_suspended_counts_as_rest() -> None:
    assert learned(later(31), said(an_ip(A), Status.COOLDOWN, 30)).departed == {}


@pytest.mark.parametrize(("wall_set_s", "left_s"), [(0.0, 20.0), (-HOUR_S, 150.0), (HOUR_S, None)])
def test_after_a_reboot_the_wall_clock_decides_within_lock_and_cooldown(
    wall_set_s: float, left_s: float | None
) -> None:
    now = later(10, wall_set_s=wall_set_s, boot_id="another boot")
    table = learned(now, said(an_ip(A), Status.COOLDOWN, 30))
    assert table.departed == ({} if left_s is None else {(A, "7000", ""): pytest.approx(now.tick_s + left_s)})
    assert table.take_cut() == (wall_set_s < 0)


def test_entries_of_a_version_without_boot_clock_are_read_by_the_wall_clock() -> None:
    values = {"id": str(uuid4()), "status": "cooldown", "locked_until": BEFORE.wall_s + 30, "address": "a", "port": "1"}
    assert learned(later(10), json.dumps(values)).departed == {("a", "1", ""): pytest.approx(40.0)}


def test_entries_of_a_version_without_one_spelling_are_read_in_the_canonical_one() -> None:
    assert set(learned(later(0), said(an_ip(" GATE.example.", port="07000"), Status.COOLDOWN, 30)).departed) == {
        ("gate.example", "7000", "")
    }


def joined(now: Moment, rests: Rests, *rows: dict[str, Any]) -> list[Ip]:
    ips = [ip_from_row(values, now) for values in rows]
    Pool("us", RULES, rests).load_rows(ips, now)
    return ips


def row_at(address: str, **values: Any) -> dict[str, Any]:
    return row(ip_address=address, **values)


@pytest.mark.parametrize("wall_set_s", [HOUR_S, -HOUR_S, 0.0])
@pytest.mark.parametrize("is_edited", [False, True])
def test_a_row_rests_as_long_as_the_spool_says_whatever_the_clock_and_its_operator_did(
    wall_set_s: float, is_edited: bool
) -> None:
    now, ip = later(10, wall_set_s=wall_set_s), an_ip(A, lease_no=3, last_used_s=BEFORE.tick_s - 5)
    rests = learned(now, said(ip, Status.COOLDOWN, 30))
    written = {"status": "available"} if is_edited else {"status": "cooldown", "locked_until": BEFORE.wall_s + 30}
    (found,) = joined(now, rests, row_at(A, id=ip.id, lease_no=3, last_used_at=BEFORE.wall_s - 5, **written))
    assert found.status is Status.COOLDOWN
    assert found.locked_until_s == pytest.approx(now.tick_s + 20)
    assert found.last_used_s <= now.tick_s
    assert rests.take_cut() == 0


@pytest.mark.parametrize("wall_set_s", [HOUR_S, -HOUR_S, 0.0])
def test_a_lock_of_an_own_lease_goes_on_by_the_boot_clock(wall_set_s: float) -> None:
    now, ip = later(10, wall_set_s=wall_set_s), an_ip(A, lease_no=3)
    rests = learned(now, said(ip, Status.LOCKED, 30))
    values = {"status": "locked", "locked_until": BEFORE.wall_s + 30, "last_used_at": BEFORE.wall_s, "lease_no": 3}
    (found,) = joined(now, rests, row_at(A, id=ip.id, **values))
    assert found.status is Status.LOCKED
    assert found.locked_until_s == pytest.approx(now.tick_s + 20)


def test_a_row_put_back_while_no_daemon_ran_rests_first() -> None:
    now = later(10)
    (found,) = joined(now, learned(now, said(an_ip(A), Status.LOCKED, 30)), row_at(A))
    assert found.status is Status.COOLDOWN
    assert found.locked_until_s == pytest.approx(now.tick_s + 20 + 60)


def test_two_rows_that_swapped_their_endpoints_while_no_daemon_ran_both_rest() -> None:
    now, first, second = later(10), an_ip(A, lease_no=1), an_ip(B, lease_no=1)
    rests = learned(now, said(first, Status.COOLDOWN, 30), said(second, Status.COOLDOWN, 50))
    used = {"lease_no": 1, "status": "available", "last_used_at": BEFORE.wall_s}
    on_b, on_a = joined(now, rests, row_at(B, id=first.id, **used), row_at(A, id=second.id, **used))
    assert on_b.locked_until_s == pytest.approx(now.tick_s + 40)
    assert on_a.locked_until_s == pytest.approx(now.tick_s + 20)
    assert on_a.status is on_b.status is Status.COOLDOWN


def test_an_endpoint_edited_away_and_back_while_no_daemon_ran_rests_on() -> None:
    now, ip = later(10), an_ip(A, lease_no=1)
    rests = learned(now, said(ip, Status.LOCKED, 30), said(an_ip(B, id=ip.id, lease_no=1), Status.AVAILABLE, None))
    (found,) = joined(now, rests, row_at(A, id=ip.id, lease_no=1))
    assert found.status is Status.COOLDOWN
    assert found.locked_until_s == pytest.approx(now.tick_s + 80)


@pytest.mark.parametrize("clock_ahead_s", [-HOUR_S, 0.0, HOUR_S])
@pytest.mark.parametrize("status", ["available", "failed"])
def test_the_times_of_an_ip_that_comes_from_another_node_cause_no_rest(status: str, clock_ahead_s: float) -> None:
    now, ip = later(10), an_ip(A, lease_no=2)
    rests = learned(now, said(ip, Status.AVAILABLE, None))  # it was this node's before
    used = {"last_used_at": now.wall_s - 5 + clock_ahead_s, "last_health_check": now.wall_s - 5 + clock_ahead_s}
    values = {"id": ip.id, "lease_no": 4, "status": status, "is_healthy": status != "failed", **used}
    (found,) = joined(now, rests, row_at(A, **values))
    assert (found.status, found.locked_until_s, found.lease_no) == (Status(status), None, 4)
    assert found.last_used_s <= now.tick_s - RULES.cooldown_s
    assert rests.take_cut() == 0


def test_what_other_nodes_have_used_last_is_leased_last() -> None:
    now = later(0)
    ips = joined(now, Rests(), *(row_at(f"192.0.2.{n}", last_used_at=now.wall_s - 100 * n) for n in (1, 3, 2)))
    assert sorted(ips, key=lambda ip: ip.last_used_s) == [ips[1], ips[2], ips[0]]


def test_a_known_ip_that_needs_no_rest_is_available_at_once() -> None:
    """A check uses an IP and causes no cooldown."""
    now, ip = later(10), an_ip(A, lease_no=2, last_used_s=BEFORE.tick_s)
    rests = learned(now, said(ip, Status.AVAILABLE, None))
    (found,) = joined(now, rests, row_at(A, id=ip.id, lease_no=2, last_used_at=BEFORE.wall_s))
    assert (found.status, found.locked_until_s) == (Status.AVAILABLE, None)


def test_a_lease_number_never_goes_back() -> None:
    now, ip = later(10), an_ip(A, lease_no=7)
    rests = learned(now, said(ip, Status.AVAILABLE, None))
    assert joined(now, rests, row_at(A, id=ip.id, lease_no=4))[0].lease_no == 7


@pytest.mark.parametrize(("status", "most_s"), [("locked", 90), ("cooldown", 150), ("failed", 150)])
@pytest.mark.parametrize("excess_s", [0.0, 0.1, HOUR_S, 1e9])
def test_an_impossible_rest_is_cut_and_counted(status: str, most_s: float, excess_s: float) -> None:
    now, rests = later(0), Rests()
    written = {"status": status, "is_healthy": status != "failed", "locked_until": now.wall_s + most_s + excess_s}
    (found,) = joined(now, rests, row_at(A, **written))
    assert found.locked_until_s == pytest.approx(now.tick_s + most_s)
    assert (rests.take_cut(), rests.take_cut()) == (int(excess_s > 0), 0)


def test_a_last_use_in_the_future_counts_as_a_cooldown_ago() -> None:
    now = later(0)
    (found,) = joined(now, Rests(), row_at(A, last_used_at=now.wall_s + HOUR_S))
    assert (found.last_used_s, found.locked_until_s) == (now.tick_s - 60, None)
    assert joined(now, Rests(), row_at(A))[0].last_used_s == NEVER_USED


class Countries:
    """Pools that share their rests. An IP of each at 192.0.2.1 and 192.0.2.2, never used."""

    def __init__(self) -> None:
        self.rests = Rests()
        self.us, self.uk = Pool("us", RULES, self.rests), Pool("uk", RULES, self.rests)
        self.ip_us, self.ip_uk = an_ip(A), an_ip(B)
        self.us.load([self.ip_us])
        self.uk.load([self.ip_uk])

    def lease(self, pool: Pool, tick_s: float) -> str | None:
        """The address of the leased IP."""
        request = a_request(tick_s + 1e-6)
        lease = granted(say(pool, tick_s, request)).get(request.request_id)
        return lease.address if lease else None


def test_a_country_that_hears_first_of_a_swap_does_not_use_the_endpoint_that_the_other_still_has() -> None:
    pools = Countries()
    assert pools.lease(pools.us, 0) == A
    say(pools.uk, 1, Adopt((row_of(pools.ip_uk, address=A),)))  # before the pool of us knows that its row has B
    assert pools.lease(pools.uk, 149) is None
    assert pools.lease(pools.uk, 151) == A


def test_an_ip_that_became_available_before_another_row_used_its_endpoint_rests() -> None:
    pools = Countries()
    say(pools.uk, 0, Adopt((row_of(pools.ip_uk, address=A),)))
    assert pools.lease(pools.us, 1) == A
    decision = say(pools.uk, 2, request := a_request(3))
    assert granted(decision) == {}
    assert pools.ip_uk.status is Status.COOLDOWN
    assert [entry.event for entry in decision.entries if hasattr(entry, "event")] == ["endpoint_used"]
    assert request.request_id not in granted(say(pools.uk, 2.5))
    say(pools.us, 5, Release(pools.ip_us.id, 1, Event.RELEASED_OK))
    assert pools.lease(pools.uk, 150.5) is None  # it was certain only that the lease ends by then
    assert pools.lease(pools.uk, 152) == A


def test_rows_of_one_country_that_swap_their_endpoints_rest_on_whichever_comes_first() -> None:
    rests = Rests()
    pool, used, unused = Pool("us", RULES, rests), an_ip(A, last_used_s=0.0), an_ip(B, last_used_s=1.0)
    pool.load([used, unused])
    assert [lease.address for lease in granted(say(pool, 100, a_request())).values()] == [A]
    say(pool, 101, Release(used.id, 1, Event.RELEASED_OK))
    say(pool, 102, Adopt((row_of(unused, address=A), row_of(used, address=B))))
    assert [(ip.address, ip.locked_until_s) for ip in (used, unused)] == [(B, 161.0), (A, 161.0)]


def reloaded(pool: Pool, tick_s: float, *rows: Ip) -> Pool:
    return pool.reloaded(Adopt(tuple(rows)), at(tick_s))


def ip_in(pool: Pool, ip_id: UUID) -> Ip:
    return pool.ips[ip_id]


def test_a_pool_that_loads_rows_again_keeps_leases_and_rests_that_a_row_lacks() -> None:
    ip = an_ip(A)
    pool = Pool("us", RULES)
    pool.load([ip])
    before = row_of(ip)
    say(pool, 0, a_request())
    found = ip_in(reloaded(pool, 5, before), ip.id)  # the entry of the lease was refused, or an operator reset the row
    assert (found.status, found.locked_until_s, found.lease_no) == (Status.COOLDOWN, 150.0, 1)


def test_a_pool_that_loads_rows_again_remembers_those_that_are_gone() -> None:
    ip = an_ip(A)
    pool = Pool("us", RULES)
    pool.load([ip])
    say(pool, 0, a_request())
    again = reloaded(pool, 5)
    say(again, 6, Adopt((an_ip(A),)))
    assert granted(say(again, 149, request := a_request(149.5))) == {}
    assert request.request_id not in granted(say(again, 149.6))
    assert list(granted(say(again, 150, a_request(151))).values())


def test_a_lease_that_goes_on_while_rows_are_loaded_again_rests_only_after_its_release() -> None:
    ip = an_ip(A)
    pool = Pool("us", RULES)
    pool.load([ip])
    say(pool, 0, a_request())
    again = reloaded(pool, 5, row_of(ip))
    say(again, 10, Release(ip.id, 1, Event.RELEASED_OK))
    assert ip_in(again, ip.id).locked_until_s == 70.0


def test_a_row_that_was_corrected_is_written_with_the_first_decision() -> None:
    now = at(0)
    kept, corrected = ip_from_row(row_at(B), now), ip_from_row(row_at(A, status="cooldown", locked_until=9e9), now)
    pool = Pool("us", RULES)
    pool.load_rows([kept, corrected], now)
    first, second = say(pool, 1).entries, say(pool, 2).entries
    assert [(e.id, e.event, e.status) for e in first if isinstance(e, IpChanged)] == [
        (corrected.id, "joined", "cooldown")
    ]
    assert second == []


def test_the_table_holds_no_more_than_what_rests() -> None:
    rests = Rests()
    pool = Pool("us", RULES, rests)
    pool.load([an_ip(f"192.0.2.{n}") for n in range(9)])
    for n in range(9):
        say(pool, n, a_request())
    say(pool, 10, Remove(tuple(pool.ips)))
    say(pool, 500, Adopt(()))
    assert (rests.departed, rests._held, pool.ips) == ({}, {}, {})
