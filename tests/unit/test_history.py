"""The history checker must clear what is clean and name each kind of breach; fault tests trust it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.demo.history import Event, OriginEvent, check
from tests.fakes.events import ProxyEvent, from_json, to_json


def seen(cid: int | None, began_s: float, ended_s: float, *, address: str = "127.1.0.1", hop: int = 0) -> OriginEvent:
    return OriginEvent(1.7e9 + began_s, began_s, ended_s, address, cid, hop, 5, "/c/0/5/0/0", 302, 60)


def passed(cid: int | None, began_s: float, ended_s: float, *, address: str = "127.1.0.1") -> ProxyEvent:
    return ProxyEvent(1.7e9 + began_s, began_s, ended_s, address, cid, 7, "http://track.example/", 302, 200, 60)


def test_traces_a_cooldown_apart_are_clean() -> None:
    history = [seen(1, 0, 1), seen(1, 1, 2, hop=1), seen(2, 61, 62), seen(3, 0, 2, address="127.1.0.2")]
    assert check(history, cooldown_s=60) == []


def test_no_events_are_no_breach() -> None:
    assert check([], cooldown_s=60) == []


def test_a_trace_that_begins_while_another_lasts_is_an_overlap() -> None:
    [breach] = check([seen(1, 0, 1), seen(1, 4, 5, hop=1), seen(2, 2, 3)], cooldown_s=0)
    assert (breach.kind, breach.address, breach.first, breach.second, breach.gap_s) == (
        "overlap",
        "127.1.0.1",
        1,
        2,
        -3,
    )
    assert str(breach) == "127.1.0.1: trace 2 began -3.000 s after the end of trace 1 (overlap)"


def test_two_traces_that_begin_at_the_same_moment_overlap() -> None:
    assert [breach.kind for breach in check([seen(1, 0, 1), seen(2, 0, 1)], cooldown_s=0)] == ["overlap"]


def test_a_long_trace_overlaps_more_than_its_neighbour() -> None:
    history = [seen(1, 0, 100), seen(2, 10, 11), seen(3, 20, 21)]
    assert [(breach.kind, breach.first, breach.second) for breach in check(history, cooldown_s=5)] == [
        ("overlap", 1, 2),
        ("overlap", 1, 3),
    ]


def test_a_trace_inside_the_cooldown_is_a_breach() -> None:
    [breach] = check([seen(1, 0, 1), seen(1, 10, 11, hop=1), seen(2, 69.5, 70)], cooldown_s=60)
    assert (breach.kind, breach.first, breach.second, breach.gap_s) == ("cooldown", 1, 2, 59.5)
    assert "after the last request of trace 1 (cooldown)" in str(breach)


def test_the_cooldown_counts_from_the_last_request_of_any_earlier_trace() -> None:
    history = [seen(1, 0, 1), seen(1, 50, 51, hop=1), seen(2, 20, 21), seen(3, 100, 101)]
    assert [(breach.kind, breach.first, breach.second) for breach in check(history, cooldown_s=60)] == [
        ("overlap", 1, 2),
        ("cooldown", 1, 3),
    ]


def test_a_gap_of_exactly_the_cooldown_is_clean() -> None:
    assert check([seen(1, 0, 1), seen(2, 60, 61)], cooldown_s=60) == []


def test_a_trace_at_two_addresses_is_a_breach() -> None:
    [breach] = check([seen(1, 0, 1), seen(1, 1, 2, address="127.1.0.2", hop=1)], cooldown_s=60)
    assert (breach.kind, breach.first, breach.other_address, breach.address) == ("moved", 1, "127.1.0.1", "127.1.0.2")
    assert str(breach) == "trace 1 went through 127.1.0.1 and 1.000 s later 127.1.0.2"


def test_the_proxies_log_is_judged_alone_and_beside_the_origins() -> None:
    overlapping = [passed(1, 0, 3), passed(2, 2, 4)]
    assert [breach.kind for breach in check(overlapping, cooldown_s=0)] == ["overlap"]
    both_sides: list[Event] = [passed(1, 0, 3), seen(1, 0.5, 2), passed(2, 64, 65), seen(2, 64.5, 64.75)]
    assert check(both_sides, cooldown_s=60) == []
    assert [breach.kind for breach in check([passed(1, 0, 3), seen(2, 2, 4)], cooldown_s=0)] == ["overlap"]


def test_other_addresss_than_the_pools_are_not_judged() -> None:
    history = [seen(1, 0, 1), seen(1, 30, 31, address="127.0.0.1"), seen(2, 31, 32, address="127.0.0.1")]
    assert check(history, cooldown_s=60, addresses=["127.1.0.1"]) == []
    assert {breach.kind for breach in check(history, cooldown_s=60)} == {"cooldown", "moved"}


def test_requests_without_a_click_id_are_not_judged() -> None:
    history: list[Event] = [seen(None, 0, 9), passed(None, 1, 2), seen(1, 1, 2), seen(None, 0, 1, address="127.0.0.1")]
    assert check(history, cooldown_s=60) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["127.1.0.1", "127.1.0.2"]), st.integers(0, 40), st.integers(0, 10)), max_size=12
    ),
    st.integers(0, 8),
    st.randoms(),
)
def test_a_history_is_clean_exactly_when_every_pair_is(
    traces: list[tuple[str, int, int]], cooldown_s: int, shuffled: object
) -> None:
    history = [seen(cid, begin, begin + lasts, address=ip) for cid, (ip, begin, lasts) in enumerate(traces)]
    pairs = [(a, b) for a in history for b in history if a.address == b.address and a.cid != b.cid]
    clean = all(
        a.began_s >= b.ended_s and a.began_s - b.began_s >= cooldown_s
        for a, b in pairs
        if (a.began_s, a.ended_s, a.cid or 0) > (b.began_s, b.ended_s, b.cid or 0)
    )
    shuffled.shuffle(history)  # type: ignore[attr-defined]
    assert (check(history, cooldown_s=cooldown_s) == []) is clean


@pytest.mark.parametrize("event", [seen(3, 0.25, 1.5), seen(None, 0, 1), passed(4, 0.25, 1.5)])
def test_an_event_survives_its_line_of_json(event: Event) -> None:
    assert b"\n" not in to_json(event)
    assert from_json(to_json(event)) == event
