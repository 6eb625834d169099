"""Cursors of lists: where a page ended, as text that a client hands back. Pure.

A cursor names the last row that was seen, by its sort key and its id, so that a page costs the same wherever it stands
and none is skipped or doubled while rows come and go.
"""

import base64
import json
from dataclasses import dataclass

from daemon.errors import BadInput


@dataclass(frozen=True, slots=True)
class Position:
    """`key`: the sort key's text, as PostgreSQL writes it; `id` breaks ties."""

    sort: str
    key: str
    id: str


def cursor_of(position: Position) -> str:
    text = json.dumps([position.sort, position.key, position.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_at(cursor: str, sort: str) -> Position:
    """Raises BadInput for what no list with this sort gave."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(found, list):
            raise ValueError("no list")
        given_sort, key, row_id = found
        if "\0" in given_sort + key + row_id:
            raise ValueError("NUL")
    except (ValueError, TypeError, RecursionError):
        raise BadInput("cursor: not one that this list gave; leave it out to begin at the first page") from None
    if given_sort != sort:
        raise BadInput(f"cursor: it belongs to sort={given_sort[:40]}; leave it out where the order changes")
    return Position(given_sort, key, row_id)
