"""Ids of clicks: UUIDs of version 7, in the order of time."""

from datetime import UTC, datetime
from uuid import RFC_4122, UUID

from daemon.trace.request_ids import new_request_id


def test_an_id_begins_with_the_milliseconds_of_its_time() -> None:
    made = new_request_id(1_700_000_000.123)
    assert made.int >> 80 == 1_700_000_000_123
    assert (made.version, made.variant) == (7, RFC_4122)


def test_ids_of_one_millisecond_differ_in_74_random_bits() -> None:
    made = [new_request_id(1_700_000_000.0) for _ in range(1_000)]
    assert len(set(made)) == 1_000
    always_one, once_one = made[0].int, 0
    for one in made:
        always_one, once_one = always_one & one.int, once_one | one.int
    assert (once_one ^ always_one).bit_count() == 74


def test_a_later_id_sorts_after_an_earlier_one_whatever_the_clock_says() -> None:
    times_s = [-1e12, 0.0, 1.0, datetime(2026, 11, 30, tzinfo=UTC).timestamp(), 1e12]
    made = [new_request_id(at_s) for at_s in times_s]
    assert sorted(made[1:]) == made[1:]
    assert all(isinstance(one, UUID) and one.int < 1 << 128 for one in made)
