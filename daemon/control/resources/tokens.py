"""/api/tokens: access to the control face, as `tracepool token` manages it. Only operators see and change tokens."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint, g
from quart_schema import validate_request, validate_response

from daemon.control import token_store
from daemon.control.access import Principal, Role, hash_of
from daemon.control.api import STRICT, GetContext, note_change
from daemon.control.problems import ProblemRaised


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token, without its text, which is stored nowhere. `current`: the token of this request."""

    name: str
    role: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    current: bool


@dataclass(frozen=True, slots=True)
class TokenList:
    """Valid tokens first, then revoked ones, each from old to new."""

    items: list[TokenRow]


@dataclass(frozen=True, slots=True, config=STRICT)
class TokenNew:
    """`role`: operator may also change things."""

    name: Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
    role: Literal["read", "operator"] = "read"


@dataclass(frozen=True, slots=True)
class TokenCreated:
    """`token`: it is shown only now. `note`: what this changes."""

    name: str
    role: str
    token: str
    note: str


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """`revoked`: the token's name. It is refused within a second."""

    revoked: str


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("tokens", __name__)

    @routes.get("/api/tokens")
    @validate_response(TokenList)
    async def tokens() -> TokenList:
        """The tokens: names, roles, and when each was created, used and revoked. For operators."""
        principal: Principal = g.principal
        if principal.role is not Role.OPERATOR:
            raise ProblemRaised(403, f"the token {principal.name!r} may only read: this needs one with --role operator")
        rows = await context().database.work(token_store.list_tokens)
        return TokenList(
            [
                TokenRow(
                    one.name,
                    one.role,
                    one.created_at,
                    one.last_used_at,
                    one.revoked_at,
                    current=one.revoked_at is None and one.name == principal.name,
                )
                for one in rows
            ]
        )

    @routes.post("/api/tokens")
    @validate_request(TokenNew)
    @validate_response(TokenCreated, 201)
    async def create_token(data: TokenNew) -> tuple[TokenCreated, int]:
        """Create a token; 409 if a valid token has its name."""
        token = token_store.new_token(data.name)
        if not await context().database.work(token_store.create_token, data.name, data.role, hash_of(token)):
            raise ProblemRaised(409, token_store.in_force(data.name), field="name")
        note_change(data.name, role=data.role)
        note = f"keep this token: it is not shown again. The control face now needs a token ({data.role}: {data.name})"
        return TokenCreated(data.name, data.role, token, note), 201

    @routes.delete("/api/tokens/<path:name>")
    @validate_response(TokenRevoked)
    async def revoke_token(name: str) -> TokenRevoked:
        """Revoke a token. Requests with it are refused within a second."""
        if "\0" in name or not await context().database.work(token_store.revoke_token, name):
            raise ProblemRaised(404, token_store.not_in_force(name[:100]))
        note_change(name)
        return TokenRevoked(name)

    return routes
