"""What a text names: a request, a click id, an IP, a visitor or an offer. A unit of work.

Each kind is found by an index, so that a search costs the same in a table of millions of rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from daemon.control.listings import HITS, conditions_of
from daemon.database.postgres import Connection
from daemon.errors import BadInput
from daemon.web.endpoints import canonical_host

Kind = Literal["click", "trace", "click_id", "visitor", "ip", "offer", "offer_name"]

EACH_MAX = 10
CLICKS_COUNTED_MAX = 100
LOOKED_IN = (
    "request ids of clicks and traces, click ids, visitors' addresses, addresses of IPs, names and ids of offers, and"
    " names of clicks that no offer has, of the last refused ones too"
)
AROUND = " \t\r\n\"'"  # what is pasted with an address or an id

_IPS = """
select id, ip_address, ip_port, country, status from ip_rotation_pool
where ip_address = $1::text and ($2::text is null or ip_port = $2::text) order by ip_address, ip_port limit $3"""
_OFFERS = """
select id, offer_name, is_active from offers
where offer_name = $1::text or id::text = lower($1::text) or strpos(lower(offer_name), lower($1::text)) > 0
order by offer_name = $1::text desc, lower(offer_name) = lower($1::text) desc, length(offer_name), offer_name
limit $2"""


@dataclass(frozen=True, slots=True)
class Match:
    """`id`: of the row; for a click id, a visitor and an offer's name the value itself.

    `clicks`: the hits with this value; CLICKS_COUNTED_MAX means as many or more.
    """

    kind: Kind
    id: str
    label: str
    clicks: int | None = None


async def find(conn: Connection, text: str) -> list[Match]:
    """The things that the text names, the most exact ones first. Blanks and quotes around it are ignored."""
    wanted = text.strip(AROUND)
    if not wanted:
        return []
    found = await _by_request_id(conn, wanted)
    found += await _ips(conn, wanted)
    found += await _by_value(conn, "click_id", wanted, "click id")
    found += await _by_value(conn, "visitor", _host(wanted), "visitor")
    offers = await conn.fetch(_OFFERS, wanted, EACH_MAX)
    for row in offers:
        state = "" if row["is_active"] else ", paused"
        found.append(Match("offer", row["offer_name"], f"offer {row['offer_name']}{state}"))
    if not any(row["offer_name"] == wanted for row in offers):
        found += await _by_value(conn, "offer", wanted, "clicks of a name that no offer has:", "offer_name")
    return found


def refused_matches(text: str, refused: Iterable[Mapping[str, Any]]) -> list[Match]:
    """Refused clicks with this request id or name. `refused`: their log lines, the newest first."""
    wanted = text.strip(AROUND)
    found = (line for line in refused if wanted and wanted in (line["request_id"], line.get("offer")))
    return [
        Match("click", line["request_id"], f"refused click, {line['status']}, {line['reason']}")
        for line in islice(found, EACH_MAX)
    ]


async def _by_request_id(conn: Connection, wanted: str) -> list[Match]:
    try:
        request_id = UUID(wanted)
    except ValueError:
        return []
    hit = await conn.fetchrow("select offer_name, kind from hits where request_id = $1", request_id)
    if hit is not None:
        return [Match("click", str(request_id), f"{hit['kind']} of offer {hit['offer_name']}")]
    trace = await conn.fetchrow("select status from active_trace_requests where request_id = $1", request_id)
    return (
        []
        if trace is None
        else [Match("trace", str(request_id), f"trace without an answered click, {trace['status']}")]
    )


async def _ips(conn: Connection, wanted: str) -> list[Match]:
    host, mark, port = wanted.rpartition(":")
    endpoints = [(wanted, None)] if not mark else [(wanted, None), (host, port)]
    for address, number in endpoints:
        rows = await conn.fetch(_IPS, _host(address), number, EACH_MAX)
        if rows:
            return [
                Match(
                    "ip",
                    str(row["id"]),
                    f"IP {row['ip_address']}:{row['ip_port']} of {row['country']}, {row['status']}",
                )
                for row in rows
            ]
    return []


async def _by_value(conn: Connection, filter: str, wanted: str, said: str, kind: Kind | None = None) -> list[Match]:
    """The hits whose column has this value."""
    conditions, arguments = conditions_of(HITS, {filter: wanted})
    count = await conn.fetchval(
        f"select count(*) from (select from {HITS.source} where {conditions[0]} limit {CLICKS_COUNTED_MAX}) h",  # noqa: S608
        *arguments,
    )
    return [Match(kind or filter, wanted, f"{said} {wanted}", count)] if count else []  # type: ignore[arg-type]


def _host(text: str) -> str:
    """The address as rows have it; a text that is no address as it is."""
    try:
        return canonical_host(text)
    except BadInput:
        return text
