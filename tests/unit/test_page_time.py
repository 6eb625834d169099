"""The own time of a page that a tab shows."""

from itertools import takewhile

from daemon.trace.browser.page_time import FIRST_MS, GROWTH, PATIENCE_S, STEP_S, WORKER_S, PageTime


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
    assert time.stall() == STEP_S * 1000, "of a long step, a short one passes"
    for _ in range(100):
        assert (time.step_ms(0.0), time.patience_s) == (STEP_S * 1000, STEP_S)
        assert time.stall() is None
    assert time.step_ms(0.0) == STEP_S * 1000
    assert time.step_ms(0.0) > STEP_S * 1000, "a step ended by itself"
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
