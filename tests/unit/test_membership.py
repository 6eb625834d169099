"""When a node may join, and which nodes may lease."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.nodes.membership import (
    DOUBT_S,
    Displaced,
    Doubt,
    Joined,
    NodeRow,
    Occupied,
    admitted,
    leasing_elsewhere,
    left_quiet_s,
    quiet_s,
    trusts_itself_until,
)

ME, OTHER = uuid4(), uuid4()
NOW_S = 1_000.0


def a_row(node_id: UUID = OTHER, **values: Any) -> NodeRow:
    common: dict[str, Any] = {
        "name": "tracer",
        "epoch": 1,
        "state": "active",
        "trusted_until_s": NOW_S,
        "quiet_s": 60.0,
    }
    return NodeRow(node_id=node_id, **{**common, **values})


def test_an_empty_table_admits_everybody() -> None:
    assert admitted([], ME, None, NOW_S) == Joined(continues=True)


@pytest.mark.parametrize("state", ["active", "removed", "left", "lost"])
def test_nodes_that_know_owners_join_beside_each_other(state: str) -> None:
    assert admitted([a_row(state=state, trusted_until_s=NOW_S + 100)], ME, None, NOW_S) == Joined(continues=True)


@pytest.mark.parametrize(("state", "waits_s"), [("active", 160.0), ("removed", 160.0), ("left", None), ("lost", None)])
def test_an_earlier_version_that_runs_is_waited_for(state: str, waits_s: float | None) -> None:
    found = admitted([a_row(state=state, trusted_until_s=NOW_S + 100, protocol=0)], ME, None, NOW_S)
    assert (found.wait_s if isinstance(found, Occupied) else None) == waits_s


def test_the_trust_and_then_the_quiet_of_an_earlier_version_have_to_pass() -> None:
    row = a_row(trusted_until_s=NOW_S - 59.9, protocol=0)
    assert isinstance(admitted([row], ME, None, NOW_S), Occupied)
    assert admitted([row], ME, None, NOW_S + 0.2) == Joined(continues=True)


@pytest.mark.parametrize("protocol", [0, 1])
def test_a_restart_in_place_has_its_own_at_once(protocol: int) -> None:
    mine = a_row(ME, trusted_until_s=NOW_S + 900, protocol=protocol)
    assert admitted([mine], ME, None, NOW_S) == Joined(continues=True)


def test_a_node_that_was_lost_knows_that_its_states_are_out_of_date() -> None:
    assert admitted([a_row(ME, state="lost"), a_row()], ME, None, NOW_S) == Joined(continues=False)


def test_a_later_epoch_of_its_own_row_is_another_daemon_with_a_copy_of_its_directory() -> None:
    mine = a_row(ME, epoch=8, trusted_until_s=NOW_S + 900)
    found = admitted([mine], ME, 7, NOW_S)
    assert found == Displaced(mine)
    assert all(name in str(found.error("here")) for name in ("here", mine.name, str(ME)))
    assert admitted([replace(mine, has_claim=False)], ME, 7, NOW_S) == Joined(continues=True), "it has left, or its own"
    older = a_row(ME, epoch=6, trusted_until_s=NOW_S + 900)
    assert admitted([older], ME, 7, NOW_S) == Joined(continues=True), "a database that was put back"


def test_a_node_that_was_removed_while_it_runs_joins_again_at_once() -> None:
    removed = a_row(ME, state="removed", epoch=8, has_claim=False)
    assert admitted([removed], ME, 7, NOW_S) == Joined(continues=True)


def test_the_one_that_keeps_it_out_for_longest_is_named() -> None:
    short = a_row(uuid4(), name="short", trusted_until_s=NOW_S + 1, protocol=0)
    found = admitted([short, a_row(uuid4(), name="long", quiet_s=900.0, protocol=0)], ME, None, NOW_S)
    assert isinstance(found, Occupied)
    assert found.node.name == "long"


@pytest.mark.parametrize(("state", "is_found"), [("active", True), ("removed", True), ("left", False), ("lost", False)])
def test_a_command_that_uses_ips_waits_for_each_node_that_may_lease(state: str, is_found: bool) -> None:
    row = a_row(state=state)
    assert (leasing_elsewhere([row], ME, NOW_S) is not None) == is_found
    assert leasing_elsewhere([row], OTHER, NOW_S) is None, "it is known not to run"
    assert leasing_elsewhere([row], ME, NOW_S + 61) is None


def test_a_stop_in_order_is_quiet_until_the_last_rest_is_over() -> None:
    assert left_quiet_s(0.0) == 5.0
    assert left_quiet_s(47.0) == 48.0


@given(asked_s=st.floats(0, 1e9), trust_s=st.floats(2, 86_400), late_s=st.floats(0, 60), lock_s=st.floats(1, 3_600))
def test_a_node_stops_leasing_before_its_row_says_so(
    asked_s: float, trust_s: float, late_s: float, lock_s: float
) -> None:
    """PostgreSQL's trust begins `late_s` after the node's request; both clocks have the same rate."""
    assert trusts_itself_until(asked_s, trust_s) < asked_s + late_s + trust_s
    assert quiet_s(lock_s, 60) > lock_s + 60


def test_a_server_that_has_started_anew_is_doubted_for_a_while() -> None:
    doubt = Doubt()
    doubt.found_server(100.0, NOW_S)
    doubt.found_server(100.0, NOW_S + 1)
    assert not doubt.holds(NOW_S + 1)
    doubt.found_server(200.0, NOW_S + 2)
    assert doubt.holds(NOW_S + 2)
    assert not doubt.holds(NOW_S + 2 + DOUBT_S)


def test_a_database_that_lost_rows_is_doubted_until_the_pools_have_long_been_reloaded() -> None:
    doubt = Doubt()
    doubt.rows_lost()
    doubt.found_server(200.0, NOW_S)
    assert doubt.holds(NOW_S + 3_600)
    doubt.reloaded(NOW_S + 3_600)
    assert doubt.holds(NOW_S + 3_601)
    assert not doubt.holds(NOW_S + 3_600 + DOUBT_S)
