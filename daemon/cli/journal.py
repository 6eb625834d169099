"""`tracepool journal refused`: the entries that PostgreSQL refused, from the running daemon, or else from its spool."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.output import say, say_rows_json, say_table
from daemon.cli.session import AsJSON, ConfigFile, flag, settings_of
from daemon.control.socket import ask
from daemon.errors import BadInput, TheirFault
from daemon.journal import refused
from daemon.journal.refused import Connection, RefusedEntry
from daemon.journal.spool import FILE
from daemon.settings.model import Settings

COLUMNS = ("id", "kind", "since", "sqlstate", "constraint", "reason")
CHANGE_S = 60.0

Id = Annotated[int, Parameter(metavar="ID")]


def list_refused(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """List the entries of the journal that PostgreSQL refused.

    An entry is a row that the daemon wants to write: a hit, a trace's state, an
    IP's state. PostgreSQL refuses an entry for its values: a constraint, a trigger,
    a column's type. The daemon keeps such an entry, and writes the others.

    --json also has each entry's values ("body").

        tracepool journal refused list
        tracepool journal refused list --json
    """
    entries = [RefusedEntry(**entry) for entry in _do(settings_of(config), "refused_list", _listed)["entries"]]
    if as_json:
        say_rows_json(entries)
        return
    if not entries:
        say("PostgreSQL has refused nothing")
        return
    say_table(COLUMNS, [_row(entry) for entry in entries], right=("id",))


def retry(*ids: Id, config: ConfigFile = None) -> None:
    """Send refused entries to PostgreSQL again, after what refused them is changed.

    Without an ID: all of them. The entries of one trace go together. An entry that
    PostgreSQL refuses again is kept again, with a new id.

        tracepool journal refused retry
        tracepool journal refused retry 1204 1207
    """
    sent = _change(settings_of(config), "refused_retry", ids, refused.send_again)
    say(f"sent again: {_entries(sent)}; tracepool journal refused list shows what is refused again")


def drop(*ids: Id, yes: Annotated[bool, flag("Do not ask.")] = False, config: ConfigFile = None) -> None:
    """Drop refused entries for good: their rows will never be in PostgreSQL.

    Without an ID: all of them. The entries of one trace go together.

        tracepool journal refused drop 1204
        tracepool journal refused drop --yes
    """
    settings = settings_of(config)
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("this needs a confirmation, and there is no terminal: add --yes")
        which = ", ".join(map(str, ids)) or f"all {len(_do(settings, 'refused_list', _listed)['entries'])}"
        if input(f"Drop refused entries for good ({which})? [y/N] ").strip().lower() not in ("y", "yes"):
            raise BadInput("nothing was dropped")
    say(f"dropped: {_entries(_change(settings, 'refused_drop', ids, refused.drop))}")


def _change(settings: Settings, command: str, ids: tuple[int, ...], use: Callable[[Connection, list[int]], int]) -> int:
    chosen = list(ids)
    done = _do(settings, command, lambda connection: {"entries": use(connection, chosen)}, ids=chosen)
    if ids and not done["entries"]:
        raise BadInput("no refused entry has such an id: tracepool journal refused list shows all")
    return int(done["entries"])


def _do(
    settings: Settings, command: str, use: Callable[[Connection], dict[str, Any]], **arguments: Any
) -> dict[str, Any]:
    """Ask the running daemon, or do it on the spool's file."""
    answer = ask(settings.state_dir, command, CHANGE_S, arguments)
    if answer is not None:
        return answer
    path = settings.state_dir / FILE
    if not path.exists():
        raise BadInput(f"{path} does not exist: no daemon has run with this state_dir")
    try:
        with refused.opened(path) as connection:
            return use(connection)
    except refused.DiskError as e:
        raise TheirFault(f"{path}: {e}") from e


def _listed(connection: Connection) -> dict[str, Any]:
    return {"entries": [asdict(entry) for entry in refused.listed(connection)]}


def _row(entry: RefusedEntry) -> tuple[object, ...]:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.since))
    return entry.id, entry.kind, since, entry.sqlstate, entry.constraint, entry.why


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
