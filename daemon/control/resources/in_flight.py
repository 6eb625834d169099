"""GET /api/traces/in-flight: the traces that have an IP now, from the daemon's memory."""

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import GetContext
from daemon.control.observers import Flight


@dataclass(frozen=True, slots=True)
class FlightList:
    """`total` have an IP; at most 200 of them are listed, those that began first."""

    total: int
    items: list[Flight]


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("in_flight", __name__)

    @routes.get("/api/traces/in-flight")
    @validate_response(FlightList)
    async def in_flight() -> FlightList:
        """The traces under way, and the time each has left."""
        here = context()
        flights = here.observers.flights(here.overview, here.settings().pool.lock_s)
        return FlightList(here.overview.tracer.active, flights)

    return routes
