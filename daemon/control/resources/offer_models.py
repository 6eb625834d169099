"""An offer as /api/offers takes and gives it: a row of `offers`; `tracepool offers add --help` explains each part."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field
from pydantic.dataclasses import dataclass

from daemon.control.api import STRICT, Flag, RowRefused, Word
from daemon.offers.schema import SETTINGS, with_fields


@dataclass(frozen=True, slots=True, config=STRICT)
@with_fields({name: setting.body | None for name, setting in SETTINGS.items() if name != "offer_name"}, optional=True)
class OfferChanges:
    """What is to change. A list or an object replaces all that was there; null, or an empty one, takes it back."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OfferNew(OfferChanges):
    """An offer to add. Without `final_url` it has the first of its `tracking_urls`.

    `stop_at`: hosts whose first redirect ends a trace, unfetched. `param_filter`: {"keep": [names]} or
    {"drop": [names]}. `rename`: {"gclid": "sub1"}. `tracking_urls` share its clicks instead of `final_url`.
    """

    offer_name: Word


@dataclass(frozen=True, slots=True, config=STRICT)
class OffersNew:
    """Offers to add. `update`: one that exists is given the row's values. `strict`: a bad row refuses them all."""

    rows: Annotated[list[OfferNew], Field(min_length=1, max_length=10_000)]
    update: Flag = False
    strict: Flag = False


@dataclass(frozen=True, slots=True)
@with_fields({"id": UUID} | {name: setting.stored for name, setting in SETTINGS.items()})
class OfferRow:
    """A row of offers. `deadline_s` null: click.deadline_s holds."""

    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OfferPage:
    """`next` is the cursor of the following page; null at the end."""

    items: list[OfferRow]
    next: str | None


@dataclass(frozen=True, slots=True)
class OffersImported:
    """`skipped` were there already."""

    added: int
    updated: int
    skipped: int
    refused: list[RowRefused]


@dataclass(frozen=True, slots=True)
class OfferRemoved:
    """`removed`: its name."""

    removed: str
