"""What the resources of the control face share. Each file under resources/ has one noun: its models and its routes.

How to add a resource:
1. In resources/NOUN.py write requests and answers as frozen dataclasses of `pydantic.dataclasses`: the schema of a
   plain dataclass is built anew for each request, which takes 10 ms. Docstrings and field names are the documentation.
   A body has config=STRICT; each string, list and number of a request has a bound (Annotated with pydantic's Field).
2. `def blueprint(context: GetContext) -> Blueprint` makes the routes: async functions, whose docstring's first line is
   the summary in /openapi.json. Decorators from top to bottom: @routes.get("/api/NOUN"), then quart-schema's
   @validate_querystring, @validate_request, @validate_response. `context()` returns the ControlContext. A list of rows
   is one `add_list`. A stream ends when `context().stopping` is set.
3. A refusal is `raise ProblemRaised(404, "what is wrong, and what would be right")`; BadInput and DatabaseUnavailable
   become problems in face.py, which also admits each token to GET and only operators to other methods.
4. A change names its subject and adds facts, for its audit line and its row of the action log:
   `note_change("summer-sale", added=3)`. The row's words are the name of the handler: `change_offer`: "change offer".
5. Add the blueprint to service.RESOURCES.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from types import GenericAlias
from typing import Annotated, Any, TypeVar

import trio
from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as model
from quart import Blueprint, g
from quart_schema import validate_querystring, validate_response

from daemon.checks.checker import Checker
from daemon.control.listings import Listing, PageQuery, read_page
from daemon.control.observers import Observers
from daemon.control.overview import Overview
from daemon.control.tracing import TracesForOthers
from daemon.countries import canonical, names_of
from daemon.database.postgres import Database
from daemon.errors import BadInput
from daemon.maintenance.rounds import Report
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings


@dataclass(frozen=True, slots=True)
class TracerContext:
    """What resources work with in each role, `role = "tracer"` included."""

    live: LiveSettings
    traces: TracesForOthers
    stopping: trio.Event

    def settings(self) -> Settings:
        """The current settings."""
        return self.live.current


@dataclass(frozen=True, slots=True)
class ControlContext(TracerContext):
    """What resources work with in a full daemon. `maintenance` ships the journal, then runs a round."""

    overview: Overview
    database: Database
    maintenance: Callable[[], Awaitable[Report]]
    observers: Observers
    checker: Checker


G = TypeVar("G")
T = TypeVar("T")

# Bounds that requests share. PostgreSQL's text has no NUL.
Word = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Url = Annotated[str, Field(min_length=1, max_length=8_192, pattern=r"^[^\x00]*$")]
Cursor = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^[A-Za-z0-9_-]*$")]
Limit = Annotated[int, Field(ge=1, le=500)]
Flag = Annotated[bool, Field(strict=True)]
"""A boolean of a body: true or false, not 0 or "no"."""


def _matching(pattern: re.Pattern[str], example: str) -> BeforeValidator:
    """Pydantic reads numbers as times, and neither PostgreSQL nor Python converts times of distant years to UTC."""

    def check(value: object) -> object:
        if isinstance(value, str) and not pattern.match(value):
            raise ValueError(f"must have the form of RFC 3339, such as {example}, and a year from 1900 to 2999")
        return value

    return BeforeValidator(check)


_DAY = r"(19|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}"
Time = Annotated[AwareDatetime, _matching(re.compile(rf"{_DAY}[Tt ][0-9]{{2}}:"), "2026-01-31T12:00:00Z")]
Day = Annotated[date, _matching(re.compile(rf"{_DAY}$"), "2026-01-31")]

STRICT = ConfigDict(extra="forbid")
"""For a request's body: an unknown field is refused, so that a misspelled name is not ignored."""


@model(frozen=True, slots=True)
class RowRefused:
    """A row that an import refused. `row` counts from 1."""

    row: int
    reason: str


GetContext = Callable[[], ControlContext]
"""Raises ProblemRaised (503) while the daemon starts, and after it has begun to stop."""


def add_list(
    routes: Blueprint,
    context: GetContext,
    name: str,
    path: str,
    listing: Listing,
    query: type[Any],
    row: type[Any],
    read: Callable[[dict[str, Any]], Any] | None = None,
    *,
    summary: str,
) -> None:
    """Adds GET `path`: a page of rows. `row`: the model NOUNRow of an item, made by `read` or from its columns.

    `query`: a model with `sort`, `limit` and `cursor`; each field with the name of a filter of the listing is one.
    """
    described = {
        "__doc__": "`next` is the cursor of the following page; null at the end.",
        "__annotations__": {"items": GenericAlias(list, row), "next": str | None},
    }
    page: Any = model(frozen=True, slots=True)(type(row.__name__.replace("Row", "Page"), (), described))

    async def list_rows(query_args: Any) -> Any:
        filters = {name: getattr(query_args, name) for name in listing.filters if hasattr(query_args, name)}
        if "countries" in listing.filters and query_args.country is not None:
            filters["countries"] = names_of(canonical(query_args.country))
        wanted = PageQuery(query_args.sort, query_args.limit, query_args.cursor, filters)
        rows, following = await context().database.work(read_page, listing, wanted)
        return page([read(one) if read else from_row(row, one) for one in rows], following)

    list_rows.__name__, list_rows.__doc__ = name, summary
    routes.get(path)(validate_querystring(query)(validate_response(page)(list_rows)))


def parse_rows(given: Sequence[G], make: Callable[[G], T], *, strict: bool) -> tuple[list[T], list[RowRefused]]:
    """What `make` returns for each row of an import, and the rows for which it raises BadInput.

    With `strict`, one such row refuses all rows.
    """
    rows, refused = [], []
    for number, row in enumerate(given, start=1):
        try:
            rows.append(make(row))
        except BadInput as e:
            refused.append(RowRefused(number, str(e)))
    return ([] if strict and refused else rows), refused


def from_row(model: type[T], row: Mapping[str, Any], **more: Any) -> T:
    """A dataclass instance from the row's columns with its fields' names; `more`: values of further fields."""
    names = {field.name for field in fields(model)} - more.keys()  # type: ignore[arg-type]
    return model(**{name: row[name] for name in names}, **more)


def note_change(subject: str = "", /, **facts: object) -> None:
    """Adds facts to the audit line and the action log's row of this request. `subject`: the name of what changed.

    Of a mapping the line has the keys, the row all. No fact may hold a secret.
    """
    if subject:
        g.subject = subject
    g.setdefault("audit", {}).update(facts)


def note_no_change() -> None:
    """This request changes nothing, although its method is not GET: the action log gets no row."""
    g.unchanged = True
