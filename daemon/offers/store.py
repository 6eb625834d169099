"""Units of work on the rows of `offers` as operators do them. A running daemon hears of each change by a trigger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any

from daemon.database.postgres import Connection
from daemon.offers.rows import OfferFields
from daemon.offers.values import JSON_COLUMNS

_VALUES = (
    "$1, $2, coalesce($3::text, 'us'), coalesce($4::boolean, true), $5::float8, coalesce($6::text, 'default'),"
    " nullif($7, ''), coalesce($8::text[], '{}'), nullif($9::text[], '{}'), nullif($10::text, '')::jsonb,"
    " nullif($11::text, '')::jsonb, nullif($12::text, '')::jsonb, coalesce($13::text, 'default')"
)
_INSERT = (
    "insert into offers"  # noqa: S608
    " (offer_name, final_url, target_country, is_active, deadline_s, user_agent, notes, landing_schemes, stop_at,"
    f" param_filter, rename, tracking_urls, trace_backend) values ({_VALUES}) on conflict (offer_name) do"
)
# An empty value takes back what is empty without it.
_CHANGES = """final_url = coalesce($2, offers.final_url), target_country = coalesce($3::text, offers.target_country),
    is_active = coalesce($4::boolean, offers.is_active), deadline_s = coalesce($5::float8, offers.deadline_s),
    user_agent = coalesce($6::text, offers.user_agent), notes = coalesce($7::text, offers.notes),
    landing_schemes = coalesce($8::text[], offers.landing_schemes),
    stop_at = nullif(coalesce($9::text[], offers.stop_at), '{}'),
    param_filter = nullif(coalesce($10::text, offers.param_filter::text), '')::jsonb,
    rename = nullif(coalesce($11::text, offers.rename::text), '')::jsonb,
    tracking_urls = nullif(coalesce($12::text, offers.tracking_urls::text), '')::jsonb,
    trace_backend = coalesce($13::text, offers.trace_backend), updated_at = now()"""


@dataclass(frozen=True, slots=True)
class StoredOffer:
    """A row as an operator looks at it."""

    offer_name: str
    final_url: str
    target_country: str
    is_active: bool
    deadline_s: float | None
    user_agent: str
    notes: str | None
    landing_schemes: list[str]
    stop_at: list[str] | None
    param_filter: dict[str, list[str]] | None
    rename: dict[str, str] | None
    tracking_urls: list[dict[str, Any]] | None
    trace_backend: str
    created_at: datetime
    updated_at: datetime


_STORED = ", ".join(field.name for field in fields(StoredOffer))


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of the rows of a file."""

    added: int
    updated: int
    skipped: int


async def add_offer(conn: Connection, offer: OfferFields) -> bool:
    """False where one of that name is there already."""
    return (await add_offers(conn, [offer], update=False)).added == 1


async def add_offers(conn: Connection, offers: Sequence[OfferFields], update: bool) -> Stored:
    """Adds each; one that is there already is skipped, or given the values that `offers` names for it."""
    otherwise = f"update set {_CHANGES}" if update else "nothing"
    results = [
        # xmax is 0 in a row that this very statement inserted; no row comes back where nothing was done.
        await conn.fetchval(f"{_INSERT} {otherwise} returning offers.xmax = 0", *astuple(offer))
        for offer in offers
    ]
    return Stored(added=results.count(True), updated=results.count(False), skipped=results.count(None))


async def list_offers(conn: Connection) -> list[StoredOffer]:
    return [_stored(row) for row in await conn.fetch(f"select {_STORED} from offers order by offer_name")]  # noqa: S608


async def find_offer(conn: Connection, name: str) -> StoredOffer | None:
    row = await conn.fetchrow(f"select {_STORED} from offers where offer_name = $1", name)  # noqa: S608
    return _stored(row) if row else None


def _stored(row: Mapping[str, Any]) -> StoredOffer:
    """jsonb comes as text."""
    read = {column: json.loads(row[column]) for column in JSON_COLUMNS if row[column] is not None}
    return StoredOffer(**{**dict(row), **read})


async def find_offer_row(conn: Connection, key: str) -> dict[str, Any] | None:
    """The whole row, by its id or else by its name."""
    row = await conn.fetchrow(
        "select * from offers where id::text = lower($1) or offer_name = $1 order by offer_name = $1 limit 1", key
    )
    return dict(row) if row else None


async def offer_names(conn: Connection) -> list[str]:
    return [row["offer_name"] for row in await conn.fetch("select offer_name from offers order by offer_name")]


async def update_offer(conn: Connection, changes: OfferFields, own_deadline: bool) -> bool:
    """Gives the offer what `changes` names; without `own_deadline` the setting holds for it. False: no such offer."""
    done = await conn.fetchval(f"update offers set {_CHANGES} where offer_name = $1 returning true", *astuple(changes))  # noqa: S608
    if done and not own_deadline:
        await conn.execute("update offers set deadline_s = null where offer_name = $1", changes.offer_name)
    return bool(done)


async def remove_offer(conn: Connection, name: str) -> bool:
    """False: no such offer. Its hits and traces stay."""
    return bool(await conn.fetchval("delete from offers where offer_name = $1 returning true", name))
