"""GET /metrics: for Prometheus, in its own formats rather than in JSON."""

from quart import Blueprint, Response, request
from quart_schema import hide

from daemon.control.api import GetContext


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @hide
    async def metrics() -> Response:
        here = context()
        page = await here.metrics.page(here.overview, request.headers.get("Accept"))
        return Response(page.body, content_type=page.content_type)

    return routes
