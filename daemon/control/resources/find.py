"""GET /api/find: what a text names, for the dashboard's search box."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from daemon.control.api import GetContext
from daemon.control.finding import LOOKED_IN, find, refused_matches


@dataclass(frozen=True, slots=True)
class FindQuery:
    """`text`: a request id, a click id, an address, or the name or a part of the name of an offer."""

    text: Annotated[str, Field(min_length=1, max_length=8_192, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True)
class FoundMatch:
    """`kind`: what the text names. `id`: a request id, a click id, an address, an IP's id or an offer's name.

    `clicks`: how many hits have this value, 100 if there are as many or more; null for a row of its own.
    """

    kind: Literal["click", "trace", "click_id", "visitor", "ip", "offer", "offer_name"]
    id: str
    label: str
    clicks: int | None


@dataclass(frozen=True, slots=True)
class FindAnswer:
    """`items`: the most exact ones first; `looked_in`: where the text was looked for, as a sentence's part."""

    items: list[FoundMatch]
    looked_in: str


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("find", __name__)

    @routes.get("/api/find")
    @validate_querystring(FindQuery)
    @validate_response(FindAnswer)
    async def find_text(query_args: FindQuery) -> FindAnswer:
        """Find what a text names: a request, a click id, an IP, a visitor or an offer."""
        here = context()
        matches = await here.database.work(find, query_args.text)
        matches += refused_matches(query_args.text, here.observers.events.refused())
        return FindAnswer([FoundMatch(one.kind, one.id, one.label, one.clicks) for one in matches], LOOKED_IN)

    return routes
