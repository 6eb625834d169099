"""Who asks: the token of the request and what it may do. The dashboard hides what a read-only token may not change."""

from pydantic.dataclasses import dataclass
from quart import Blueprint, g
from quart_schema import validate_response

from daemon.control.access import Principal, Role


@dataclass(frozen=True, slots=True)
class Session:
    """`name`: the token's name, `settings` for control.token, `open` if no token is required.

    `may_write`: whether requests other than GET are admitted.
    """

    name: str
    role: Role
    may_write: bool


def blueprint(context: object) -> Blueprint:
    """`context` is not used: the answer is the same while the daemon starts."""
    routes = Blueprint("session", __name__)

    @routes.get("/api/session")
    @validate_response(Session)
    async def session() -> Session:
        """The name and the role of the token that this request has."""
        principal: Principal = g.principal
        return Session(principal.name, principal.role, principal.role.may("POST"))

    return routes
