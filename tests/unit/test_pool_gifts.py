"""What a pool gives to other nodes, and requests that wait for IPs of other nodes."""

from uuid import UUID

from daemon.journal.entries import IpGiven
from daemon.pool.giving import ORDER_S
from daemon.pool.messages import Adopt, Counts, Decision, Give, SetElsewhere
from daemon.pool.pool import Pool
from daemon.pool.prospects import ELSEWHERE_S
from daemon.pool.rests import Rests
from daemon.pool.states import Event, Rules, Status
from tests.fakes.ips import a_pool, a_request, an_ip, at, granted, leased, refused, released, row_of, say

OTHER = UUID(int=9)
RULES = Rules(lock_s=90, cooldown_s=60, failures_max=1, waiting_max=50)


def gifts_in(decision: Decision) -> list[IpGiven]:
    return [entry for entry in decision.entries if isinstance(entry, IpGiven)]


def test_a_gift_leaves_with_an_entry_and_what_was_asked_later_follows_when_it_has_rested() -> None:
    first, second = an_ip("a"), an_ip("b")
    pool = a_pool(first, second, rules=RULES)
    lease = leased(pool, 0)
    decision = say(pool, 1, Give(OTHER, 2, later=2))
    assert decision.entries == [IpGiven(second.id, OTHER, second.lease_no)]
    say(pool, 2, released(lease))
    say(pool, 2 + 59, Give(OTHER, 1, later=1))
    decision = say(pool, 2 + 60)
    assert decision.entries[-1] == IpGiven(first.id, OTHER, first.lease_no)
    assert pool.view().given == {OTHER: 2}
    assert pool.counts() == Counts(0, 0, 0, 0, 0, 0)


def test_an_order_ends_without_a_new_one_and_a_new_one_replaces_it() -> None:
    pool = a_pool(*(an_ip(name) for name in "abc"), rules=Rules(cooldown_s=1))
    leases = [leased(pool, 0) for _ in range(3)]
    say(pool, 0, Give(OTHER, 3, later=3), Give(OTHER, 1, later=1))
    assert gifts_in(say(pool, 0.5, released(leases[0]), released(leases[1]))) == []
    assert len(gifts_in(say(pool, 1.5))) == 1
    say(pool, 2, Give(OTHER, 1, later=1), released(leases[2]))
    assert gifts_in(say(pool, 2 + ORDER_S)) == []
    assert pool.view().gives == 3


def test_while_requests_wait_every_second_ip_is_given() -> None:
    pool = a_pool(*(an_ip(str(n)) for n in range(8)), rules=Rules(cooldown_s=1))
    leases = [leased(pool, 0) for _ in range(8)]
    requests = [a_request(100) for _ in range(8)]
    say(pool, 0, *requests, Give(OTHER, 8, later=8))
    decision = say(pool, 0.5, *map(released, leases))
    decision = say(pool, 1.5)
    assert len(granted(decision)) == 4
    assert pool.view().given == {OTHER: 4}


def test_failed_ips_go_along_only_if_asked_and_rested() -> None:
    rested, resting = an_ip("a", is_healthy=False), an_ip("b", is_healthy=False, locked_until_s=50.0)
    pool = a_pool(rested, resting, rules=RULES)
    assert say(pool, 1, Give(OTHER, 5, later=5)).entries == []
    assert say(pool, 1, Give(OTHER, 0, failed=5)).entries == [IpGiven(rested.id, OTHER, 0)]
    assert [gift.id for gift in gifts_in(say(pool, 50, Give(OTHER, 0, failed=5)))] == [resting.id]
    assert pool.quarantine.ids == set()


def test_an_endpoint_that_rests_under_another_row_is_not_given() -> None:
    pool = a_pool(an_ip("a"), an_ip("b", is_healthy=False), rules=RULES)
    pool.rests.departed = {("a", "7000", ""): 40.0, ("b", "7000", ""): 40.0}
    say(pool, 1, Give(OTHER, 1, failed=1))
    assert pool.view().given == {}
    say(pool, 41, Give(OTHER, 1, failed=1))
    assert pool.view().given == {OTHER: 2}


def test_a_row_read_before_the_gift_is_ignored_also_after_a_reload() -> None:
    ip = an_ip("a", lease_no=4)
    pool = a_pool(ip, an_ip("b"), rules=RULES)
    old = row_of(ip)  # with an operator's edit
    say(pool, 1, Give(OTHER, 1))
    assert not say(pool, 1, Adopt((old,))).entries
    pool = pool.reloaded(Adopt((row_of(pool.ips[next(iter(pool.ips))]),)), at(2))
    say(pool, 2, Adopt((old,)))
    assert ip.id not in pool.ips
    say(pool, 3, Adopt((row_of(ip, lease_no=5),)))
    assert ip.id in pool.ips
    assert pool.view().adopted == 1


def test_a_row_that_an_operator_moves_to_another_country_before_its_gift_is_applied_is_ignored_there_too() -> None:
    ip, rests = an_ip("a", lease_no=4), Rests()
    pool, other, opened = (Pool(country, RULES, rests) for country in ("us", "de", "fr"))
    pool.load([ip])
    row = row_of(ip)
    say(pool, 1, Give(OTHER, 1))
    say(other, 1, Adopt((row,)))
    opened.load_rows([row], at(1))
    assert [len(each.ips) for each in (pool, other, opened)] == [0, 0, 0]
    say(other, 2, Adopt((row_of(ip, lease_no=5),)))
    assert set(other.ips) == {ip.id}


def test_a_reload_takes_back_an_ip_whose_gift_was_not_recorded() -> None:
    ip = an_ip("a", edit_no=4)
    pool = a_pool(ip, rules=RULES)
    row = row_of(ip, edit_no=4)
    say(pool, 1, Give(OTHER, 1))
    pool = pool.reloaded(Adopt((row,)), at(2))
    assert set(pool.ips) == {ip.id}
    say(pool, 3, Adopt((row_of(row, consecutive_failures=0),)))
    assert pool.ips[ip.id].edit_no == 5


def test_as_many_requests_wait_as_other_nodes_have_ips_to_give() -> None:
    pool = a_pool(rules=RULES)
    assert list(refused(say(pool, 0, a_request(10)))) != []
    say(pool, 0, SetElsewhere(coming=2, counts=Counts(9, 9, 0, 0, 0, 0)))
    first, second, third = a_request(10), a_request(10), a_request(10)
    assert pool.would_refuse(10, 0) is None
    assert list(refused(say(pool, 0, first, second, third))) == [third.request_id]
    assert pool.would_refuse(10, 0) == "too_late"
    assert list(granted(say(pool, 1, Adopt((an_ip("a"),))))) == [first.request_id]
    assert list(refused(say(pool, 2, SetElsewhere(coming=0)))) == [second.request_id]
    assert pool.view().missed == 3


def test_hope_ends_if_nothing_is_heard_any_more() -> None:
    pool = a_pool(rules=RULES)
    request = a_request(100)
    say(pool, 0, SetElsewhere(coming=1), request)
    assert pool.next_due_s() == ELSEWHERE_S
    assert list(refused(say(pool, ELSEWHERE_S))) == [request.request_id]


def test_a_request_that_waits_for_its_own_pools_ip_does_not_use_up_hope() -> None:
    pool = a_pool(an_ip("a"), rules=Rules(cooldown_s=5))
    say(pool, 0, released(leased(pool, 0)))
    say(pool, 0, SetElsewhere(coming=1))
    own, hoping, hopeless = a_request(10), a_request(10), a_request(10)
    say(pool, 0.5, own)
    assert list(refused(say(pool, 0.5, hoping, hopeless))) == [hopeless.request_id]


def test_the_limit_of_failed_ips_is_that_of_the_country() -> None:
    """Two of this node's two IPs may fail if the country has ten, unless another node's failed already."""
    for broken, may_fail in ((0, 2), (1, 1), (2, 0)):
        pool = a_pool(an_ip("a"), an_ip("b"), rules=RULES)
        say(pool, 0, SetElsewhere(counts=Counts(8, 8 - broken, 0, 0, broken, 0), broken=broken))
        for _ in range(2):
            say(pool, 0, released(leased(pool, 0), Event.RELEASED_IP_AT_FAULT))
        failed = [ip for ip in pool.ips.values() if ip.status is Status.FAILED]
        assert len(failed) == pool.view().broken == may_fail


def test_a_view_counts_what_was_asked_for_and_missed() -> None:
    pool = a_pool(an_ip("a"), rules=RULES)
    say(pool, 0, *(a_request(10) for _ in range(3)))
    view = pool.view()
    assert (view.asked, view.leases, view.missed) == (3, 1, 2)
