"""A NodeReport of a node that is alone, or beside nodes that a test makes up."""

from uuid import UUID

from daemon.host.clocks import read_clocks
from daemon.maintenance.node_report import NodeReport
from daemon.maintenance.tally import Tally
from daemon.nodes.figures import NO_FIGURES, CountryFigures, NodeFigures
from daemon.nodes.identity import NodeStatus
from daemon.nodes.peers import Peer, Peers
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Counts
from daemon.settings.live import LiveSettings
from daemon.trace.provider_health import ProviderHealth
from daemon.troubles import Troubles

ME = UUID(int=1)
TRUST_S = 900.0
QUIET_S = 160.0


def _figures(counts: Counts) -> CountryFigures:
    return CountryFigures(counts.available, counts.locked, counts.cooldown, counts.failed, counts.waiting)


def a_node(node_id: UUID, figures: NodeFigures = NO_FIGURES, seen_s_ago: float = 0.0, state: str = "active") -> Peer:
    trusted_for_s = TRUST_S - seen_s_ago if state == "active" else -seen_s_ago
    return Peer(
        node_id=node_id,
        name=f"n{node_id.int}",
        epoch=1,
        state=state,
        draining=False,
        version="1",
        trusted_for_s=trusted_for_s,
        free_in_s=trusted_for_s + QUIET_S,
        figures=figures,
        trust_s=TRUST_S,
        quiet_s=QUIET_S,
    )


def report_of(
    live: LiveSettings,
    directory: PoolDirectory,
    *others: Peer,
    tally: Tally | None = None,
    providers: ProviderHealth | None = None,
    troubles: Troubles | None = None,
) -> NodeReport:
    """`others`: the other nodes as they were read just now."""
    return NodeReport(
        live,
        tally or Tally(),
        providers or ProviderHealth(),
        troubles or Troubles(),
        read_clocks,
        lambda: NodeStatus("n1", str(ME), 1, True, TRUST_S),
        lambda: Peers(ME, read_clocks().tick_s, {one.node_id: one for one in others}),
        lambda: {country: _figures(counts) for country, counts in directory.counts().items()},
    )
