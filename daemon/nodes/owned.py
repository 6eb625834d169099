"""Takes the IPs that no node owns, and reads the rows of this node's IPs.

Each reading is one transaction: it checks the node's claim and beat, takes, and reads. So a reading never comes from a
database that has lost this node's last renewal, and all rows of a reading were this node's while it had its claim. Nor
does it come from a server that has started, or taken over, since that renewal: there other nodes may have lost theirs.
A row that is read here can leave this node in two ways only. The node gives it away: the pool remembers the row's lease
number and ignores rows that do not have a later one. Or the node loses its claim: it then leases nothing until it has
joined again and all pools have been reloaded, and what was read under an earlier claim (`Tenure.term`) is ignored.

Taking does not change `edit_no`, so that many rows are taken by HOT updates, and no node compares its rows because
another one took some. SKIP LOCKED: two nodes never wait for each other; what an operator's transaction has locked is
taken by a later reading.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any
from uuid import UUID

from daemon.clock import Moment
from daemon.database.postgres import Connection, in_chunks
from daemon.database.queries import QUERIES
from daemon.errors import DatabaseOccupied
from daemon.pool.rows import ip_from_row
from daemon.pool.states import Ip

CHUNK_IPS = 5_000  # between two turns of the other tasks
TAKEN_MAX = 100_000  # by one statement, which has a time limit
Edits = tuple[int, int]
"""The first and the last edit number of a range."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """A node's claim on its IPs. `term`: the epoch of its row, which grows with each join; `beat`: its last renewal.

    `server_s`: when the server started that confirmed it. `takes`: whether the node may take IPs. `alone`: there can be
    no other node, so it takes those of others too. `rests_s`: how long IPs rest that the node did not own before,
    because the database may have lost other owners.
    """

    node_id: UUID
    claim: UUID
    term: int
    beat: int
    server_s: float | None = None
    takes: bool = True
    alone: bool = False
    rests_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """`ips`: this node's. `others`: ids of the rows that were asked for and are no IPs of this node.

    `fingerprint` of all rows: it changes when those of this node, the offers or the tokens do, and is older than `ips`.
    """

    tenure: Tenure
    ips: list[Ip]
    others: frozenset[UUID] = frozenset()
    fingerprint: Mapping[str, Any] = field(default_factory=dict)


async def read_all(conn: Connection, tenure: Tenure, now: Moment) -> Reading:
    """A unit of work, as the daemon (`own`). Raises DatabaseOccupied if the claim is lost."""
    await take(conn, tenure)
    fingerprint = await read_fingerprint(conn, tenure)
    return Reading(tenure, await _load(conn, tenure, now), fingerprint=fingerprint)


async def read_edited(conn: Connection, tenure: Tenure, now: Moment, edits: Edits) -> Reading:
    """As read_all, of the rows with these edit numbers."""
    await take(conn, tenure, edits)
    others = await conn.fetch(QUERIES["others_edited"], tenure.node_id, *edits)
    ips = await _load(conn, tenure, now, "and edit_no between $2 and $3", *edits)
    return Reading(tenure, ips, frozenset(row["id"] for row in others))


async def read_country(conn: Connection, tenure: Tenure, now: Moment, names: list[str]) -> Reading:
    """As read_all, of one country with these names, and without taking."""
    await _check(conn, tenure)
    return Reading(tenure, await _load(conn, tenure, now, "and lower(trim(country)) = any($2)", names))


async def read_ids(conn: Connection, tenure: Tenure) -> set[UUID]:
    """A unit of work: the ids of this node's IPs."""
    await _check(conn, tenure)
    return {
        row["id"]
        async for chunk in in_chunks(conn, QUERIES["load_ids"], tenure.node_id, rows=CHUNK_IPS)
        for row in chunk
    }


async def _check(conn: Connection, tenure: Tenure) -> None:
    row = await conn.fetchrow(QUERIES["find_beat"], tenure.node_id, tenure.claim)
    if row is None or row["beat"] < tenure.beat:
        raise DatabaseOccupied("this node has lost its claim on its IPs, or the database has lost rows")
    if tenure.server_s not in (None, row["server_s"]):
        raise DatabaseOccupied("PostgreSQL has started anew, and this node has not renewed its trust there yet")


async def take(conn: Connection, tenure: Tenure, edits: Edits | None = None) -> bool:
    """A unit of work, as the daemon: takes what nobody owns, all or with these edit numbers. Whether there was any."""
    await _check(conn, tenure)
    if not tenure.takes:
        return False
    taken = 0
    while True:
        values = tenure.node_id, tenure.alone, *(edits or (None, None)), TAKEN_MAX
        done: str = await conn.execute(QUERIES["take_ips"], *values)
        count = int(done.split()[-1])
        taken += count
        if count < TAKEN_MAX:
            return taken > 0


async def read_fingerprint(conn: Connection, tenure: Tenure) -> dict[str, Any]:
    """A unit of work. `nobodys`: how many rows have no owner."""
    return dict(await conn.fetchrow(QUERIES["fingerprint"], tenure.node_id))


async def _load(conn: Connection, tenure: Tenure, now: Moment, condition: str = "", *args: Any) -> list[Ip]:
    """Saves memory, since there may be 100,000 rows."""
    ips: list[Ip] = []
    query = f"{QUERIES['load_ips']} {condition}"
    async for chunk in in_chunks(conn, query, tenure.node_id, *args, rows=CHUNK_IPS):
        ips += _ips(chunk, now)
    return ips


def _ips(rows: Iterable[Any], now: Moment) -> Iterable[Ip]:
    for row in rows:
        ip = ip_from_row(row, now)
        ip.port, ip.country, ip.provider = intern(ip.port), intern(ip.country), intern(ip.provider)
        yield ip
