"""The nodes as `tracepool nodes`, GET /api/nodes and the dashboard list them, and which one a name means. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isinf

from daemon.errors import BadInput
from daemon.nodes.cluster import Counted, owned
from daemon.nodes.figures import MINUTE_S


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node. `state`: active, left (stopped in order), removed by an operator, or lost (others may have its IPs).

    `draining`: an operator lets it give its IPs away, and it takes none, also after a start; its clicks fall back.
    `seen_s_ago`: how old its figures are; `stale`: over 5 s. `trusted_for_s`: how long it may lease without PostgreSQL;
    `free_in_s`: until others may use its IPs, unless it renews; both null without a limit. `quiet_s`: how long its last
    leases and rests may last. `ips`: how many it owns, by country. Clicks and waits are of the last minute, null if its
    figures are older. `backlog`: entries that PostgreSQL does not have yet, null if its disk cannot be read; `refused`:
    entries that PostgreSQL refused. `filling`: queues that are at least half full, with length and limit. `this`: the
    node that answers.
    """

    name: str
    node_id: str
    state: str
    draining: bool
    seen_s_ago: float
    stale: bool
    trusted_for_s: float | None
    free_in_s: float | None
    quiet_s: float
    version: str
    started_at: str
    ips: dict[str, int]
    clicks_per_s: float | None
    wait_p50_ms: float | None
    wait_p95_ms: float | None
    active_traces: int | None
    backlog: int | None
    refused: int
    filling: dict[str, list[int]]
    this: bool

    @property
    def shown_state(self) -> str:
        """The state in a word or two: a node that does not renew may be active still."""
        if self.state == "active" and self.stale:
            return "not seen"
        return "draining" if self.state == "active" and self.draining else self.state


def entry_of(one: Counted, *, this: bool = False) -> NodeEntry:
    peer, figures = one.peer, one.peer.figures
    active = peer.state == "active"
    works = active and one.age_s <= MINUTE_S
    counts = peer.state != "lost" and peer.free_in_s > 0
    waits = figures.clicks.waits
    return NodeEntry(
        name=peer.name,
        node_id=str(peer.node_id),
        state=peer.state,
        draining=peer.draining,
        seen_s_ago=round(one.age_s, 1),
        stale=active and one.is_stale,
        trusted_for_s=_seconds(peer.trusted_for_s if active else 0.0),
        free_in_s=_seconds(peer.free_in_s if counts else 0.0),
        quiet_s=peer.quiet_s,
        version=peer.version,
        started_at=datetime.fromtimestamp(peer.started_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        ips={country: ips.total for country, ips in sorted(owned(peer).items()) if ips.total} if counts else {},
        clicks_per_s=round(figures.clicks_per_s, 1) if works else None,
        wait_p50_ms=_milliseconds(waits.percentile(50)) if works else None,
        wait_p95_ms=_milliseconds(waits.percentile(95)) if works else None,
        active_traces=figures.active_traces if works else None,
        backlog=None if figures.backlog < 0 else figures.backlog,
        refused=figures.refused,
        filling={name: list(queue) for name, queue in figures.filling.items()} if works else {},
        this=this,
    )


def entries_of(nodes: Iterable[Counted], me: object = None) -> list[NodeEntry]:
    """`me`: the id of the node that answers."""
    return [entry_of(one, this=one.peer.node_id == me) for one in nodes]


def named(entries: Sequence[NodeEntry], name: str) -> list[NodeEntry]:
    """The nodes that `name` may mean: a node's name, or the beginning of its id. Active ones count before others."""
    found = [one for one in entries if one.name == name] or [one for one in entries if one.node_id.startswith(name)]
    return [one for one in found if one.state == "active"] or found


def chosen(entries: Sequence[NodeEntry], name: str) -> NodeEntry:
    """The one node that `name` means. Raises BadInput."""
    found = named(entries, name) if name else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(f"there is no node {name}: tracepool nodes lists all")
    ids = ", ".join(one.node_id for one in found)
    raise BadInput(f"{len(found)} nodes are called {name}: give the beginning of a node id: {ids}")


def refused_removal(entry: NodeEntry) -> str | None:
    """Why the node cannot be removed, or None."""
    if entry.state == "active":
        return None
    return f"node {entry.name} is not active but {entry.state}: there is nothing to remove"


def refused_undrain(entry: NodeEntry) -> str | None:
    """Why the draining cannot be ended, or None."""
    return None if entry.draining else f"node {entry.name} is not draining"


def _seconds(value_s: float) -> float | None:
    return None if isinf(value_s) else round(max(0.0, value_s), 1)


def _milliseconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 1)
