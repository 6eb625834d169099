"""The time series behind the curves: counts in rings of buckets, and percentiles by minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.history import COLUMNS, EDGES_MS, FALLBACK_REASONS, History, Span

NOW_S = 100_000.0


def sums(history: History, span: Span, now_s: float) -> dict[str, int]:
    return {name: sum(counts) for name, counts in history.series(span, now_s).counts.items() if any(counts)}


def test_a_click_is_in_the_bucket_of_its_time() -> None:
    history = History(0)
    history.click(NOW_S - 12, "resolved", None, 0.1)
    history.click(NOW_S - 12, "fallback", "no_ip", 0.1)
    hour = history.series("hour", NOW_S)
    assert hour.step_s == 5
    assert hour.from_s == NOW_S - 719 * 5
    at = [number for number, count in enumerate(hour.counts["resolved"]) if count]
    assert at == [716]  # 100,000 begins a bucket: 12 s earlier is the third bucket before it
    assert hour.counts["no_ip"][716] == 1
    day = history.series("day", NOW_S)
    assert (day.step_s, len(day.counts["resolved"])) == (60, 1_440)
    assert sum(day.counts["resolved"]) == 1


def test_figures_older_than_the_span_are_dropped() -> None:
    history = History(0)
    history.click(NOW_S, "resolved", None, 0.1)
    assert sums(history, "hour", NOW_S + 3_590) == {"resolved": 1}
    assert sums(history, "hour", NOW_S + 3_601) == {}
    assert sums(history, "day", NOW_S + 86_330) == {"resolved": 1}
    assert sums(history, "day", NOW_S + 86_461) == {}
    assert history.series("day", NOW_S + 10 * 86_400).wait_ms["p50"] == [None] * 1_440


def test_each_outcome_and_reason_has_a_column_and_unknown_reasons_share_one() -> None:
    history = History(0)
    for reason in FALLBACK_REASONS:
        history.click(NOW_S, "fallback", reason, 1)
    history.click(NOW_S, "fallback", "unheard-of", 1)
    history.click(NOW_S, "refused", "bad_request", 0)
    history.click(NOW_S, "left", None, 0)
    history.click(NOW_S, "resolved", None, 0)
    history.click(NOW_S, "background", None, 0)
    assert sums(history, "hour", NOW_S) == dict.fromkeys(COLUMNS, 1)


def test_percentiles_are_by_minute_and_a_refused_click_has_no_wait() -> None:
    history = History(0)
    minute_s = NOW_S // 60 * 60
    for ms in range(1, 101):
        history.click(minute_s + 1, "resolved", None, ms / 1000)
        history.click(minute_s + 1, "refused", "unknown_offer", 0)
    history.click(minute_s + 61, "resolved", None, 5.0)
    waits = history.series("hour", minute_s + 125).wait_ms
    assert len(waits["p50"]) == 60
    assert waits["p50"][-1] is None
    assert waits["p50"][-2] == pytest.approx(5_000, rel=0.1)
    assert waits["p50"][-3] == pytest.approx(50, rel=0.1)
    assert waits["p99"][-3] == pytest.approx(99, rel=0.1)


@given(st.lists(st.floats(0, 9_950), min_size=1, max_size=60))
def test_no_percentile_is_above_the_longest_time(times_ms: list[float]) -> None:
    history = History(0)
    for ms in times_ms:
        history.trace(NOW_S, ms)
    last = [values[-1] for values in history.series("hour", NOW_S).trace_ms.values()]
    assert all(value is not None for value in last)
    p50, p95, p99 = (value or 0.0 for value in last)
    assert p50 <= p95 <= p99 <= max(times_ms) + 0.1


@given(st.floats(1, 90_000))
def test_a_time_is_exact_to_a_tenth_and_near_a_deadline_to_a_fiftieth(ms: float) -> None:
    history = History(0)
    for _ in range(10):
        history.trace(NOW_S, ms)
    history.trace(NOW_S, 200_000)  # so that the maximum does not bound the others
    found = history.series("hour", NOW_S).trace_ms["p50"][-1]
    assert found == pytest.approx(ms, rel=0.02 if 5_500 <= ms < 15_000 else 0.101, abs=1.0)


def test_edges_ascend() -> None:
    assert list(EDGES_MS) == sorted(set(EDGES_MS))
