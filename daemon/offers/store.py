"""SQL on the table `offers`. A trigger notifies running daemons of each change."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from daemon.database.postgres import Connection
from daemon.errors import BadInput
from daemon.offers.country_rules import check_country_urls
from daemon.offers.model import HANDOVERS_MAX
from daemon.offers.schema import JSON_COLUMNS, LIVE, SETTINGS, OfferFields, with_fields
from daemon.offers.values import no_offer

_STORED = ", ".join((*SETTINGS, "created_at", "updated_at"))


@dataclass(frozen=True, slots=True)
@with_fields({column: setting.stored for column, setting in SETTINGS.items()})
class StoredOffer:
    """A row as operators see it."""

    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """The counts of an import."""

    added: int
    updated: int
    skipped: int


async def add_offer(conn: Connection, offer: OfferFields) -> bool:
    """Return False if an offer of that name exists already."""
    return (await add_offers(conn, [offer], update=False)).added == 1


async def add_offers(conn: Connection, offers: Sequence[OfferFields], update: bool) -> Stored:
    """Add each offer. An existing one gets the given values if `update`, else it is skipped."""
    results: list[bool | None] = []
    for given in map(_columns, offers):
        places = enumerate(given, start=1)
        # A new row holds null in place of an empty text.
        values = [f"nullif(${n}::text, '')" if SETTINGS[column].sql == "text" else f"${n}" for n, column in places]
        otherwise = f"update set {_changes(given)}" if update else "nothing"
        # xmax is 0 in a row that this statement inserted. A skipped offer returns no row.
        statement = (
            f"insert into offers ({', '.join(given)}) values ({', '.join(values)})"  # noqa: S608
            f" on conflict (offer_name) do {otherwise} returning offers.xmax = 0"
        )
        results.append(await conn.fetchval(statement, *given.values()))
    await _check_handovers(conn, {offer.offer_name for offer in offers if offer.paused_to})
    await _check_country_urls(conn, offers)
    return Stored(added=results.count(True), updated=results.count(False), skipped=results.count(None))


def _columns(offer: OfferFields) -> dict[str, object]:
    """The given values by column, the name first. An empty list or text that is not the default becomes null."""
    given = {column: value for column in SETTINGS if (value := getattr(offer, column)) is not None}
    return {c: None if value in ((), "") and value != SETTINGS[c].unset else value for c, value in given.items()}


def _changes(given: Iterable[str]) -> str:
    """The SET clause for all columns but the name."""
    return ", ".join([f"{column} = ${n}" for n, column in enumerate(given, start=1) if n > 1] + ["updated_at = now()"])


async def list_offers(conn: Connection) -> list[StoredOffer]:
    found = await conn.fetch(f"select {_STORED} from offers order by offer_name")  # noqa: S608
    return [StoredOffer(**with_json_read(row)) for row in found]


async def find_offer(conn: Connection, name: str) -> StoredOffer | None:
    row = await conn.fetchrow(f"select {_STORED} from offers where offer_name = $1", name)  # noqa: S608
    return StoredOffer(**with_json_read(row)) if row else None


def with_json_read(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its jsonb columns, which asyncpg gives as text, parsed."""
    return {**row, **{column: json.loads(row[column]) for column in JSON_COLUMNS if row[column] is not None}}


async def load_offers(conn: Connection) -> list[dict[str, Any]]:
    """All offers with the columns that clicks need."""
    return [dict(row) for row in await conn.fetch(f"select id, {', '.join(LIVE)} from offers")]  # noqa: S608


async def find_offer_row(conn: Connection, key: str, *, lock: bool = False) -> dict[str, Any] | None:
    """The whole row of the offer with this id, else of the one with this name. `lock`: for a change of it."""
    row = await conn.fetchrow(
        "select * from offers where id::text = lower($1) or offer_name = $1 order by offer_name = $1 limit 1"  # noqa: S608
        + (" for update" if lock else ""),
        key,
    )
    return dict(row) if row else None


async def update_offer(conn: Connection, changes: OfferFields, cleared: Collection[str] = ()) -> bool:
    """Set the given values, and null in the columns of `cleared`. Returns False if there is no such offer."""
    return bool(await update_offers(conn, [changes.offer_name], changes, cleared))


async def update_offers(
    conn: Connection, names: Sequence[str], changes: OfferFields, cleared: Collection[str] = ()
) -> list[str]:
    """As `update_offer`, of all offers with these names. Returns the names of those that exist."""
    _, *values = (given := _columns(changes)).values()
    nulls = "".join(f"{column} = null, " for column in SETTINGS if column in cleared)
    statement = f"update offers set {nulls}{_changes(given)} where offer_name = any($1::text[]) returning offer_name"  # noqa: S608
    found = sorted(row["offer_name"] for row in await conn.fetch(statement, list(names), *values))
    await _check_handovers(conn, set(found) if changes.paused_to else set())
    await _check_country_urls(conn, [replace(changes, offer_name=name) for name in found])
    return found


async def find_offer_names(conn: Connection, keys: Sequence[str]) -> dict[str, str | None]:
    """The name of the offer with each id or name, whose rows it locks for a change; None: there is none."""
    rows = await conn.fetch(
        "select id::text as id, offer_name from offers where id::text = any($1::text[]) or offer_name = any($2::text[])"
        " order by offer_name for update",
        [key.lower() for key in keys],
        list(keys),
    )
    by_id, names = {row["id"]: row["offer_name"] for row in rows}, {row["offer_name"] for row in rows}
    return {key: by_id.get(key.lower(), key if key in names else None) for key in keys}


async def delete_offers(conn: Connection, names: Sequence[str]) -> None:
    await conn.execute("delete from offers where offer_name = any($1::text[])", list(names))


async def _check_country_urls(conn: Connection, offers: Iterable[OfferFields]) -> None:
    """Raises BadInput as `check_country_urls`, by the rows after the change."""
    changed = [o.offer_name for o in offers if o.country_urls or o.target_country or o.countries is not None]
    rows = await conn.fetch(
        "select offer_name, country_urls, array_prepend(target_country, countries) as countries from offers"
        " where offer_name = any($1) and country_urls is not null",
        changed,
    )
    for row in rows:
        try:
            check_country_urls(json.loads(row["country_urls"]), row["countries"])
        except BadInput as e:
            raise BadInput(f"offer {row['offer_name']!r}: {e}", field="country_urls") from None


async def changed_offer(
    conn: Connection, changes: OfferFields, cleared: Collection[str] = ()
) -> tuple[StoredOffer, StoredOffer] | None:
    """As `update_offer`; returns the offer before and after the change, None if there is no such offer."""
    before = await find_offer(conn, changes.offer_name)
    if before is None or not await update_offer(conn, changes, cleared):
        return None
    after = await find_offer(conn, changes.offer_name)
    return None if after is None else (before, after)


async def _check_handovers(conn: Connection, names: set[str]) -> None:
    """Raises BadInput if `paused_to` of one of these offers names an offer that does not exist, or leads back to it."""
    if not names:
        return
    rows = await conn.fetch("select offer_name, is_active, paused_to from offers")
    takers = {row["offer_name"]: None if row["is_active"] else row["paused_to"] for row in rows}
    for row in rows:
        name, taker = row["offer_name"], row["paused_to"]
        if name not in names:
            continue
        if taker is not None and taker not in takers:
            raise BadInput(f"offer {name!r}: paused_to: {no_offer(taker, takers)}", field="paused_to")
        for _ in range(HANDOVERS_MAX):
            if taker is None:
                break
            if taker == name:
                raise BadInput(
                    f"offer {name!r}: paused_to leads back to it: its clicks would reach no active offer",
                    field="paused_to",
                )
            taker = takers.get(taker)
        else:
            raise BadInput(
                f"offer {name!r}: paused_to leads through more than {HANDOVERS_MAX} paused offers", field="paused_to"
            )


async def remove_offer(conn: Connection, name: str) -> bool:
    """Delete the offer; its hits and traces stay. Returns False if there is no such offer."""
    return bool(await conn.fetchval("delete from offers where offer_name = $1 returning true", name))
