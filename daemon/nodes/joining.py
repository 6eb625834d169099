"""The transaction in which a node joins: it reads all nodes' rows, and writes its own with a new claim."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from daemon import __version__
from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.nodes.identity import Identity
from daemon.nodes.membership import PROTOCOL, Displaced, Joined, Occupied, admitted, node_row
from daemon.nodes.peers import Peer, peer_of

NODES_LOCK = (0x74726163, 3)  # of an advisory lock that ends with its transaction


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """`claims`: all that this run has asked for. `epoch`: of the row when this run had it last; None: it had none.

    `alone`: there can be no other node.
    """

    me: Identity
    claim: UUID
    claims: Collection[UUID]
    epoch: int | None
    figures: str
    alone: bool


@dataclass(frozen=True, slots=True)
class Entered:
    """The node has joined. `continues`: see Joined. `server_s`: when the server started, by its own clock."""

    continues: bool
    epoch: int
    beat: int
    draining: bool
    server_s: float
    peers: dict[UUID, Peer]


async def joined(conn: Connection, request: JoinRequest) -> Entered | Occupied | Displaced:
    """A unit of work."""
    me = request.me
    await conn.execute(QUERIES["join_beside"], *NODES_LOCK)
    rows = await conn.fetch(QUERIES["load_nodes"])
    now_s = await conn.fetchval("select extract(epoch from clock_timestamp())::float8")
    known = [node_row(row, request.claims) for row in rows]
    if request.alone:
        known = [row for row in known if row.node_id == me.node_id]
    found = admitted(known, me.node_id, request.epoch, now_s)
    if not isinstance(found, Joined):
        return found
    if request.alone:
        await conn.execute(QUERIES["take_over"], me.node_id)
    epoch = max(me.epoch, (request.epoch or 0) + 1)  # never an earlier one of this run, also in a restored database
    values = me.node_id, me.name, epoch, request.claim, me.trust_s, me.quiet_s(), __version__, PROTOCOL
    row = await conn.fetchrow(QUERIES["join_node"], *values, request.figures)
    return Entered(
        continues=found.continues,
        epoch=row["epoch"],
        beat=row["beat"],
        draining=any(other["draining"] for other in rows if other["node_id"] == me.node_id),
        server_s=row["server_s"],
        peers={other["node_id"]: peer_of(other) for other in rows},
    )
