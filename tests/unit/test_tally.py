"""The last minute's clicks, as `status` shows them."""

from daemon.maintenance.tally import CLICKS_MAX, WINDOW_S, LastMinute, Tally


def test_no_clicks_have_no_waits() -> None:
    assert Tally().last_minute(0) == LastMinute(0, 0, {}, None, None)


def test_one_click_is_every_percentile() -> None:
    tally = Tally()
    tally.add(1, None, 42.0)
    assert tally.last_minute(1) == LastMinute(1, 1, {}, 42.0, 42.0)


def test_fallbacks_are_counted_by_reason_the_most_frequent_first() -> None:
    tally = Tally()
    for reason in ("no_ip", "deadline", None, "deadline", "overload"):
        tally.add(1, reason, 1.0)
    minute = tally.last_minute(1)
    assert (minute.clicks, minute.resolved) == (5, 1)
    assert next(iter(minute.fallbacks.items())) == ("deadline", 2)
    assert minute.fallbacks == {"deadline": 2, "no_ip": 1, "overload": 1}


def test_percentiles_do_not_depend_on_the_order() -> None:
    tally = Tally()
    for wait_ms in reversed(range(100)):
        tally.add(1, None, float(wait_ms))
    minute = tally.last_minute(1)
    assert (minute.wait_p50_ms, minute.wait_p95_ms) == (50, 95)


def test_a_click_leaves_after_a_minute() -> None:
    tally = Tally()
    tally.add(0, "no_ip", 5.0)
    tally.add(30, None, 7.0)
    assert tally.last_minute(WINDOW_S).clicks == 2
    assert tally.last_minute(WINDOW_S + 0.1) == LastMinute(1, 1, {}, 7.0, 7.0)
    assert tally.last_minute(1000) == LastMinute(0, 0, {}, None, None)


def test_memory_is_bounded() -> None:
    tally = Tally()
    for at in range(CLICKS_MAX + 100):
        tally.add(at / 10_000, None, 1.0)
    assert tally.last_minute(7).clicks == CLICKS_MAX
