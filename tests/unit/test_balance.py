"""Who owns how many IPs of a country, and what is given: rules that hold for any figures."""

import itertools
from collections import Counter
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from daemon.nodes.balance import MOVED_MAX, MOVED_S, Gift, Given, gifts, targets
from daemon.nodes.figures import DECODER, ENCODER, CountryFigures, NodeFigures, Sent

A, B, C = (UUID(int=number) for number in range(1, 4))
FEW = st.integers(0, 5)
FIGURES = st.builds(
    CountryFigures,
    available=st.integers(0, 60),
    locked=st.integers(0, 30),
    cooldown=st.integers(0, 60),
    failed=FEW,
    waiting=FEW,
    wanted_per_s=st.floats(0, 5),
    missed=FEW,
    adopted=st.integers(0, 20),
    sent=st.dictionaries(
        st.sampled_from([A, B, C]), st.builds(Sent, st.integers(1, 5), st.integers(0, 30)), max_size=1
    ),
)
NODES = st.dictionaries(st.integers(1, 6).map(lambda n: UUID(int=n)), FIGURES, min_size=2, max_size=6)


def given_by(
    me: UUID, nodes: dict[UUID, CountryFigures], draining: frozenset[UUID] = frozenset(), **more: object
) -> list[Gift]:
    return gifts("us", me, nodes, [], 100.0, draining=draining, **more)  # type: ignore[arg-type]


@given(NODES, st.data())
def test_targets_divide_what_there_is_and_leave_a_draining_node_none(
    nodes: dict[UUID, CountryFigures], data: st.DataObject
) -> None:
    draining = frozenset(data.draw(st.sets(st.sampled_from(sorted(nodes)))))
    aims = targets(nodes, draining)
    takers = nodes.keys() - draining
    total = sum(figures.healthy for figures in nodes.values())
    assert set(aims) == set(nodes)
    assert all(aims[node] == 0 for node in draining)
    assert sum(aims.values()) == (total if takers else 0)
    if takers and total >= len(takers):
        assert all(aims[node] >= 1 for node in takers)


@given(NODES)
def test_more_demand_never_means_a_lower_target(nodes: dict[UUID, CountryFigures]) -> None:
    aims = targets(nodes)
    if sum(figures.healthy for figures in nodes.values()) >= len(nodes):
        by_demand = sorted(nodes, key=lambda node: nodes[node].wanted_per_s)
        for less, more in itertools.pairwise(by_demand):
            assert aims[less] <= aims[more] + 1


@given(NODES, st.data())
def test_nobody_gives_more_than_it_has_nor_to_itself_nor_to_a_draining_node(
    nodes: dict[UUID, CountryFigures], data: st.DataObject
) -> None:
    draining = frozenset(data.draw(st.sets(st.sampled_from(sorted(nodes)))))
    for me in nodes:
        made = given_by(me, nodes, draining)
        assert sum(gift.count for gift in made) <= nodes[me].healthy
        assert sum(gift.failed for gift in made) == (
            nodes[me].failed if me in draining and nodes.keys() - draining else 0
        )
        for gift in made:
            assert gift.to != me
            assert gift.to not in draining
            assert 0 <= gift.later <= gift.count
            assert gift.count or gift.failed
        assert made == given_by(me, dict(reversed(nodes.items())), draining)  # the same in any order


@given(NODES)
def test_the_gifts_of_all_nodes_together_fill_no_deficit_twice(nodes: dict[UUID, CountryFigures]) -> None:
    nodes = {node: structs.replace(figures, sent={}) for node, figures in nodes.items()}
    aims, got = targets(nodes), Counter[UUID]()
    for me in nodes:
        for gift in given_by(me, nodes):
            got[gift.to] += gift.count
    for node, count in got.items():
        figures = nodes[node]
        asked = figures.waiting + figures.missed - figures.available
        assert count <= max(asked, aims[node] - figures.healthy)


@settings(max_examples=30, deadline=None)
@given(NODES)
def test_a_draining_node_gives_everything(nodes: dict[UUID, CountryFigures]) -> None:
    """In a few steps, because others with a surplus may fill the deficits first."""
    me = min(nodes)
    nodes = {node: structs.replace(figures, sent={}) for node, figures in nodes.items()}
    for _ in range(40):
        for giver in nodes:
            nodes = played(nodes, giver, given_by(giver, nodes, frozenset({me})))
    assert nodes[me].total == 0


@settings(max_examples=30, deadline=None)
@given(NODES)
def test_without_requests_the_moves_end_and_leave_each_node_near_its_target(nodes: dict[UUID, CountryFigures]) -> None:
    nodes = {node: structs.replace(figures, sent={}, waiting=0, missed=0) for node, figures in nodes.items()}
    for _ in range(60):
        moves = 0
        for giver in nodes:
            made = given_by(giver, nodes)
            moves += sum(gift.count for gift in made)
            nodes = played(nodes, giver, made)
    assert moves == 0
    aims = targets(nodes)
    for node, figures in nodes.items():
        assert aims[node] * 0.8 - 1 <= figures.healthy <= aims[node] * 1.2 + 1


def played(nodes: dict[UUID, CountryFigures], giver: UUID, made: list[Gift]) -> dict[UUID, CountryFigures]:
    """All IPs are available then, and the gifts arrive at once."""
    after = dict(nodes)
    for gift in made:
        mine, its = after[giver], after[gift.to]
        left = mine.healthy - gift.count
        after[giver] = structs.replace(mine, available=left, locked=0, cooldown=0, failed=mine.failed - gift.failed)
        after[gift.to] = structs.replace(
            its, available=its.available + gift.count, failed=its.failed + gift.failed, waiting=0, missed=0
        )
    return after


def test_a_node_that_has_just_started_gets_few_ips_unless_a_request_waits_there() -> None:
    nodes = {A: CountryFigures(available=100), B: CountryFigures()}
    assert given_by(A, nodes, settled=frozenset({A})) == [Gift("us", B, 5, 5)]
    assert given_by(A, nodes) == [Gift("us", B, 50, 50)]
    waits = nodes | {B: CountryFigures(waiting=7, wanted_per_s=0.2)}
    (gift,) = given_by(A, waits, settled=frozenset({A}))
    assert gift.count - gift.later == 7


def test_a_small_deficit_is_filled_slowly_and_a_very_small_one_never() -> None:
    nodes = {A: CountryFigures(available=130), B: CountryFigures(available=70)}
    (first,) = given_by(A, nodes)
    assert first == Gift("us", B, int(200 * MOVED_MAX), int(200 * MOVED_MAX))
    lately = [Given(B, 10, 100.0)]
    assert gifts("us", A, nodes, lately, 100.0 + MOVED_S / 2) == []
    assert gifts("us", A, nodes, lately, 100.0 + MOVED_S) == [first]
    assert given_by(A, {A: CountryFigures(available=110), B: CountryFigures(available=90)}) == []


def test_a_gift_on_its_way_counts_as_the_receivers_for_every_node() -> None:
    on_its_way = CountryFigures(available=50, sent={B: Sent(50, 50)})
    nodes = {A: on_its_way, B: CountryFigures(), C: CountryFigures(available=60)}
    assert given_by(A, nodes) == []
    assert given_by(C, nodes) == []
    arrived = nodes | {B: CountryFigures(available=50, adopted=50)}
    assert [given_by(node, arrived) for node in nodes] == [[], [], []]


def test_a_request_that_waits_gets_an_idle_ip_but_not_one_that_the_owner_needs() -> None:
    waits = CountryFigures(waiting=1)
    assert [g.count for g in given_by(A, {A: CountryFigures(available=1), B: waits})] == [1]
    busy = CountryFigures(available=1, cooldown=30, wanted_per_s=1.0)
    (slow,) = given_by(A, {A: busy, B: waits}, settled=frozenset({A}))
    assert slow.count == slow.later


def test_figures_survive_their_json() -> None:
    figures = NodeFigures({"us": CountryFigures(available=3, sent={B: Sent(2, 9)})}, pools_s=1.5)
    assert DECODER.decode(ENCODER.encode(figures)) == figures
    assert DECODER.decode(b"{}") == NodeFigures()
