"""Today's bytes and costs by provider, in memory."""

from daemon.journal.entries import Traffic
from daemon.trace.traffic_costs import DAY_S, TrafficCosts, TrafficStatus, priced

NOON_S = 19_000 * DAY_S + DAY_S / 2


def moved(provider: str = "luna", received: int = 100, sent: int = 10, cost: float = 0.5) -> Traffic:
    return Traffic(provider, received, sent, cost)


def test_a_gigabyte_is_ten_to_the_nine_bytes_in_both_directions_together() -> None:
    prices = {"luna": 3.5}
    assert priced("luna", 600_000_000, 400_000_000, prices) == Traffic("luna", 600_000_000, 400_000_000, 3.5)
    assert priced("other", 10**9, 0, prices).cost == 0


def test_attempts_add_up_and_a_trace_counts_once_for_each_provider() -> None:
    costs = TrafficCosts()
    costs.add(NOON_S, [moved(), moved(), moved("other", 1, 2, 0.0)])
    costs.add(NOON_S + 1, [moved()])
    costs.add(NOON_S + 1, [])
    assert costs.today(NOON_S) == {
        "luna": TrafficStatus(traces=2, bytes_received=300, bytes_sent=30, cost=1.5),
        "other": TrafficStatus(traces=1, bytes_received=1, bytes_sent=2, cost=0.0),
    }


def test_counts_go_on_from_the_tables_rows() -> None:
    costs = TrafficCosts()
    costs.begin(NOON_S, [{"provider": "luna", "traces": 7, "bytes_received": 1, "bytes_sent": 2, "cost": 0.25}])
    costs.add(NOON_S, [moved()])
    assert costs.today(NOON_S) == {"luna": TrafficStatus(traces=8, bytes_received=101, bytes_sent=12, cost=0.75)}


def test_a_day_ends_at_midnight_of_utc() -> None:
    costs = TrafficCosts()
    costs.add(NOON_S, [moved()])
    assert costs.today(NOON_S + DAY_S / 2 - 0.001) != {}
    assert costs.today(NOON_S + DAY_S / 2) == {}
    costs.add(NOON_S + DAY_S, [moved(received=1)])
    assert costs.today(NOON_S + DAY_S)["luna"].bytes_received == 1


def test_costs_are_shown_to_a_millionth_and_kept_exactly() -> None:
    costs = TrafficCosts()
    for _ in range(10):
        costs.add(NOON_S, [moved(cost=0.000_000_4)])
    assert costs.today(NOON_S)["luna"].cost == 0.000_004
