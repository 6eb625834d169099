"""Units of work on the rows of control_tokens. A trigger notifies a running daemon of each change."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from daemon.database.postgres import Connection
from daemon.errors import BadInput

TOKEN_BYTES = 32
NAME_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A row as `tracepool token list` shows it, without the hash."""

    name: str
    role: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def new_token(name: str) -> str:
    """A token that is not stored yet. Raises BadInput if the name is none."""
    if not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()):
        raise BadInput(f"the name must have 1 to {NAME_CHARACTERS_MAX} printable characters", field="name")
    return f"tp_{secrets.token_urlsafe(TOKEN_BYTES)}"


def in_force(name: str) -> str:
    """Why no token of this name can be created."""
    return f"a token {name} is in force: choose another name, or revoke it first"


def not_in_force(name: str) -> str:
    """Why no token of this name can be revoked."""
    return f"no token {name} is in force: tracepool token list shows them"


async def create_token(conn: Connection, name: str, role: str, token_hash: bytes) -> bool:
    """False if a valid token has that name already."""
    statement = (
        "insert into control_tokens (name, role, hash) values ($1, $2, $3)"
        " on conflict (name) where revoked_at is null do nothing returning true"
    )
    return bool(await conn.fetchval(statement, name, role, token_hash))


async def list_tokens(conn: Connection) -> list[ListedToken]:
    """Valid tokens first, then revoked ones, each from old to new."""
    columns = ", ".join(ListedToken.__slots__)
    order = "order by revoked_at is not null, created_at, name"
    return [ListedToken(*row) for row in await conn.fetch(f"select {columns} from control_tokens {order}")]  # noqa: S608


async def revoke_token(conn: Connection, name: str) -> bool:
    """False if no valid token has that name."""
    statement = "update control_tokens set revoked_at = now() where name = $1 and revoked_at is null returning true"
    return bool(await conn.fetchval(statement, name))


async def note_use(conn: Connection, used: Mapping[bytes, float]) -> None:
    """Records when tokens were last used: hash → seconds since 1970."""
    await conn.execute(
        "update control_tokens t set last_used_at = to_timestamp(u.at)"
        " from unnest($1::bytea[], $2::float8[]) as u(hash, at) where t.hash = u.hash",
        list(used),
        list(used.values()),
    )
