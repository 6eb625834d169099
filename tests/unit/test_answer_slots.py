"""Answer slots: each click gets its own slot, the latest free one by its deadline."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.click import answer_slots
from daemon.click.answer_slots import EACH_S, REACH_MAX, AnswerSlots

DUE_S = 10.0


def test_a_single_click_is_answered_at_the_deadline() -> None:
    assert AnswerSlots().take(0.0, DUE_S) == DUE_S


@given(st.lists(st.floats(0, 5), min_size=1, max_size=300), st.floats(2, 30))
def test_each_click_has_its_own_slot_and_none_is_late(arrivals: list[float], patience_s: float) -> None:
    taking = AnswerSlots()
    taken = [(taking.take(at, at + patience_s), at + patience_s) for at in sorted(arrivals)]
    assert all(due - REACH_MAX * patience_s - EACH_S <= slot <= due for slot, due in taken)
    assert len({int(slot / EACH_S + 1e-6) for slot, _ in taken}) == len(taken)


@pytest.mark.parametrize("clicks_per_s", [10, 900])
def test_clicks_at_a_low_rate_wait_until_their_deadline(clicks_per_s: int) -> None:
    taking, draw, at, early = AnswerSlots(), random.Random(1), 0.0, []
    for _ in range(5_000):
        at += draw.expovariate(clicks_per_s)
        early.append(at + DUE_S - taking.take(at, at + DUE_S))
    assert sorted(early)[len(early) // 2] < 0.02
    assert max(early) < 0.2


def test_a_burst_reaches_back_and_no_further_than_its_bound() -> None:
    taking = AnswerSlots()
    found = [taking.take(0.0, DUE_S) for _ in range(10_000)]
    assert found[1_000] == pytest.approx(DUE_S - 1_000 * EACH_S, abs=2 * EACH_S)
    assert min(found) == pytest.approx(DUE_S * (1 - REACH_MAX), abs=2 * EACH_S)


def test_past_slots_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_slots, "KEPT_MAX", 1_000)
    taking = AnswerSlots()
    for number in range(20_000):
        taking.take(number / 100, number / 100 + 1)
    assert len(taking._before) <= 1_000
