"""/api/nodes: the nodes that share the database, as this node read them last; drain and remove a node."""

from dataclasses import asdict

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import GetContext, note_change
from daemon.control.problems import ProblemRaised
from daemon.control.status import CountryStatus, LastMinuteStatus, country_status
from daemon.maintenance.node_report import counts_of
from daemon.maintenance.tally import together
from daemon.nodes.listing import NodeEntry, named, refused_removal, refused_undrain


@dataclass(frozen=True, slots=True)
class NodeList:
    """All nodes, the answering one first. `connections`: to PostgreSQL, those of all leasing nodes at most.

    `connections_max`: how many PostgreSQL accepts; null behind a pooler, which shares its own.
    """

    items: list[NodeEntry]
    connections: int
    connections_max: int | None


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """One node's own figures, as the fields of the same names of GET /api/status have those of all nodes."""

    node: NodeEntry
    countries: dict[str, CountryStatus]
    last_minute: LastMinuteStatus
    clicks_waiting: int


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """The node as it was before the change. The change shows in the list within a second."""

    node: NodeEntry


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("nodes", __name__)

    @routes.get("/api/nodes")
    @validate_response(NodeList)
    async def nodes() -> NodeList:
        """The nodes that share the database: state, IPs by country, clicks, waits, journal."""
        overview = context().overview
        return NodeList(
            overview.node_entries(), overview.report.cluster().connections, overview.advisor.connections_max
        )

    @routes.get("/api/nodes/<name>")
    @validate_response(NodeDetail)
    async def node(name: str) -> NodeDetail:
        """One node's figures.

        The name is a node's name, or the beginning of its id.
        """
        entry = chosen_node(context, name)
        nodes = context().overview.report.nodes()
        figures = next(one.peer.figures for one in nodes if str(one.peer.node_id) == entry.node_id)
        counts = counts_of(figures.countries)
        return NodeDetail(
            entry,
            {country: country_status(counts[country]) for country in counts},
            LastMinuteStatus(**asdict(together(figures.clicks).rounded())),
            figures.clicks_waiting,
        )

    @routes.post("/api/nodes/<name>/drain")
    @validate_response(NodeChanged)
    async def drain_node(name: str) -> NodeChanged:
        """Let a node give its IPs away and lease no more, for maintenance: its clicks fall back until it is undrained.

        A node that is not active is drained when it starts. The name is a node's name, or the beginning of its id.
        """
        return await _set_draining(context, name, draining=True)

    @routes.post("/api/nodes/<name>/undrain")
    @validate_response(NodeChanged)
    async def undrain_node(name: str) -> NodeChanged:
        """End the draining of a node: it gets its share of the IPs again."""
        return await _set_draining(context, name, draining=False)

    @routes.delete("/api/nodes/<name>")
    @validate_response(NodeChanged)
    async def remove_node(name: str) -> NodeChanged:
        """End the trust of a node that will not return: others use its IPs after its quiet time.

        Only for a node that no longer runs: one that runs without reaching PostgreSQL goes on leasing its IPs.
        """
        entry = chosen_node(context, name)
        if why := refused_removal(entry):
            raise ProblemRaised(409, why)
        await context().database.fetch("remove_node", entry.node_id)
        note_change(entry.name, node_id=entry.node_id)
        return NodeChanged(entry)

    return routes


async def _set_draining(context: GetContext, name: str, *, draining: bool) -> NodeChanged:
    entry = chosen_node(context, name)
    if not draining and (why := refused_undrain(entry)):
        raise ProblemRaised(409, why)
    await context().database.fetch("set_draining", entry.node_id, draining)
    note_change(entry.name, node_id=entry.node_id)
    return NodeChanged(entry)


def chosen_node(context: GetContext, name: str) -> NodeEntry:
    """The node that `name` means. Raises ProblemRaised."""
    found = named(context().overview.node_entries(), name)
    if not found:
        raise ProblemRaised(404, f"there is no node {name[:100]!r}: GET /api/nodes lists them")
    if len(found) > 1:
        ids = ", ".join(entry.node_id for entry in found)
        raise ProblemRaised(
            409, f"{len(found)} nodes are called {name[:100]!r}: give the beginning of a node id: {ids}"
        )
    return found[0]
