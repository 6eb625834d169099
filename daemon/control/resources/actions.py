"""/api/actions: the action log."""

from datetime import datetime
from typing import Any, Literal

from pydantic.dataclasses import dataclass
from quart import Blueprint

from daemon.control.actions import ACTIONS, read_action
from daemon.control.api import Cursor, GetContext, Limit, Time, Word, add_list, from_row


@dataclass(frozen=True, slots=True)
class ActionsQuery:
    """`what`: such as `change offer`. `subject`: the name of an offer, an IP, a node or a token.

    Times: RFC 3339 with a zone.
    """

    who: Word | None = None
    what: Word | None = None
    subject: Word | None = None
    since: Time | None = None
    until: Time | None = None
    sort: Literal["-at", "at"] = "-at"
    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class ActionRow:
    """A change, by a request or a command.

    `who`: a token's name; `settings`: the token control.token; `open`: no token is required; `cli:USER`: a command.
    `what`: the change in words. `subject`: the name of what changed; empty if several did. `detail`: figures; of a
    changed offer, each value before and after. `node`: the name of the node that answered; null for a command.
    """

    id: int
    at: datetime
    who: str
    what: str
    subject: str
    detail: dict[str, Any]
    node: str | None


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("actions", __name__)
    summary = "The action log: each change by a request or a command, the newest first."
    add_list(routes, context, "list_actions", "/api/actions", ACTIONS, ActionsQuery, ActionRow, _shown, summary=summary)
    return routes


def _shown(row: dict[str, Any]) -> ActionRow:
    return from_row(ActionRow, read_action(row))
