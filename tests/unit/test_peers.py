"""What a node knows of the others by their rows."""

from uuid import UUID

from daemon.nodes.figures import CountryFigures, NodeFigures
from daemon.nodes.peers import Peer, Peers
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
