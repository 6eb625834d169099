"""The own time of a page that a tab shows."""

from itertools import takewhile

import pytest

from daemon.trace.browser.page_time import (
    ANIMATIONS_MAX,
    ENDING_MS,
    FIRST_MS,
    GROWTH,
    PATIENCE_S,
    STALLED_MS,
    STEP_S,
    WORKER_S,
    PageTime,
)
from daemon.trace.browser.protocol_types import Params


def steps_of(time: PageTime) -> list[float]:
    """The steps until the page's time is over, each of which takes STEP_S."""
    now, found = 100.0, []
    while not time.is_over(now):
        found.append(time.step_ms(now))
        now += STEP_S
    return found


def test_a_page_s_time_begins_as_fast_as_real_time_and_grows_faster_by_a_share_of_what_has_passed() -> None:
    steps = steps_of(PageTime(10.0))
    slow = list(takewhile(lambda step: step == STEP_S * 1000, steps))
    assert sum(slow) >= FIRST_MS
    passed = sum(slow)
    for step in steps[len(slow) :]:
        assert step <= passed * GROWTH + 1e-9
        passed += step
    assert passed > 10_000


def test_a_page_that_may_wait_ten_seconds_is_settled_within_one() -> None:
    assert len(steps_of(PageTime(10.0))) * STEP_S < 1.0


def test_an_event_of_real_time_comes_before_a_timer_of_three_times_as_long() -> None:
    for event_s in (0.05, 0.1, 0.2, 0.25):
        passed = sum(steps_of(PageTime(10.0))[: round(event_s / STEP_S)])
        assert passed < 3 * event_s * 1000


def test_while_a_worker_may_answer_time_passes_as_fast_as_real_time() -> None:
    time = PageTime(10.0)
    steps_of(time)
    time.begin_worker(500.0)
    assert time.step_ms(500.0 + WORKER_S / 2) == STEP_S * 1000
    assert not time.is_over(500.0 + WORKER_S / 2)
    assert time.is_over(500.0 + WORKER_S)


def test_what_the_network_holds_up_for_long_passes_as_fast_as_real_time() -> None:
    time = PageTime(10.0)
    while time.step_ms(0.0) <= 500:
        assert time.patience_s == PATIENCE_S
    assert time.stall() == STALLED_MS, "of a long step, a shorter one passes"
    for _ in range(10):
        assert (time.step_ms(0.0), time.patience_s) == (STALLED_MS, STALLED_MS / 1000), "as fast as real time"
        assert time.stall() is None
    assert time.step_ms(0.0) == STALLED_MS
    assert time.step_ms(0.0) > STALLED_MS, "a step ended by itself"
    assert time.patience_s == PATIENCE_S


def test_a_long_step_that_the_network_held_up_has_not_passed() -> None:
    held_up, time = PageTime(10.0), PageTime(10.0)
    while held_up.step_ms(0.0) <= 500:
        pass
    held_up.stall()
    assert sum(steps_of(held_up)) > sum(steps_of(time)) / 2


def test_a_page_that_is_shown_next_has_a_time_of_its_own() -> None:
    time = PageTime(10.0)
    first = steps_of(time)
    time.begin()
    assert steps_of(time) == first


def animation(duration_ms: float, *, name: str = "1", delay_ms: float = 0.0, **changes: object) -> Params:
    source = {"delay": delay_ms, "endDelay": 0, "iterations": 1, "duration": duration_ms}
    return {"id": name, "playState": "running", "playbackRate": 1, "currentTime": 0, "source": source} | changes


def test_an_animation_ends_when_the_page_s_time_has_reached_its_end_and_its_last_moment_is_real() -> None:
    time, now, passed = PageTime(10.0), 100.0, 0.0
    time.begin_animation(animation(2000, delay_ms=500))
    while not (ended := time.ending(now)):
        passed += time.step_ms(now)
        now += STEP_S
    assert ended == [("1", 2500 - ENDING_MS)]
    assert 2500 <= passed <= 2500 * (1 + GROWTH)
    assert time.step_ms(now) == STEP_S * 1000, "frames have real time"
    assert time.ending(now) == []


def test_what_is_left_of_an_animation_depends_on_its_clock() -> None:
    time = PageTime(10.0)
    time.begin_animation(animation(2000, currentTime=1950, playbackRate=2))
    time.step_ms(0.0)
    assert time.ending(0.0) == [("1", 2000 - ENDING_MS)]


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"delay": 0, "endDelay": 0, "duration": 50}},
        {"source": {}},
        {"playState": "paused"},
        {"playbackRate": -1},
        {"playbackRate": 0},
        {"viewOrScrollTimeline": {"axis": "vertical"}},
    ],
    ids=["for ever", "without an effect", "paused", "backwards", "standing still", "by scrolling"],
)
def test_an_animation_that_comes_to_no_end_by_itself_is_left_alone(changes: Params) -> None:
    time = PageTime(10.0)
    time.begin_animation(animation(50))
    time.begin_animation(animation(50) | changes)  # it has been changed
    steps_of(time)
    assert time.ending(0.0) == []


def test_animations_that_follow_each_other_for_ever_do_not_keep_a_page_from_being_settled() -> None:
    for duration_ms in (5.0, 20.0, 100.0, 1000.0):
        time, now = PageTime(10.0), 0.0
        while not time.is_over(now):
            time.begin_animation(animation(duration_ms))
            time.step_ms(now)
            time.ending(now)
            now += STEP_S
        assert now < 3.0


def test_a_page_with_very_many_animations_has_some_that_are_left_to_real_time() -> None:
    time = PageTime(10.0)
    for number in range(ANIMATIONS_MAX + 1):
        time.begin_animation(animation(20, name=str(number)))
    time.step_ms(0.0)
    assert len(time.ending(0.0)) == ANIMATIONS_MAX


def test_an_animation_goes_on_after_a_navigation_that_came_to_nothing() -> None:
    time = PageTime(10.0)
    time.begin_animation(animation(300))
    while time.step_ms(0.0) == STEP_S * 1000:
        pass
    assert time.ending(0.0) == []
    time.rewind()
    for _ in range(4):
        time.step_ms(0.0)
    assert time.ending(0.0) == [("1", 300 - ENDING_MS)]
