"""The curves of several nodes, from the figures that each renewal reads."""

from uuid import UUID

import pytest

from daemon.control import cluster_history
from daemon.control.cluster_history import ClusterHistory
from daemon.control.history import COLUMNS, History, Series
from daemon.nodes.figures import ClickFigures, CurveFigures, NodeFigures
from daemon.nodes.peers import Peer, Peers
from daemon.nodes.waits import added, bucket_of, waits_of
from tests.fakes.reports import ME, a_node

NOW_S = 100_000.0
OTHER, THIRD = UUID(int=2), UUID(int=3)


def figures(*waits_ms: float, traces_ms: tuple[float, ...] = (), **clicks: int) -> NodeFigures:
    waits, traces = (added(waits_of({bucket_of(ms): 1}) for ms in several) for several in (waits_ms, traces_ms))
    return NodeFigures(clicks=ClickFigures(waits=waits), curves=CurveFigures(clicks, traces))


def sample(history: ClusterHistory, at_s: float, *nodes: Peer) -> None:
    history.sample(Peers(ME, at_s, {node.node_id: node for node in nodes}))


def sums(series: Series) -> dict[str, int]:
    return {name: sum(counts) for name, counts in series.counts.items() if any(counts)}


def test_a_node_that_is_alone_has_its_own_series() -> None:
    own = History(NOW_S)
    history = ClusterHistory(own)
    own.click(NOW_S, "fallback", "unheard-of", 0.5)
    own.trace(NOW_S, 250)
    sample(history, NOW_S + 1, a_node(ME, figures(other=1)))
    assert history.series("hour", NOW_S + 1) == own.series("hour", NOW_S + 1)
    assert history.series("day", NOW_S + 1) == own.series("day", NOW_S + 1)
    assert own.totals == dict.fromkeys(COLUMNS, 0) | {"other": 1}


def test_clicks_of_another_node_count_from_when_it_was_first_seen() -> None:
    own = History(NOW_S)
    history = ClusterHistory(own)
    own.click(NOW_S, "resolved", None, 0.1)
    sample(history, NOW_S + 1, a_node(OTHER, figures(resolved=1_000)))
    sample(history, NOW_S + 2, a_node(OTHER, figures(resolved=1_003, no_ip=2)))
    sample(history, NOW_S + 8, a_node(OTHER, figures(resolved=1_003, no_ip=2, left=1)))
    assert sums(history.series("hour", NOW_S + 8, OTHER)) == {"resolved": 3, "no_ip": 2, "left": 1}
    assert sums(history.series("day", NOW_S + 8)) == {"resolved": 4, "no_ip": 2, "left": 1}
    assert history.series("hour", NOW_S + 8).counts["resolved"][-2:] == [4, 0]
    assert (history.began_s(None), history.began_s(OTHER)) == (NOW_S, NOW_S + 1)
    assert sums(history.series("hour", NOW_S, THIRD)) == {}


def test_a_node_that_started_again_counts_from_zero() -> None:
    history = ClusterHistory(History(NOW_S))
    for at, resolved in enumerate((50, 60, 4, 5)):
        sample(history, NOW_S + at, a_node(OTHER, figures(resolved=resolved)))
    assert sums(history.series("hour", NOW_S + 9)) == {"resolved": 15}


@pytest.mark.parametrize("silent", ["this node", "the other node"])
def test_clicks_during_an_outage_are_spread_over_it(silent: str) -> None:
    history = ClusterHistory(History(NOW_S))
    sample(history, NOW_S, a_node(OTHER, figures()))
    if silent == "the other node":
        for passed in range(1, 50):
            sample(history, NOW_S + passed, a_node(OTHER, figures(), seen_s_ago=passed))
    sample(history, NOW_S + 50, a_node(OTHER, figures(resolved=100)))
    assert history.series("hour", NOW_S + 50, OTHER).counts["resolved"][-11:] == [0, *[10] * 10]


def test_times_of_a_minute_come_from_all_nodes_clicks() -> None:
    history = ClusterHistory(History(NOW_S))
    own, other = figures(*[100.0] * 90), figures(*[8_000.0] * 10, traces_ms=(300.0,))
    minute_s = NOW_S // 60 * 60
    sample(history, minute_s + 59, a_node(ME, own), a_node(OTHER, other))
    sample(history, minute_s + 60, a_node(ME), a_node(OTHER))
    together, alone = history.series("hour", minute_s + 60), history.series("hour", minute_s + 60, OTHER)
    assert together.wait_ms["p50"][-2:] == [pytest.approx(100, rel=0.05), None]
    assert together.wait_ms["p95"][-2] == pytest.approx(8_000, rel=0.05)
    assert alone.wait_ms["p50"][-2] == pytest.approx(8_000, rel=0.05)
    assert together.trace_ms["p50"][-2] == pytest.approx(300, rel=0.05)


def test_a_minute_without_renewals_has_this_nodes_times() -> None:
    own = History(NOW_S)
    history = ClusterHistory(own)
    sample(history, NOW_S, a_node(ME), a_node(OTHER))
    own.click(NOW_S + 120, "resolved", None, 0.5)
    assert history.series("hour", NOW_S + 120).wait_ms["p50"][-1] == pytest.approx(500, rel=0.1)


def test_the_number_of_recorded_nodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_history, "NODES_MAX", 2)
    history = ClusterHistory(History(NOW_S))
    sample(history, NOW_S, a_node(OTHER))
    sample(history, NOW_S + 1, *(a_node(UUID(int=number)) for number in (3, 4)))
    assert history.began_s(OTHER) == NOW_S, "this node's, because the other one is forgotten"
    assert history.began_s(THIRD) == NOW_S + 1
    sample(history, NOW_S + 90_000)
    assert history.began_s(THIRD) == NOW_S


def test_another_versions_columns_are_left_out() -> None:
    history = ClusterHistory(History(NOW_S))
    sample(history, NOW_S, a_node(OTHER, figures()))
    sample(history, NOW_S + 1, a_node(OTHER, figures(resolved=10**30, unheard_of=4)))
    assert sums(history.series("hour", NOW_S + 1)) == {"resolved": cluster_history.COUNT_MAX}
