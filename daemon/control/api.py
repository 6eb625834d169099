"""What the resources of the control face share. They stand by noun in files under resources/, with their models.

How to add one:
1. In resources/NOUN.py the answers as frozen dataclasses (the docstring and each field's name are the documentation),
   and the requests, their bodies with config=STRICT; use pydantic's Field by Annotated for bounds: every string, list
   and number has one. It is pydantic.dataclasses.dataclass: the schema of a plain one would be built anew for each
   request, which takes 10 ms.
2. `def NAME_routes(context: GetContext) -> Blueprint` makes the routes: async functions with a docstring (its first
   line is the summary in /openapi.json), under quart-schema's @validate_querystring, @validate_request and
   @validate_response, in that order from top to bottom below @routes.get("/api/NAME"). Inside, `context()` gives what
   there is to work with. A list of rows is one `page_of`.
3. A refusal is `raise ProblemRaised(404, "what, and what would be right")`; BadInput and DatabaseUnavailable become
   problems by themselves. GET is for everybody with a token, all other methods for operators: nothing to do for that.
4. A change says what it did: `note_change(ips=3)` adds to the audit line that each change writes.
5. What streams or takes long watches `context().stopping`. Name the blueprint in service.RESOURCES.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Annotated, Any, TypeVar

import trio
from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as model
from quart import g

from daemon.control.listings import Asked, Listing, read_page
from daemon.control.metrics import Metrics
from daemon.control.observers import Observers
from daemon.control.overview import Overview
from daemon.control.tracing import TracesForOthers
from daemon.database.postgres import Database
from daemon.errors import BadInput
from daemon.maintenance.rounds import Report
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings


@dataclass(frozen=True, slots=True)
class TracerContext:
    """What there is in a daemon that only traces for others too."""

    live: LiveSettings
    traces: TracesForOthers
    stopping: trio.Event

    def settings(self) -> Settings:
        """Those of now."""
        return self.live.current


@dataclass(frozen=True, slots=True)
class ControlContext(TracerContext):
    """What resources work with. `maintenance` does a round, after what is journaled is shipped."""

    overview: Overview
    database: Database
    maintenance: Callable[[], Awaitable[Report]]
    metrics: Metrics
    observers: Observers


G = TypeVar("G")
P = TypeVar("P")
T = TypeVar("T")

# Bounds that requests share. PostgreSQL's text has no NUL.
Word = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Url = Annotated[str, Field(min_length=1, max_length=8_192, pattern=r"^[^\x00]*$")]
Cursor = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^[A-Za-z0-9_-]*$")]
Limit = Annotated[int, Field(ge=1, le=500)]
Flag = Annotated[bool, Field(strict=True)]
"""Of a body: not 0 or "no"."""


def _within(written: re.Pattern[str], such_as: str) -> BeforeValidator:
    """Pydantic takes numbers for times; and times far from ours are more than PostgreSQL or Python can turn to UTC."""

    def check(value: object) -> object:
        if isinstance(value, str) and not written.match(value):
            raise ValueError(f"must be as RFC 3339 has it, such as {such_as}, of the years 1900 to 2999")
        return value

    return BeforeValidator(check)


_DAY = r"(19|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}"
Time = Annotated[AwareDatetime, _within(re.compile(rf"{_DAY}[Tt ][0-9]{{2}}:"), "2026-01-31T12:00:00Z")]
Day = Annotated[date, _within(re.compile(rf"{_DAY}$"), "2026-01-31")]

STRICT = ConfigDict(extra="forbid")
"""Of a request's body: a name that is not known is refused, rather than a slip passed over."""


@model(frozen=True, slots=True)
class RowRefused:
    """Of an import. `row` counts from 1."""

    row: int
    reason: str


GetContext = Callable[[], ControlContext]
"""Raises ProblemRaised (503) while the daemon starts, and once it stops."""


async def page_of(
    context: ControlContext,
    listing: Listing,
    query: Any,
    page: Callable[[list[T], str | None], P],
    row: Callable[[dict[str, Any]], T],
    **filters: object,
) -> P:
    """A page of rows. `query` has `sort`, `limit` and `cursor`; its other fields that the listing has a filter for are
    filters, and so are `filters`.
    """
    named = {name: getattr(query, name) for name in listing.filters if hasattr(query, name)}
    asked = Asked(query.sort, query.limit, query.cursor, named | filters)
    found = await context.database.work(read_page, listing, asked)
    return page([row(one) for one in found["items"]], found["next"])


def accepted(given: Sequence[G], make: Callable[[G], T], *, strict: bool) -> tuple[list[T], list[RowRefused]]:
    """The rows of an import, and those that `make` refuses by BadInput: with `strict`, one of these refuses all."""
    rows, refused = [], []
    for number, one in enumerate(given, start=1):
        try:
            rows.append(make(one))
        except BadInput as e:
            refused.append(RowRefused(number, str(e)))
    return ([] if strict and refused else rows), refused


def picked(model: type[T], row: Mapping[str, Any], **more: Any) -> T:
    """A dataclass instance by a row's columns of its fields' names; `more` are fields that no column has."""
    names = {field.name for field in fields(model)} - more.keys()  # type: ignore[arg-type]
    return model(**{name: row[name] for name in names}, **more)


def note_change(**facts: object) -> None:
    """What the audit line of this request says beside who asked for what."""
    g.setdefault("audit", {}).update(facts)
