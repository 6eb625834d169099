"""`tracepool actions`: who changed what, and when."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.output import say_rows_json, say_table
from daemon.cli.report import From, To
from daemon.cli.session import AsJSON, ConfigFile, settings_of, work
from daemon.control.actions import ACTIONS, read_action
from daemon.control.listings import PageQuery, read_page
from daemon.control.report_groups import window_of_texts
from daemon.errors import BadInput
from daemon.logbook.filter import since_of

ROWS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class LoggedAction:
    """A row as `--json` shows it. `node`: the node that answered the request; null for a command."""

    id: int
    at: datetime
    who: str
    what: str
    subject: str
    detail: dict[str, Any]
    node: str | None


def actions(
    *,
    who: Annotated[str | None, Parameter(metavar="W", help="Only these: a token's name, or cli:USER.")] = None,
    what: Annotated[str | None, Parameter(metavar="W", help='Only these changes, such as "change offer".')] = None,
    subject: Annotated[str | None, Parameter(metavar="X", help="Only of this offer, IP, node or token.")] = None,
    since: From = None,
    until: To = None,
    limit: Annotated[int, Parameter(metavar="N", help="The newest N at most.")] = 100,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Show the action log: each change by the API, the dashboard or a command.

    The newest comes first. "who" is a token's name, "settings" for control.token,
    "open" for a request while no token is required, and cli:USER for a command.
    "subject" is the name of what changed, and "detail" has counts; of a changed
    offer, each value before and after. Passwords and tokens are never in it. What
    is changed by SQL, as in tracepool psql, is not in the log.

        tracepool actions
        tracepool actions --what "change offer" --subject summer-sale
        tracepool actions --who anna --from 7d --json
    """
    if not 1 <= limit <= ROWS_MAX:
        raise BadInput(f"--limit must be 1 to {ROWS_MAX}, not {limit}")
    window = window_of_texts(since, until, datetime.now(UTC), since_of)
    named = {
        "who": who,
        "what": what,
        "subject": subject,
        "since": since and window.since,
        "until": until and window.until,
    }
    rows, _ = work(settings_of(config), read_page, ACTIONS, PageQuery("-at", limit, None, named))
    found = [LoggedAction(**{name: read_action(row)[name] for name in LoggedAction.__slots__}) for row in rows]
    if as_json:
        say_rows_json(found)
        return
    say_table(
        ("at", "who", "what", "subject", "detail"),
        [(one.at, one.who, one.what, one.subject, json.dumps(one.detail, ensure_ascii=False)) for one in found],
    )
