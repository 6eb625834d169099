"""An offer as /api/offers takes and gives it: a row of `offers`; `tracepool offers add --help` explains each part."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from pydantic.dataclasses import dataclass

from daemon.control.api import STRICT, Flag, RowRefused, Url, Word
from daemon.offers.values import DEADLINE_MAX_S, DEADLINE_MIN_S, HOSTS_MAX, NAMES_MAX, SCHEMES_MAX, URLS_MAX, WEIGHT_MAX

Country = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
Deadline = Annotated[float, Field(ge=DEADLINE_MIN_S, le=DEADLINE_MAX_S, allow_inf_nan=False, strict=True)]
Notes = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
Agent = Literal["default", "visitor"]
Backend = Literal["default", "local", "service"]
Schemes = Annotated[list[Word], Field(max_length=SCHEMES_MAX)]
Hosts = Annotated[list[Word], Field(max_length=HOSTS_MAX)]
Filter = Annotated[
    dict[Literal["keep", "drop"], Annotated[list[Word], Field(max_length=NAMES_MAX)]], Field(max_length=1)
]
Renamed = Annotated[dict[Word, Word], Field(max_length=NAMES_MAX)]


@dataclass(frozen=True, slots=True, config=STRICT)
class TrackingShare:
    """A tracking URL and its weight among the others."""

    url: Url
    weight: Annotated[float, Field(gt=0, le=WEIGHT_MAX, allow_inf_nan=False, strict=True)] = 1


Shares = Annotated[list[TrackingShare], Field(max_length=URLS_MAX)]


@dataclass(frozen=True, slots=True, config=STRICT)
class OfferChanges:
    """What is to change. A list or an object replaces all that was there; null, or an empty one, takes it back."""

    final_url: Url | None = None
    target_country: Country | None = None
    is_active: Flag | None = None
    deadline_s: Deadline | None = None
    user_agent: Agent | None = None
    notes: Notes | None = None
    landing_schemes: Schemes | None = None
    stop_at: Hosts | None = None
    param_filter: Filter | None = None
    rename: Renamed | None = None
    tracking_urls: Shares | None = None
    trace_backend: Backend | None = None


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
class StoredShare:
    """A tracking URL and its weight among the others."""

    url: str
    weight: float = 1


@dataclass(frozen=True, slots=True)
class OfferRow:
    """A row of offers. `deadline_s` null: click.deadline_s holds."""

    id: UUID
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
    tracking_urls: list[StoredShare] | None
    trace_backend: str
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
