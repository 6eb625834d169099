"""GET /api/advice: what should be done, and why."""

from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_response

from daemon.control.api import GetContext
from daemon.control.resources.status import AdviceStatus
from daemon.maintenance.advisor import said


@dataclass(frozen=True, slots=True)
class AdviceList:
    """The gravest first."""

    items: list[AdviceStatus]


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("advice", __name__)

    @routes.get("/api/advice")
    @validate_response(AdviceList)
    async def advice() -> AdviceList:
        """What should be done, each with its rule and the figures that met it."""
        return AdviceList([AdviceStatus(**said(one)) for one in context().overview.advisor.advice()])

    return routes
