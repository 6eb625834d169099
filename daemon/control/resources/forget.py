"""POST /api/forget: forgets a person, by the address of a visitor or by a click id."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_request, validate_response

from daemon.control.api import STRICT, Flag, GetContext, Word, note_change, note_no_change
from daemon.control.forget import find, forget, request_of
from daemon.journal.personal import CHARACTERS_MAX


@dataclass(frozen=True, slots=True, config=STRICT)
class PersonToForget:
    """A person: `visitor`, an address, or `click_id`. `dry_run`: only count, and change nothing."""

    visitor: Word | None = None
    click_id: Annotated[str, Field(min_length=1, max_length=CHARACTERS_MAX, pattern=r"^[^\x00]*$")] | None = None
    dry_run: Flag = False


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows of hits and of active_trace_requests are the person's; they are blanked unless it was a dry run."""

    hits: int
    traces: int


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("forget", __name__)

    @routes.post("/api/forget")
    @validate_request(PersonToForget)
    @validate_response(Forgotten)
    async def forget_person(data: PersonToForget) -> Forgotten:
        """Forget a person: the clicks lose address, User-Agent, referrer, parameters and URLs; figures stay.

        Entries that nodes have not shipped yet are blanked on their way. The action log does not name the person. A
        click id is looked for in whole tables: with many millions of rows use `tracepool forget`, which has no limit.
        """
        request, database = request_of(data.visitor, data.click_id), context().database
        found = await (find(database, request) if data.dry_run else forget(database, request, who=None))
        counts = {"hits": len(found.hits), "traces": len(found.traces)}
        if data.dry_run:
            note_no_change()
        note_change(request.subject, **counts)
        return Forgotten(**counts)

    return routes
