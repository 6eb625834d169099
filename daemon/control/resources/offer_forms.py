"""What forms for offers need: the settings, a check of values without a change, and changes of many offers at once."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation
from pydantic.dataclasses import dataclass
from quart import Blueprint, request
from quart_schema import validate_request, validate_response

from daemon.control.api import STRICT, GetContext, Word, note_change, note_no_change
from daemon.control.problems import ProblemRaised
from daemon.control.resources.offers import MacroMeaning, OfferChanges, changes_of, macros_in
from daemon.database.postgres import Connection
from daemon.offers.schema import SETTINGS, OfferFields, Setting, new_offer
from daemon.offers.store import delete_offers, find_offer_names, update_offers

OFFERS_MAX = 10_000
NAMED_MAX = 20
OfferKeys = Annotated[list[Word], Field(min_length=1, max_length=OFFERS_MAX)]
KINDS: dict[str, Literal["text", "flag", "number"]] = {"text": "text", "boolean": "flag", "double precision": "number"}


@dataclass(frozen=True, slots=True)
class OfferSetting:
    """A setting of an offer. `kind`: how a form asks for it; `words`: a list or an object, as text of an import.

    `choices`: the words that the setting may be; empty: it is free. `default`: the value of a new offer.
    """

    name: str
    kind: Literal["text", "choice", "flag", "number", "words"]
    choices: list[str]
    help: str
    example: str
    default: str | bool | float | list[str] | None
    required: bool


@dataclass(frozen=True, slots=True)
class OfferSettings:
    items: list[OfferSetting]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OfferDraft(OfferChanges):
    """Values to check. With `offer_name` they are those of a new offer, without it changes to one that exists."""

    offer_name: SkipValidation[Word] | None = None


@dataclass(frozen=True, slots=True)
class OfferChecked:
    """The values are good. `macros`: those of their URLs."""

    macros: list[MacroMeaning]


@dataclass(frozen=True, slots=True, config=STRICT)
class OffersChange:
    """Changes to offers, by their names or ids."""

    offers: OfferKeys
    changes: OfferChanges


@dataclass(frozen=True, slots=True, config=STRICT)
class OffersSelected:
    """Offers, by their names or ids."""

    offers: OfferKeys


@dataclass(frozen=True, slots=True)
class OffersChanged:
    """The names of the offers that were changed: all that were named."""

    changed: list[str]


@dataclass(frozen=True, slots=True)
class OffersRemoved:
    """The names of the offers that were removed: all that were named."""

    removed: list[str]


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("offer_forms", __name__)

    @routes.get("/api/offer-settings")
    @validate_response(OfferSettings)
    async def offer_settings() -> OfferSettings:
        """The settings that an offer has, as forms ask for them. `countries` sets target_country too."""
        asked = [(name, setting) for name, setting in SETTINGS.items() if name != "target_country"]
        return OfferSettings([_described(name, setting) for name, setting in asked])

    @routes.post("/api/offers/check")
    @validate_request(OfferDraft)
    @validate_response(OfferChecked)
    async def check_offer(data: OfferDraft) -> OfferChecked:
        """Check the values of an offer, without a change; 400 has each wrong field."""
        note_no_change()
        named, allow_private = await request.get_json(), context().settings().trace.allow_private
        values = {name: value for name, value in asdict(data).items() if name in named}
        if data.offer_name is not None:
            offer = new_offer(values, allow_private=allow_private)
        else:
            values.pop("offer_name", None)
            offer, _ = changes_of(values, allow_private=allow_private)
        return OfferChecked(macros_in(values, offer.click_ids))

    _add_changes(routes, context)
    return routes


def _add_changes(routes: Blueprint, context: GetContext) -> None:
    @routes.post("/api/offers/change")
    @validate_request(OffersChange)
    @validate_response(OffersChanged)
    async def change_offers(data: OffersChange) -> OffersChanged:
        """Change many offers, all of them or none."""
        named, allow_private = (await request.get_json())["changes"], context().settings().trace.allow_private
        values = {name: value for name, value in asdict(data.changes).items() if name in named}
        changes, cleared = changes_of(values, allow_private=allow_private)
        changed = await context().database.work(_change_all, data.offers, changes, cleared)
        note_change(offers=changed[:NAMED_MAX], count=len(changed), to=values)
        return OffersChanged(changed)

    @routes.post("/api/offers/remove")
    @validate_request(OffersSelected)
    @validate_response(OffersRemoved)
    async def remove_offers(data: OffersSelected) -> OffersRemoved:
        """Remove many offers, all of them or none. Their hits and traces stay."""
        removed = await context().database.work(_remove_all, data.offers)
        note_change(offers=removed[:NAMED_MAX], count=len(removed))
        return OffersRemoved(removed)


async def _change_all(conn: Connection, keys: Sequence[str], changes: OfferFields, cleared: list[str]) -> list[str]:
    names = await _known_names(conn, keys)
    return await update_offers(conn, names, replace(changes, offer_name="any"), cleared)


async def _remove_all(conn: Connection, keys: Sequence[str]) -> list[str]:
    names = await _known_names(conn, keys)
    await delete_offers(conn, names)
    return names


async def _known_names(conn: Connection, keys: Sequence[str]) -> list[str]:
    found = await find_offer_names(conn, keys)
    if missing := [key for key, name in found.items() if name is None]:
        shown = ", ".join(repr(key[:100]) for key in missing[:NAMED_MAX])
        more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
        raise ProblemRaised(404, f"no offer has the name or id {shown}{more}: nothing was changed")
    return sorted({name for name in found.values() if name is not None})


def _described(name: str, setting: Setting) -> OfferSetting:
    default: Any = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    if name == "countries":
        default = [SETTINGS["target_country"].default]
    return OfferSetting(
        name=name,
        kind="choice" if setting.choices else KINDS.get(setting.sql, "words"),
        choices=list(setting.choices),
        help=setting.help,
        example=setting.example,
        default=default,
        required=name in ("offer_name", "final_url"),
    )
