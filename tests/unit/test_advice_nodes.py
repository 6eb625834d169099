"""The rules of advice on nodes: each one's condition and text."""

from dataclasses import replace
from typing import Any

import pytest

from daemon.maintenance.advice import advise
from daemon.maintenance.figures import Advice, Evidence, Figures, NodeFact, Severity

NOW_S = 1_700_000_000.0  # 22:13:20 UTC
DAY_S = 86_400.0
AGREED = {"pool.cooldown_s": 60.0, "pool.lock_s": 90.0, "node.trust_s": 900.0}


def node(name: str, **changes: Any) -> NodeFact:
    """A node without anything to advise."""
    well = NodeFact(name, "active", "1.0.0", 0.5, 899.5, NOW_S + 1_060, DAY_S, None, 100, AGREED)
    return replace(well, **changes)


def advice(*nodes: NodeFact, nobodys_ips: int = 0) -> list[Advice]:
    return list(advise(Figures(NOW_S, evidence=Evidence(nodes=nodes, nobodys_ips=nobodys_ips))))


def only(*nodes: NodeFact, **more: int) -> Advice:
    [found] = advice(*nodes, **more)
    return found


def test_nodes_that_agree_get_no_advice() -> None:
    assert advice() == []
    assert advice(node("a"), node("b", draining_s=60.0)) == []


@pytest.mark.parametrize(
    ("changes", "severity", "words"),
    [
        (
            {"seen_s_ago": 40, "trusted_for_s": 860, "free_at_s": NOW_S + 1_020},
            Severity.WARNING,
            "The node b has not reached PostgreSQL for 40 s. Without PostgreSQL it may work for 860 s more. No other "
            "node may use its 100 IPs before 22:30:20 UTC.",
        ),
        (
            {"seen_s_ago": 910, "trusted_for_s": -10, "free_at_s": NOW_S + 150},
            Severity.CRITICAL,
            "The node b does not reach PostgreSQL: its trust ended 10 s ago. No other node may use its 100 IPs before "
            "22:15:50 UTC.",
        ),
        (
            {"state": "removed", "seen_s_ago": 3, "trusted_for_s": -3, "free_at_s": NOW_S + 157},
            Severity.WARNING,
            "The node b was removed. No other node may use its 100 IPs before 22:15:57 UTC.",
        ),
    ],
)
def test_a_lost_node_is_named_with_the_time_until_its_ips_are_free(
    changes: dict[str, Any], severity: Severity, words: str
) -> None:
    found = only(node("a"), node("b", **changes))
    assert (found.code, found.about, found.severity, found.sentence) == ("node_lost", "b", severity, words)
    assert found.numbers["ips_out"] == 100
    assert ("nodes remove b" in str(found.command)) is (changes["trusted_for_s"] > 0)


def test_a_silent_node_is_not_lost_at_once_nor_without_ips() -> None:
    assert advice(node("a"), node("b", seen_s_ago=29.0, trusted_for_s=871.0)) == []
    assert advice(node("a"), node("b", seen_s_ago=910.0, trusted_for_s=-10.0, ips=0)) == []


def test_a_setting_that_differs_is_shown_with_the_nodes_of_each_value() -> None:
    short = node("c", settings=AGREED | {"pool.cooldown_s": 30.0, "node.trust_s": 60.0})
    cooldown, trust = sorted(advice(node("a"), node("b"), short), key=lambda one: one.about, reverse=True)
    assert cooldown.sentence == (
        "pool.cooldown_s differs between the nodes: 60 on a, b; 30 on c. An IP follows the node that owns it."
    )
    assert cooldown.numbers == {"nodes": 3, "values": 2, "value_min": 30, "value_max": 60}
    assert str(cooldown.command).endswith("systemctl reload tracepool")
    assert (trust.about, str(trust.command).endswith("systemctl restart tracepool")) == ("node.trust_s", True)


def test_only_nodes_that_lease_and_know_a_setting_are_compared() -> None:
    other = AGREED | {"pool.lock_s": 10.0}
    assert advice(node("a"), node("b", settings={})) == [], "a version that does not report it"
    gone = node("b", settings=other, seen_s_ago=999.0, trusted_for_s=-99.0, ips=0)
    assert advice(node("a"), gone) == []


def test_many_nodes_of_one_value_are_counted() -> None:
    many = [node(f"n{number}") for number in range(8)]
    found = only(*many, node("x", settings=AGREED | {"pool.lock_s": 10.0}))
    assert "90 on n0, n1, n2, n3, n4 and 3 more; 10 on x" in found.sentence


@pytest.mark.parametrize(("ips", "words"), [(0, "has no IP left"), (7, "still has 7 IPs")])
def test_a_node_that_drains_for_long_is_named(ips: int, words: str) -> None:
    found = only(node("a"), node("b", draining_s=1_800.0, ips=ips))
    assert (found.code, found.about, found.numbers["minutes_draining"]) == ("node_draining", "b", 30)
    assert words in found.sentence


def test_ips_of_nobody_are_advice_while_a_node_runs() -> None:
    assert advice(nobodys_ips=5) == [], "no daemon runs"
    assert only(node("a"), nobodys_ips=5).numbers == {"ips": 5, "nodes_that_take_ips": 1}
    assert "all nodes are draining" in only(node("a", draining_s=1.0), nobodys_ips=5).sentence


def test_versions_may_differ_for_an_hour() -> None:
    assert advice(node("a"), node("b", version="1.1.0", up_s=3_599.0)) == []
    found = only(node("a"), node("b", version="1.1.0", up_s=7_200.0), node("c", version="1.1.0", up_s=5.0))
    assert found.code == "versions_differ"
    assert "for 2 h: 1.1.0 on b, c; 1.0.0 on a" in found.sentence
    assert advice(node("a", up_s=9.0), node("b", version="1.1.0", up_s=7_200.0)) == [], "a was restarted just now"
