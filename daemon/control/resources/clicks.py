"""Clicks: every answered one, and the story of each; those without a trace too."""

from dataclasses import fields
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import Cursor, GetContext, Limit, Word, add_list
from daemon.control.listings import CLICKS
from daemon.control.problems import ProblemRaised
from daemon.control.resources.traces import HitsFilter
from daemon.journal.entries import HitKind, Params
from daemon.logbook.clicks import read_click
from daemon.logbook.parse import Line
from daemon.logbook.render_story import render_story
from daemon.logbook.story import Answered, Chosen, Hop, Trace, story_of


@dataclass(frozen=True, slots=True)
class ClicksQuery(HitsFilter):
    """`click_id`: the value of gclid or another click id. `ip`: the IP that traced it. Times: RFC 3339 with a zone.

    `kind`: repeats and previews used no IP. `offer`: also a name that no offer has. `reason`: of a fallback.
    """

    request_id: UUID | None = None
    ip: Word | None = None
    sort: Literal["-created", "created", "-wait_ms", "wait_ms"] = "-created"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class ClickRow:
    """A row of hits with its trace. `trace_status`, `ip` and `trace_ms` are null without a trace.

    `country`: whose IPs were to trace the click.
    """

    request_id: UUID
    created_at: datetime
    offer_name: str
    kind: HitKind
    outcome: str
    reason: str | None
    click_id: str | None
    visitor_address: str | None
    location: str
    wait_ms: int
    trace_status: str | None
    country: str | None
    ip: str | None
    trace_ms: int | None


@dataclass(frozen=True, slots=True)
class ClickStory:
    """What happened to a click, as `tracepool explain` tells it; `text` is its words, a line each.

    `country_by`: where the visitor's country is from, if the offer has several: parameter, header, file or first.
    Without a trace, `trace` and `chosen` are null and `hops` is empty. `answered` is null while the visitor waits, and
    if the visitor left before.
    """

    request_id: str
    offer: str | None
    click_id: str | None
    received_at: str | None
    visitor: str | None
    user_agent: str | None
    referrer: str | None
    country: str | None
    country_by: str | None
    inbound_params: Params
    chosen: Chosen | None
    hops: tuple[Hop, ...]
    trace: Trace | None
    answered: Answered | None
    text: list[str]


@dataclass(frozen=True, slots=True)
class RefusedClick:
    """`offer`: the name that the click gave; null if it gave none, and `error` says what is wrong."""

    request_id: str
    at: datetime
    status: int
    reason: str
    offer: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class RefusedClicks:
    """`items`: the last 500 of the answering node since it started, the newest first. The log has all."""

    items: list[RefusedClick]


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("clicks", __name__)
    summary = "The answered clicks with their traces, the newest first; repeats, previews and fallbacks too."
    add_list(routes, context, "list_clicks", "/api/clicks", CLICKS, ClicksQuery, ClickRow, summary=summary)

    @routes.get("/api/clicks/refused")
    @validate_response(RefusedClicks)
    async def refused_clicks() -> RefusedClicks:
        """The last clicks that were answered with an error: no offer has their name, and no fallback URL is set."""
        lines = context().observers.events.refused()
        return RefusedClicks(
            [
                RefusedClick(
                    str(line["request_id"]),
                    line["ts"],
                    line["status"],
                    line["reason"],
                    line.get("offer"),
                    line.get("error"),
                )
                for line in lines
            ]
        )

    @routes.get("/api/clicks/<uuid:request_id>")
    @validate_response(ClickStory)
    async def show_click(request_id: UUID) -> ClickStory:
        """What happened to one click: its time, its IP, each hop, and its redirect."""
        here = context()
        row, hit = await here.database.work(read_click, request_id)
        refused = [Line("", line) for line in here.observers.events.refused() if line["request_id"] == str(request_id)]
        story = story_of(str(request_id), row, hit, refused)
        if story is None:
            raise ProblemRaised(
                404,
                f"no click has the id {request_id}: its rows may be older than the retention, or it was refused (404,"
                " 400) long ago or by another node, which only the log has: tracepool explain",
            )
        return ClickStory(**{name: getattr(story, name) for name in _TOLD}, text=list(render_story(story)))

    return routes


_TOLD = [field.name for field in fields(ClickStory) if field.name != "text"]
