"""The figures of all nodes together."""

from dataclasses import replace
from uuid import UUID

import pytest

from daemon.nodes.cluster import cluster_of, counted
from daemon.nodes.figures import (
    DECODER,
    ENCODER,
    NO_FIGURES,
    ClickFigures,
    CountryFigures,
    Hindered,
    NodeFigures,
    ProviderFigures,
    Sent,
    decoded,
)
from daemon.nodes.peers import Peer, Peers
from daemon.nodes.waits import BUCKET_MAX, Waits, added, bucket_of, waits_of
from tests.fakes.reports import a_node

A, B, C = (UUID(int=number) for number in (1, 2, 3))


def read(*nodes: Peer, at_s: float = 100.0) -> Peers:
    return Peers(A, at_s, {node.node_id: node for node in nodes})


def waited(*waits_ms: float) -> Waits:
    return added(waits_of({bucket_of(ms): 1}) for ms in waits_ms)


def clicks(*waits_ms: float, **fallbacks: int) -> ClickFigures:
    return ClickFigures(len(waits_ms) - sum(fallbacks.values()), fallbacks, waited(*waits_ms))


def test_counts_of_all_nodes_add_up_and_the_own_ones_are_the_present_ones() -> None:
    past = NodeFigures(countries={"us": CountryFigures(available=99)}, active_traces=99)
    own = NodeFigures(countries={"us": CountryFigures(available=3, locked=1)}, active_traces=1)
    other = NodeFigures(countries={"us": CountryFigures(cooldown=2, failed=1), "uk": CountryFigures(available=5)},
                        active_traces=4)  # fmt: skip
    found = cluster_of(counted(read(a_node(A, past), a_node(B, other)), a_node(A, own), 100.0))
    assert found.countries == {
        "uk": CountryFigures(available=5),
        "us": CountryFigures(available=3, locked=1, cooldown=2, failed=1),
    }
    assert found.active_traces == 5


def test_percentiles_are_those_of_all_clicks_and_not_means() -> None:
    fast, slow = clicks(*[10.0] * 95), clicks(*[8_000.0] * 5, deadline=5)
    both = cluster_of(
        counted(read(a_node(A), a_node(B, NodeFigures(clicks=slow))), a_node(A, NodeFigures(clicks=fast)), 100.0)
    )
    assert (both.clicks.clicks, both.clicks.resolved, both.clicks.fallbacks) == (100, 95, {"deadline": 5})
    assert both.clicks.waits.percentile(50) == pytest.approx(10, rel=0.05)
    assert both.clicks.waits.percentile(96) == pytest.approx(8_000, rel=0.05)


@pytest.mark.parametrize("wait_ms", [0.0, 0.4, 1.0, 12.3, 9_950.0, 10_050.0, 3.6e6, 1e12])
def test_a_percentile_is_near_the_wait(wait_ms: float) -> None:
    assert bucket_of(wait_ms) <= BUCKET_MAX
    found = waited(wait_ms, wait_ms, wait_ms).percentile(50)
    assert found is not None
    assert abs(found - wait_ms) <= max(0.6, wait_ms * 0.026) or wait_ms == 1e12


def test_without_clicks_there_is_no_percentile() -> None:
    assert Waits().percentile(95) is None


def test_a_node_that_left_counts_with_its_ips_as_resting_ones_until_they_are_free() -> None:
    figures = NodeFigures(
        countries={"us": CountryFigures(available=2, locked=1, waiting=7)}, clicks=clicks(5.0), active_traces=1
    )
    leaving = a_node(B, figures, state="left")
    found = cluster_of(counted(read(a_node(A), leaving), a_node(A, NO_FIGURES), 110.0))
    assert found.countries == {"us": CountryFigures(cooldown=3)}
    assert (found.clicks.clicks, found.active_traces) == (0, 0)
    assert cluster_of(counted(read(a_node(A), leaving), a_node(A, NO_FIGURES), 261.0)).countries == {}
    assert (
        cluster_of(counted(read(a_node(A), replace(leaving, state="lost")), a_node(A, NO_FIGURES), 100.0)).countries
        == {}
    )


def test_ips_that_were_given_and_have_not_arrived_are_the_receivers() -> None:
    giver = NodeFigures(countries={"us": CountryFigures(available=7, sent={B: Sent(3, 13)})})
    for adopted, has in ((10, 2), (12, 4), (13, 5), (20, 5)):
        receiver = NodeFigures(countries={"us": CountryFigures(available=has, adopted=adopted)})
        found = cluster_of(counted(read(a_node(A), a_node(B, receiver)), a_node(A, giver), 100.0))
        assert found.countries["us"].total == 12
    found = cluster_of(counted(read(a_node(A), a_node(B)), a_node(A, giver), 100.0))
    assert found.countries["us"].total == 10, "a node that has just started has adopted none"
    gone = a_node(B, NodeFigures(countries={"us": CountryFigures(available=2, adopted=10)}), state="left")
    found = cluster_of(counted(read(a_node(A), gone), a_node(A, giver), 100.0))
    assert found.countries["us"].total == 9, "what was given to a node that has left belongs to no node"


def test_figures_older_than_a_minute_count_for_ips_only() -> None:
    figures = NodeFigures(countries={"us": CountryFigures(available=2)}, clicks=clicks(5.0), active_traces=3)
    nodes = counted(read(a_node(A), a_node(B, figures, seen_s_ago=4.0)), a_node(A, NO_FIGURES), 102.0)
    assert [(one.age_s, one.is_stale) for one in nodes] == [(0.0, False), (6.0, True)]
    assert cluster_of(nodes).active_traces == 3
    later = cluster_of(counted(read(a_node(A), a_node(B, figures, seen_s_ago=4.0)), a_node(A, NO_FIGURES), 190.0))
    assert (later.active_traces, later.clicks.clicks) == (0, 0)
    assert later.countries == {"us": CountryFigures(available=2)}


def test_a_provider_is_as_bad_as_the_worst_node_finds_it_until_another_one_succeeds() -> None:
    refused = ProviderFigures("credentials_refused", "2026-01-01T00:00:00", traces=3, refused=3, idle_s=20)
    fine = ProviderFigures("ok", "2026-01-01T00:00:10", traces=9, idle_s=30, accepted=True)

    def together(one: ProviderFigures, other: ProviderFigures) -> ProviderFigures:
        nodes = read(a_node(A), a_node(B, NodeFigures(providers={"luna": other})))
        return cluster_of(counted(nodes, a_node(A, NodeFigures(providers={"luna": one})), 100.0)).providers["luna"]

    assert together(refused, fine).state == "credentials_refused"
    assert together(refused, refused).refused == 6
    newer = ProviderFigures("ok", "2026-01-01T00:00:10", traces=9, idle_s=1, accepted=True)
    assert (together(refused, newer).state, together(newer, refused).traces) == ("ok", 9)


def test_what_hinders_a_node_is_told_with_its_name_while_it_leases() -> None:
    held = NodeFigures(hindered=(Hindered("writing rows", "permission denied", "grant it"),), refused=2)
    found = cluster_of(counted(read(a_node(A), a_node(B, held)), a_node(A, NO_FIGURES), 100.0))
    assert [(name, one.activity) for name, one in found.hindered] == [("n2", "writing rows")]
    assert found.refused == 2


def test_a_row_of_a_busy_node_is_a_few_hundred_bytes_beside_its_countries() -> None:
    busy = NodeFigures(
        clicks=ClickFigures(
            9_000, {"deadline": 50, "no_ip": 40}, added(waited(1.05**step * 100) for step in range(95))
        ),
        clicks_waiting=40,
        active_traces=120,
        uptime_s=90_000,
        backlog=35,
        filling={"workers_busy": (600, 1_000)},
        providers={"luna": ProviderFigures("ok", "2026-01-01T00:00:00+00:00", 9_000)},
        settings={"pool.lock_s": 90, "pool.cooldown_s": 60, "pool.failures_max": 5, "click.deadline_s": 10},
        connections=11,
    )
    row = ENCODER.encode(busy)
    assert len(row) < 800
    assert DECODER.decode(row) == busy


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"countries": 3}', '{"a_field_of_a_later_version": 1}'])
def test_figures_of_another_version_are_none_and_no_error(text: str | None) -> None:
    assert decoded(text) == NO_FIGURES


def test_a_field_that_another_version_writes_in_another_form_leaves_the_others_readable() -> None:
    text = (
        '{"countries": {"us": {"available": 7, "added_later": {"a": 1}, "sent": {}}}, "added_later": [1],'
        ' "clicks": {"resolved": 3, "added_later": 1}, "hindered": [["a", "b", "c", "added later"]],'
        ' "settings": {"pool.selection": "rested"}}'
    )
    assert decoded(text) == NodeFigures(countries={"us": CountryFigures(available=7)}, clicks=ClickFigures(resolved=3))
