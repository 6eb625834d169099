"""What a node knows of the others by their rows."""

from uuid import UUID

from daemon.nodes.balancer import SILENT_S
from daemon.nodes.figures import CountryFigures, NodeFigures
from daemon.nodes.membership import STEADY_S
from daemon.nodes.peers import READ_EACH_MAX_S, RENEW_MIN_S, Peer, Peers, is_reading_due
from daemon.pool.messages import Counts, Elsewhere

ME, BEFORE, AFTER, OTHER = (UUID(int=number) for number in (5, 1, 9, 2))


def a_peer(node_id: UUID, us: CountryFigures, trusted_for_s: float = 900.0, state: str = "active") -> Peer:
    figures = NodeFigures(countries={"us": us})
    return Peer(node_id, "n", 1, state, False, "1.0", trusted_for_s, trusted_for_s + 160, figures)


def test_the_ips_elsewhere_are_those_of_the_other_nodes_that_lease() -> None:
    peers = [
        a_peer(ME, CountryFigures(available=50)),
        a_peer(BEFORE, CountryFigures(available=1, locked=2, failed=4)),
        a_peer(AFTER, CountryFigures(available=8, cooldown=16, waiting=3)),
        a_peer(OTHER, CountryFigures(available=100), trusted_for_s=-1),
    ]
    known = Peers(ME, 0.0, {peer.node_id: peer for peer in peers})
    assert known.elsewhere("us") == Elsewhere(Counts(31, 9, 2, 16, 4, 3), before=1)
    assert known.elsewhere("uk") == Elsewhere()
    assert Peers(ME, 0.0).elsewhere("us") == Elsewhere()


def test_many_nodes_read_each_others_rows_less_often() -> None:
    assert all(is_reading_due(nodes, RENEW_MIN_S, hurried=hurried) for nodes in (0, 2, 20) for hurried in (True, False))
    assert not is_reading_due(40, 1, hurried=False)
    assert is_reading_due(40, 1, hurried=True)
    assert is_reading_due(40, 2, hurried=False)
    assert not is_reading_due(1_000, 2, hurried=False)
    assert is_reading_due(1_000, 3, hurried=False)
    assert min(SILENT_S, STEADY_S) > READ_EACH_MAX_S + RENEW_MIN_S, "else the nodes count as silent"
