"""/api/offers: the offers and their settings, which `tracepool offers add --help` explains.

A running daemon adopts each change within a second.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, SkipValidation
from pydantic.dataclasses import dataclass
from quart import Blueprint, request
from quart_schema import validate_request, validate_response

from daemon.control.actions import changed_values, changer_of
from daemon.control.api import (
    STRICT,
    Cursor,
    Flag,
    GetContext,
    Limit,
    RowRefused,
    Word,
    add_list,
    from_row,
    note_change,
    parse_rows,
)
from daemon.control.listings import OFFERS
from daemon.control.problems import ProblemRaised
from daemon.database.postgres import Connection
from daemon.errors import BadInput
from daemon.offers.macro_forms import meanings_in
from daemon.offers.schema import SETTINGS, OfferFields, new_offer, offer_fields, warnings_of, with_fields
from daemon.offers.store import add_offer, add_offers, find_offer_row, remove_offer, update_offer, with_json_read
from daemon.offers.values import Backend, Mode, Tracer, UserAgent

WARNINGS_MAX = 20


@dataclass(frozen=True, slots=True)
class OffersQuery:
    """`offer`: the whole name. `cursor`: the `next` of the page before."""

    offer: Word | None = None
    country: Word | None = None
    active: bool | None = None
    user_agent: UserAgent | None = None
    trace_backend: Backend | None = None
    tracer: Tracer | None = None
    mode: Mode | None = None
    sort: Literal["name", "-name", "created", "-created", "updated", "-updated", "country", "-country"] = "name"
    cursor: Cursor | None = None
    limit: Limit = 50


BODIES: dict[str, Any] = {
    name: Annotated[setting.body | str, SkipValidation()]  # type: ignore[type-arg]
    for name, setting in SETTINGS.items()
}
"""The readers of the settings check the values, so that a request is refused in the same words as a command."""


@dataclass(frozen=True, slots=True, config=STRICT)
@with_fields({name: body | None for name, body in BODIES.items() if name != "offer_name"}, optional=True)
class OfferChanges:
    """The settings to change. A list or an object replaces the old one; null, or an empty one, removes it.

    A text is read as in an import: `keep gclid wbraid`, `3:https://ads.example/a 1:https://ads.example/b`.
    """


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OfferNew(OfferChanges):
    """An offer to add. Without `final_url` the offer gets the first of its `tracking_urls`.

    `stop_at`: a trace ends at the first redirect to one of these hosts, which is not fetched. `param_filter`:
    {"keep": [names]} or {"drop": [names]}. `rename`: {"gclid": "sub1"}. `tracking_urls` share the offer's clicks
    instead of `final_url`. While the offer is paused, its clicks go to the offer `paused_to`, else to `fallback_url`.
    """

    offer_name: SkipValidation[Word]


@dataclass(frozen=True, slots=True, config=STRICT)
class OffersNew:
    """Offers to add. `update`: an offer that exists gets the row's values. `strict`: a bad row refuses all rows."""

    rows: Annotated[list[OfferNew], Field(min_length=1, max_length=10_000)]
    update: Flag = False
    strict: Flag = False


@dataclass(frozen=True, slots=True)
@with_fields({"id": UUID} | {name: setting.stored for name, setting in SETTINGS.items()})
class OfferRow:
    """A row of offers. `deadline_s` null: click.deadline_s applies."""

    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MacroMeaning:
    """What becomes of a macro in a URL, or of a notation that is none. `warns`: it may not be what is meant."""

    sentence: str
    warns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSaved(OfferRow):
    """The row of an offer that was added or changed. `macros`: those of the URLs in the request, as they were given."""

    macros: list[MacroMeaning]


Versioned = tuple[OfferRow, int, dict[str, str]]
"""An offer, the status, and the header ETag."""


@dataclass(frozen=True, slots=True)
class OffersImported:
    """`skipped`: offers that existed already. `warnings`: at most 20, each with the first such offer."""

    added: int
    updated: int
    skipped: int
    refused: list[RowRefused]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class OfferRemoved:
    """`removed`: the offer's name."""

    removed: str


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("offers", __name__)
    summary = "The offers, by name, a page at a time."
    add_list(routes, context, "list_offers", "/api/offers", OFFERS, OffersQuery, OfferRow, _shown, summary=summary)

    @routes.get("/api/offers/<path:offer>")
    @validate_response(OfferRow)
    async def show_offer(offer: str) -> Versioned:
        """One offer, by its name or its id. ETag: its version, for If-Match of a change."""
        row = await context().database.work(_known, offer)
        return _shown(row), 200, _etag(row)

    _add_new(routes, context)
    _add_changes(routes, context)
    return routes


def _add_new(routes: Blueprint, context: GetContext) -> None:
    def private() -> bool:
        return context().settings().trace.allow_private

    @routes.post("/api/offers")
    @validate_request(OfferNew)
    @validate_response(OfferSaved, 201)
    async def create_offer(data: OfferNew) -> Versioned:
        """Add an offer, as `tracepool offers add` does; 409 if another offer has its name."""
        offer = new_offer(asdict(data), allow_private=private())
        added, row = await context().database.work(_add, offer)
        if not added:
            why = f"an offer called {offer.offer_name!r} exists already: PATCH changes it"
            raise ProblemRaised(409, why, field="offer_name")
        note_change(offer.offer_name)
        return _saved(row, asdict(data)), 201, _etag(row)

    @routes.post("/api/offers/import")
    @validate_request(OffersNew)
    @validate_response(OffersImported)
    async def import_offers(data: OffersNew) -> OffersImported:
        """Add many offers. An offer that exists is skipped, or changed with `update`."""
        allow_private = private()
        rows, refused = parse_rows(
            data.rows, lambda row: new_offer(asdict(row), allow_private=allow_private), strict=data.strict
        )
        stored = await context().database.work(add_offers, rows, data.update)
        note_change(added=stored.added, updated=stored.updated, refused=len(refused))
        warnings = list(islice(warnings_of(rows), WARNINGS_MAX))
        return OffersImported(stored.added, stored.updated, stored.skipped, refused, warnings)


def _add_changes(routes: Blueprint, context: GetContext) -> None:
    @routes.patch("/api/offers/<path:offer>")
    @validate_request(OfferChanges)
    @validate_response(OfferSaved)
    async def change_offer(offer: str, data: OfferChanges) -> Versioned:
        """Change the settings of an offer that the body names; null removes a setting (RFC 7396).

        With the header If-Match, which holds the ETag of an earlier answer, the status is 412 if the offer was changed
        in the meantime, and nothing is changed.
        """
        named = sorted(await request.get_json())
        values = {name: value for name, value in asdict(data).items() if name in named}
        changes, cleared = changes_of(values, allow_private=context().settings().trace.allow_private)
        version = request.headers.get("If-Match")
        before, row = await context().database.work(_change, offer, changes, cleared, version)
        note_change(row["offer_name"], changed=changed_values(with_json_read(before), with_json_read(row)))
        return _saved(row, values), 200, _etag(row)

    @routes.delete("/api/offers/<path:offer>")
    @validate_response(OfferRemoved)
    async def delete_offer(offer: str) -> OfferRemoved:
        """Remove an offer: its clicks get 404. Its hits and traces stay. If-Match: as for a change."""
        name = await context().database.work(_remove, offer, request.headers.get("If-Match"))
        note_change(name)
        return OfferRemoved(name)


def changes_of(values: Mapping[str, Any], *, allow_private: bool) -> tuple[OfferFields, list[str]]:
    """The changes to the settings in `values`, checked, and those to set to null.

    `offer_name` is a placeholder: the caller sets it. Null and a blank text mean that the setting is removed.
    """

    def is_blank(value: object) -> bool:
        return value is None or (isinstance(value, str) and not value.strip())

    given = {name: SETTINGS[name].unset if is_blank(value) else value for name, value in values.items()}
    if given.get("final_url", "") is None:
        raise BadInput("final_url cannot be removed: an offer needs one", field="final_url")
    changes = offer_fields({"offer_name": "any", **given}, allow_private=allow_private)
    return changes, [name for name, value in given.items() if value is None]


async def _add(conn: Connection, offer: OfferFields) -> tuple[bool, dict[str, Any]]:
    return await add_offer(conn, offer), await _known(conn, offer.offer_name)


async def _change(
    conn: Connection, key: str, changes: OfferFields, cleared: list[str], version: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row before and after the change."""
    before = await _known(conn, key, version)
    await update_offer(conn, replace(changes, offer_name=before["offer_name"]), cleared)
    return before, await _known(conn, str(before["id"]))


async def _remove(conn: Connection, key: str, version: str | None) -> str:
    name = str((await _known(conn, key, version))["offer_name"])
    await remove_offer(conn, name)
    return name


async def _known(conn: Connection, key: str, version: str | None = None) -> dict[str, Any]:
    """The row of the offer; with `version`, the value of an If-Match header, locked and checked (RFC 9110, 13.1.1)."""
    row = None if "\0" in key else await find_offer_row(conn, key, lock=version is not None)
    if row is None:
        raise ProblemRaised(404, f"no offer has the name or id {key[:100]!r}: GET /api/offers lists them")
    if version is not None and version.strip() != "*" and _etag(row)["ETag"] not in re.findall(r'"[^"]*"', version):
        changed = row["updated_at"].astimezone(UTC)
        who = await changer_of(conn, row["offer_name"], changed)
        raise ProblemRaised(
            412,
            f"offer {row['offer_name']!r} was changed after you read it: nothing was changed now. Its last change, "
            f"unless by SQL, was at {changed:%Y-%m-%d %H:%M:%S} UTC{_by(who)}. Look at its new settings, and "
            "save again",
            kind="/problems/changed",
            title="Changed in the meantime",
        )
    return row


def _by(who: str | None) -> str:
    """A name of the action log, for a sentence. "open": no token is required, so nobody is known."""
    return {None: "", "open": "", "settings": " with the token of the settings"}.get(who, f" by {who}")


def _etag(row: dict[str, Any]) -> dict[str, str]:
    """The header with the version of an offer. Edits by SQL, which may leave updated_at, change it too."""
    text = json.dumps(row, default=str, sort_keys=True)
    return {"ETag": f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'}


def _shown(row: dict[str, Any]) -> OfferRow:
    return from_row(OfferRow, with_json_read(row))


def _saved(row: dict[str, Any], given: Mapping[str, object]) -> OfferSaved:
    return from_row(OfferSaved, with_json_read(row), macros=macros_in(given, row["click_ids"]))


def macros_in(given: Mapping[str, object], click_ids: Sequence[str] | None) -> list[MacroMeaning]:
    """What becomes of each macro in the URLs. `click_ids`: those of the offer."""
    return [MacroMeaning(one.sentence, one.warns) for one in meanings_in(given, click_ids or ())]
