"""What `tracepool status` says about nodes."""

from typing import Any

from daemon.cli.status_nodes import cluster_lines, own_lines


def a_node(name: str, **facts: Any) -> dict[str, Any]:
    calm = {"stale": False, "draining": False, "state": "active", "this": False, "ips": {"us": 3}, "filling": {}}
    return {"name": name, "seen_s_ago": 0.5, "free_in_s": 200.0, **calm, **facts}


def test_one_node_that_runs_here_needs_no_line() -> None:
    assert cluster_lines({"nodes": [a_node("a", this=True)], "daemon": "running"}) == []
    assert cluster_lines({"nodes": [], "daemon": None}) == []


def test_it_is_said_whose_figures_they_are_and_which_are_old() -> None:
    nodes = [
        a_node("a", this=True),
        a_node("b", stale=True, seen_s_ago=40.2),
        a_node("c", draining=True),
        a_node("d", draining=True, ips={}, filling={"workers_busy": [6, 10]}),
    ]
    assert cluster_lines({"nodes": nodes, "daemon": "running", "node": {"nodes_read_s_ago": 0.4}}) == [
        "these are the figures of 4 nodes together: a (here), b, c, d",
        "NOT seen for 40 s: b; its figures are that old; others use its IPs in 200 s, or after tracepool nodes"
        " remove b",
        "draining: c gives its 3 IPs away",
        "draining: d has no IP left",
        "filling up on d: workers_busy",
    ]


def test_the_own_part_is_said_only_beside_other_nodes() -> None:
    own = {
        "name": "a",
        "leasing": True,
        "trusted_for_s": 840.0,
        "draining": False,
        "countries": {"us": {"total": 3}},
        "active_traces": 1,
        "last_minute": {"clicks": 9, "resolved": 7},
    }
    assert own_lines(own, several=False) == ["node: a, leasing; without PostgreSQL for 840 s more"]
    assert own_lines(own, several=True)[1] == (
        "this node alone: IPs us 3; 1 active traces; last minute 9 clicks, 7 resolved"
    )
    drained = own | {"draining": True, "leasing": False}
    assert own_lines(drained, several=False) == [
        "node: a, draining: clicks fall back; end it: tracepool nodes undrain a"
    ]


def test_while_postgresql_does_not_answer_no_node_is_called_unseen() -> None:
    nodes = [a_node("a", this=True), a_node("b", stale=True, seen_s_ago=13.0)]
    assert cluster_lines({"nodes": nodes, "daemon": "running", "node": {"nodes_read_s_ago": 12.4}}) == [
        "these are the figures of 2 nodes together: a (here), b",
        "PostgreSQL does not answer: the figures of the other nodes are 12 s old",
    ]
