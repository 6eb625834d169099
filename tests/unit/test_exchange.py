"""What a balancer derives from a pool's views: demand, missed requests, gifts on their way, hope."""

from uuid import UUID

import pytest

from daemon.nodes.balance import MOVED_S
from daemon.nodes.exchange import DESPAIR_S, GONE_S, HOPE_MAX_S, LATELY_S, MISSED_S, UNSEEN_S, Exchange
from daemon.nodes.figures import SOON_S, CountryFigures, Sent
from daemon.nodes.others import NO_OTHERS, Others, summed
from daemon.pool.messages import Counts, PoolView
from daemon.pool.states import Rules

ME, OTHER = UUID(int=1), UUID(int=2)
NOW_S = 100.0


def a_view(available: int = 0, waiting: int = 0, **more: object) -> PoolView:
    return PoolView(Counts(available, available, 0, 0, 0, waiting), 0, Rules(), **more)  # type: ignore[arg-type]


def others_with(figures: CountryFigures) -> Others:
    return summed(frozenset([OTHER]), {OTHER: figures})


def adopted(count: int) -> Others:
    return others_with(CountryFigures(adopted=count))


def test_demand_is_known_after_seconds_and_follows_within_a_minute() -> None:
    exchange, asked = Exchange(0), 0
    for second in range(1, 200):
        asked += 8 if second < 100 else 2
        exchange.note(a_view(asked=asked, missed=0), 0, NO_OTHERS, second)
        wanted = exchange.figures(a_view(), NOW_S).wanted_per_s
        if second in (10, 99):
            assert wanted == pytest.approx(8, rel=0.3)
    assert wanted == pytest.approx(2, rel=0.2)


def test_the_demand_of_the_last_run_goes_on_until_it_is_known_again() -> None:
    exchange = Exchange(0, CountryFigures(wanted_per_s=4.0))
    assert exchange.figures(a_view(), 0).wanted_per_s == 4
    wanted = []
    for second in range(1, 61):
        exchange.note(a_view(asked=8 * second), 0, NO_OTHERS, second)
        wanted.append(exchange.figures(a_view(), second).wanted_per_s)
    assert wanted[0] == pytest.approx(4, rel=0.1)
    assert wanted[-1] == pytest.approx(8, rel=0.15)


def test_requests_turned_away_count_as_asked_and_for_a_while_as_missed() -> None:
    exchange = Exchange(0)
    exchange.note(a_view(asked=3, missed=1), 4, NO_OTHERS, 1)
    assert exchange.figures(a_view(), NOW_S).missed == 5
    assert exchange.figures(a_view(), NOW_S).wanted_per_s > 0
    exchange.note(a_view(asked=3, missed=1), 4, NO_OTHERS, 1 + MISSED_S)
    assert exchange.figures(a_view(), NOW_S).missed == 0


def test_a_gift_is_on_its_way_until_the_receiver_has_adopted_it_or_some_seconds_have_passed() -> None:
    exchange = Exchange(0)
    exchange.note(a_view(given={OTHER: 3}), 0, adopted(10), 1)
    exchange.note(a_view(given={OTHER: 5}), 0, adopted(11), 2)
    assert exchange.figures(a_view(), NOW_S).sent == {OTHER: Sent(5, 15)}, "it lacks 4, because it has adopted 11"
    assert [gift.count for gift in exchange.given] == [3, 2]
    exchange.note(a_view(given={OTHER: 5}), 0, adopted(15), 3)
    assert exchange.figures(a_view(), NOW_S).sent == {}
    exchange.note(a_view(given={OTHER: 6}), 0, adopted(15), 4)
    exchange.note(a_view(given={OTHER: 6}), 0, adopted(15), 4 + UNSEEN_S)
    assert exchange.figures(a_view(), NOW_S).sent == {}
    exchange.note(a_view(given={OTHER: 6}), 0, NO_OTHERS, 4 + MOVED_S)
    assert not exchange.given


def test_a_gift_to_a_node_that_is_not_seen_any_more_is_on_its_way_until_that_node_is_seen() -> None:
    exchange = Exchange(0)
    exchange.note(a_view(given={OTHER: 3}), 0, adopted(10), 1)
    exchange.note(a_view(given={OTHER: 3}), 0, NO_OTHERS, 1 + 10 * UNSEEN_S)
    assert exchange.figures(a_view(), NOW_S).sent == {OTHER: Sent(3, 13)}, "it owns these IPs, and has not adopted them"
    exchange.note(a_view(given={OTHER: 3}), 0, adopted(10), 2 + 10 * UNSEEN_S)
    assert exchange.figures(a_view(), NOW_S).sent == {}
    exchange.note(a_view(given={OTHER: 6}), 0, adopted(10), 60)
    exchange.note(a_view(given={OTHER: 6}), 0, NO_OTHERS, 60 + GONE_S)
    assert exchange.figures(a_view(), NOW_S).sent == {}


def test_a_gift_that_was_adopted_before_it_was_noted_is_not_on_its_way() -> None:
    exchange = Exchange(0)
    exchange.note(a_view(given={}), 0, adopted(3), 1)
    exchange.note(a_view(given={OTHER: 2}), 0, adopted(5), 2)
    assert exchange.figures(a_view(given={OTHER: 2}), NOW_S).sent == {}
    exchange.note(a_view(given={OTHER: 4}), 0, adopted(6), 3)
    assert exchange.figures(a_view(given={OTHER: 4}), NOW_S).sent == {OTHER: Sent(2, 7)}, "it has one of the two"


def test_a_gift_is_in_the_figures_before_it_is_noted() -> None:
    exchange, given = Exchange(0), {OTHER: 1}
    exchange.note(a_view(given=given), 0, adopted(3), 1)
    more = a_view(given={OTHER: 3})
    assert exchange.figures(more, NOW_S).sent == exchange.figures(more, NOW_S).sent == {OTHER: Sent(3, 6)}
    exchange.note(more, 0, adopted(3), 2)
    assert exchange.figures(more, NOW_S).sent == {OTHER: Sent(3, 6)}


def test_a_receiver_that_started_again_has_its_gifts_to_come() -> None:
    exchange = Exchange(0)
    exchange.note(a_view(given={}), 0, adopted(50), 1)
    exchange.note(a_view(given={OTHER: 2}), 0, adopted(0), 2)
    assert exchange.figures(a_view(given={OTHER: 2}), NOW_S).sent == {OTHER: Sent(2, 2)}


def test_as_many_ips_are_coming_as_are_idle_elsewhere_or_came_lately() -> None:
    exchange = Exchange(0)
    exchange.note(a_view(), 0, NO_OTHERS, 1)
    others = others_with(CountryFigures(available=5, failed=1, broken=1, wanted_per_s=1.0))
    elsewhere = exchange.elsewhere(ME, CountryFigures(), others, 1)
    assert (elsewhere.coming, elsewhere.counts.total, elsewhere.broken) == (3, 6, 1)
    exchange.note(a_view(2, adopted=2), 0, NO_OTHERS, 2)
    own, others = CountryFigures(available=2), NO_OTHERS
    assert exchange.elsewhere(ME, own, others, 2).coming == 2
    exchange.note(a_view(2, adopted=2), 0, NO_OTHERS, 2 + LATELY_S)
    assert exchange.elsewhere(ME, own, others, 2 + LATELY_S).coming == 0


def test_an_ip_whose_rest_ends_soon_elsewhere_is_coming_unless_requests_there_need_it() -> None:
    exchange = Exchange(0)
    assert exchange.figures(a_view(rested_s=NOW_S + SOON_S), NOW_S).soon == 1
    assert exchange.figures(a_view(rested_s=NOW_S + SOON_S + 0.1), NOW_S).soon == 0
    assert exchange.figures(a_view(rested_s=None), NOW_S).soon == 0

    exchange.note(a_view(), 0, NO_OTHERS, 1)

    def coming(**more: float) -> int:
        others = others_with(CountryFigures(cooldown=1, **more))  # type: ignore[arg-type]
        return exchange.elsewhere(ME, CountryFigures(), others, 1).coming

    assert coming(soon=1) == 1
    assert coming() == coming(soon=1, waiting=1) == coming(soon=1, wanted_per_s=1.0) == 0


def test_hope_ends_for_a_while_if_requests_wait_and_nothing_comes() -> None:
    exchange = Exchange(0)
    own, others = CountryFigures(waiting=1), others_with(CountryFigures(available=5))
    coming = []
    for second in range(1, 1 + int(HOPE_MAX_S + DESPAIR_S) + 3):
        exchange.note(a_view(waiting=1), 0, NO_OTHERS, second)
        coming.append(exchange.elsewhere(ME, own, others, second).coming)
    assert coming[0] == coming[int(HOPE_MAX_S)] == 5
    assert coming[int(HOPE_MAX_S) + 1] == 0
    assert coming[-1] == 5
