"""Nodes with a balancer each, on a virtual clock: how well they share a country's IPs, and how few IPs move."""

import random
from collections.abc import Callable, Sequence

import pytest
import trio
from trio.testing import MockClock

from daemon.nodes.balance import SETTLED_S
from daemon.pool.messages import Lease
from daemon.pool.states import Rules
from tests.fakes.nodes import PlayedNode, started

IPS = 60
CAPACITY_PER_S = IPS / 63  # with a cooldown of 60 s and traces of 3 s
PLAYED_S = 240


async def played(nodes: Sequence[PlayedNode], rate: Callable[[int, float], float]) -> tuple[int, int]:
    """(leases, refused requests). `rate(index of the node, seconds)`, as a share of the capacity."""
    async with trio.open_nursery() as nursery:
        for index, node in enumerate(nodes):

            def per_s(passed_s: float, index: int = index) -> float:
                return rate(index, passed_s) * CAPACITY_PER_S

            nursery.start_soon(node.clicks, per_s, PLAYED_S, random.Random(index))
    return sum(node.leases for node in nodes), sum(sum(node.refused.values()) for node in nodes)


async def served_by_one(load: float, nursery: trio.Nursery) -> float:
    leases, refused = await played(started(nursery, 1, IPS), lambda index, passed_s: load)
    return leases / (leases + refused)


@pytest.mark.parametrize("load", [0.9, 1.5])
@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1)])
async def test_three_nodes_serve_nearly_as_much_as_one(
    load: float, shares: tuple[float, ...], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    alone = await served_by_one(load, nursery)
    nodes = started(nursery, 3, IPS)
    await trio.sleep(2 * SETTLED_S)
    leases, refused = await played(nodes, lambda index, passed_s: load * shares[index])
    assert leases / (leases + refused) >= 0.93 * alone


async def test_a_reversed_load_is_followed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    alone = await served_by_one(0.9, nursery)
    nodes = started(nursery, 3, IPS)
    before, after = (0.8, 0.1, 0.1), (0.1, 0.1, 0.8)
    await trio.sleep(2 * SETTLED_S)
    leases, refused = await played(nodes, lambda i, passed_s: 0.9 * (before if passed_s < PLAYED_S / 2 else after)[i])
    assert leases / (leases + refused) >= 0.93 * alone
    assert sum(nodes[0].shared.moves.values()) < 5 * IPS


async def test_a_click_on_a_node_without_an_ip_gets_another_ones_soon(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The only IP goes to and fro, to the node where it is asked for."""
    nodes = started(nursery, 2, 1, Rules(cooldown_s=1))
    chance, waits_s = random.Random(1), []
    for _ in range(60):
        await trio.sleep(chance.uniform(4, 6))
        asked_s = trio.current_time()
        [asked] = [node for node in nodes if not node.shared.owned()[node.id]]
        assert isinstance(await asked.ask(9.0, 0.0), Lease)
        waits_s.append(trio.current_time() - asked_s)
    assert sorted(waits_s)[int(0.95 * len(waits_s))] <= 1.5
    assert not (nodes[0].refused)
    assert not (nodes[1].refused)


async def test_a_draining_node_gives_all_and_leases_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    first, second = started(nursery, 2, IPS)
    async with trio.open_nursery() as busy:
        for _ in range(5):
            busy.start_soon(first.ask, 9.0, 3.0)
        await trio.sleep(1)
        first.draining = True
    assert first.leases == 5
    await trio.sleep(75)
    assert second.shared.owned() == {second.id: IPS}
    assert not isinstance(await first.ask(9.0, 1.0), Lease)
    assert isinstance(await second.ask(9.0, 1.0), Lease)
    before = second.shared.moves.total()
    second.draining = True  # nobody is left to give to
    await trio.sleep(20)
    assert second.shared.moves.total() == before


async def test_a_node_that_restarts_under_load_keeps_its_ips(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    first, second = started(nursery, 2, 20, Rules(cooldown_s=2.0))
    async with trio.open_nursery() as busy:
        for number, node in enumerate((first, second)):
            busy.start_soon(node.clicks, lambda passed_s: 4.0, 100, random.Random(number))
        await trio.sleep(90)
        before = first.shared.owned()[second.id]
        second.restart()
        await trio.sleep(3)
        assert 8 <= before <= 12
        assert first.shared.owned()[second.id] >= before - 2


async def test_eight_nodes_that_start_at_once_share_evenly_with_few_moves(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    nodes = started(nursery, 8, 80)
    await trio.sleep(60)
    owned = nodes[0].shared.owned()
    assert all(7 <= owned[node.id] <= 13 for node in nodes)
    moves = nodes[0].shared.moves.total()
    assert moves <= 90
    await trio.sleep(60)
    assert nodes[0].shared.moves.total() <= moves + 3


async def test_a_node_that_is_silent_gets_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    first, second, third = started(nursery, 3, 30)
    await trio.sleep(3)
    third.is_up = False
    before = first.shared.owned()[third.id]
    await trio.sleep(60)
    assert first.shared.owned()[third.id] <= before + 5
    assert first.shared.owned()[second.id] >= 12


async def test_a_node_alone_is_told_of_nothing_and_sends_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    (alone,) = started(nursery, 1, 3)
    await trio.sleep(10)
    [handle] = alone.directory
    assert (handle.view.gives, handle.view.elsewhere.counts.total) == (0, 0)
    assert (await alone.directory.known("us").describe(count=1)) != ()  # type: ignore[union-attr]
