"""Why traces of the batch lane wait, which of them can never begin, and what the queue shows."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.status_nodes import waiting_lines
from daemon.pool.messages import Counts
from daemon.trace.batch_queue import Lane, never, room, wait_of, waiting_traces


def ips(available: int, locked: int = 0, cooldown: int = 0, failed: int = 0, waiting: int = 0) -> Counts:
    return Counts(available + locked + cooldown + failed, available, locked, cooldown, failed, waiting)


def lane(counts: Counts, **changes: Any) -> Lane:
    return replace(Lane("us", counts, 60.0), **changes)


@pytest.mark.parametrize(
    ("counts", "changes", "reason", "why"),
    [
        (ips(1, cooldown=2), {}, "in_use", "us is 67% in use (2 of 3 IPs), and such traces begin below 60%"),
        (ips(6, 2, 4), {}, None, ""),
        (
            ips(5, 2, 5),
            {},
            "in_use",
            "us is 58% in use (7 of 12 IPs), one more trace would make that 67%, and such traces keep it below 60%",
        ),
        (ips(3), {"beginning": 1}, "in_use", "us is 33% in use (1 of 3 IPs), one more trace would make that 67%, and"
         " such traces keep it below 60%"),
        (ips(9, waiting=2), {}, "clicks_wait", "clicks wait for an IP of us (2), and come first"),
        (ips(9), {"below_percent": 0.0}, "paused", "pool.batch_below_percent is 0: such traces never begin"),
        (ips(9), {"workers": 5, "workers_left": 0}, "workers", "all 5 workers that such traces may have are busy"),
        (ips(9), {"may_lease": False}, "not_leasing", "this node may not lease IPs now: it drains, or is cut off"),
        (ips(9), {"database_answers": False}, "database", "PostgreSQL does not answer, and has the list of these"
         " traces"),
        (ips(0), {}, "no_ips", "there is no IP in us"),
        (ips(0, failed=20), {"provider": "luna"}, "all_failed", "all 20 IPs of us have failed (provider luna)"),
        (ips(0, failed=1), {}, "all_failed", "the one IP of us has failed"),
        (ips(1), {}, "too_few_ips", "us has 1 IP: one trace would use 100%, and such traces begin below 60%"
         " (pool.batch_below_percent)"),
        (ips(2), {"below_percent": 50.0}, "too_few_ips", "us has 2 IPs: one trace would use 50%, and such traces begin"
         " below 50% (pool.batch_below_percent)"),
        (ips(1, failed=19), {}, "in_use", "us is 0% in use (0 of 1 IPs), one more trace would make that 100%, and such"
         " traces keep it below 60%"),
    ],
)  # fmt: skip
def test_the_reason_of_a_wait_has_the_country_and_its_figures(
    counts: Counts, changes: dict[str, Any], reason: str | None, why: str
) -> None:
    found = wait_of(lane(counts, **changes))
    assert (found and found.reason, found.why if found else "") == (reason, why)
    assert found is None or found.next


def test_without_a_url_to_check_failed_ips_the_next_step_is_to_set_one() -> None:
    found = never(lane(ips(0, failed=20), can_check=False))
    assert found is not None
    assert found.next.startswith("set provision.check_url and reload, then: tracepool provision check --country us;")


@pytest.mark.parametrize(
    ("counts", "changes", "reason"),
    [
        (ips(1, cooldown=2), {}, None),
        (ips(1), {}, None),
        (ips(1, waiting=4), {}, None),
        (ips(1), {"below_percent": 0.0}, None),
        (ips(0, cooldown=2, locked=1), {}, "none_free"),
        (ips(1), {"beginning": 1}, "none_free"),
        (ips(0), {}, "no_ips"),
        (ips(0, failed=3), {}, "all_failed"),
        (ips(3), {"workers_left": 0}, "workers"),
    ],
)
def test_traces_ahead_of_the_bound_wait_for_a_free_ip_only(
    counts: Counts, changes: dict[str, Any], reason: str | None
) -> None:
    found = wait_of(lane(counts, **changes), ahead=True)
    assert (found and found.reason) == reason


FEW = st.integers(0, 60)


@given(st.builds(ips, FEW, FEW, FEW, FEW, st.integers(0, 2)), FEW, st.floats(0, 100))
def test_a_trace_begins_where_no_reason_is_given_and_nowhere_else(
    counts: Counts, beginning: int, below_percent: float
) -> None:
    found = lane(counts, beginning=beginning, below_percent=below_percent)
    assert (wait_of(found) is None) == (room(counts, beginning, below_percent) > 0)
    if never(found) is not None:
        idle = ips(counts.available + counts.locked + counts.cooldown, failed=counts.failed)
        assert room(idle, 0, below_percent) == 0, "a trace that could begin is never ended"


def test_the_queue_shows_since_when_and_why() -> None:
    none = {"background": 0, "background_since_s": None}
    row = {"country": "us", "waiting": 25, "running": 3, "ahead": 1, "since_s": 1_767_225_600.0, **none}
    found = waiting_traces(row, lane(ips(1, cooldown=2)))
    assert (found.waiting, found.running, found.ahead) == (25, 3, 1)
    assert (found.since, found.reason) == (datetime(2026, 1, 1, tzinfo=UTC), "in_use")
    assert found.ahead_why == "", "one IP is free, so the one that is ahead begins"
    full = waiting_traces(row, lane(ips(0, cooldown=3)))
    assert (full.reason, full.ahead_why) == ("in_use", "none of the 3 IPs of us is free: they are leased or rest")
    alone = waiting_traces(row | {"waiting": 1}, lane(ips(0, cooldown=3)))
    assert (alone.reason, alone.why) == ("none_free", full.ahead_why)
    started = waiting_traces(row | {"waiting": 0, "ahead": 0, "since_s": None}, lane(ips(1, cooldown=2)))
    assert (started.since, started.reason, started.why, started.next) == (None, None, "", None)


def test_status_has_a_line_for_each_country_that_waits() -> None:
    item = {"country": "us", "waiting": 2, "running": 1, "since": "2026-01-01T09:41:03+00:00", "why": "us is full",
            "next": "add IPs"}  # fmt: skip
    assert waiting_lines([item]) == [
        "tracepool trace in us: 2 wait since 09:41:03 UTC, 1 run: us is full",
        "    next: add IPs; or cancel them: tracepool trace --cancel all",
    ]
    assert waiting_lines([item | {"waiting": 0, "since": None, "why": "", "next": None}]) == [
        "tracepool trace in us: 0 wait, 1 run"
    ]
    behind = {"background": 7, "background_since": "2026-01-01T09:40:00+00:00"}
    assert waiting_lines([item | behind | {"waiting": 0, "running": 0}]) == [
        "background clicks in us: 7 wait for an IP, the oldest since 09:40:00 UTC; they begin below"
        " pool.background_below_percent"
    ]
