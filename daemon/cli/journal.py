"""`tracepool journal refused`: the entries that PostgreSQL refused, from the running daemon, or else from its spool.

Each of several processes has a spool of its own, in its directory: all are asked.
"""

import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.output import say, say_rows_json, say_table
from daemon.cli.session import AsJSON, ConfigFile, flag, note_action, settings_of
from daemon.control.actions import Action
from daemon.control.socket import ask_process
from daemon.errors import BadInput, TheirFault
from daemon.host.state_dir import directories_of
from daemon.journal import refused
from daemon.journal.refused import Connection, RefusedEntry
from daemon.journal.spool import FILE
from daemon.settings.model import Settings

COLUMNS = ("id", "kind", "since", "sqlstate", "constraint", "reason")
CHANGE_S = 60.0

Id = Annotated[str, Parameter(metavar="ID")]
_ID = re.compile(r"(?:(?P<process>[1-9][0-9]{0,3})-)?(?P<seq>[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """A RefusedEntry as it is reported. `id`: of a further process with its number, as in 2-1204."""

    id: int | str
    kind: str
    since: float
    sqlstate: str
    why: str
    constraint: str
    table: str
    body: str


def list_refused(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """List the entries of the journal that PostgreSQL refused.

    An entry is a row that the daemon wants to write: a hit, a trace's state, an
    IP's state. PostgreSQL refuses an entry for its values: a constraint, a trigger,
    a column's type. The daemon keeps such an entry, and writes the others.

    --json also has each entry's values ("body"). With several processes the id of an
    entry begins with the process that has it, as in 2-1204.

        tracepool journal refused list
        tracepool journal refused list --json
    """
    entries = _all(settings_of(config))
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
        which = ", ".join(map(str, ids)) or f"all {len(_all(settings))}"
        if input(f"Drop refused entries for good ({which})? [y/N] ").strip().lower() not in ("y", "yes"):
            raise BadInput("nothing was dropped")
    say(f"dropped: {_entries(_change(settings, 'refused_drop', ids, refused.drop))}")


def _all(settings: Settings) -> list[ListedEntry]:
    found = []
    for number, directory in _spools(settings):
        for values in _do(directory, "refused_list", _listed)["entries"]:
            seq, *others = astuple(RefusedEntry(**values))
            found.append(ListedEntry(seq if number == 1 else f"{number}-{seq}", *others))
    return found


def _change(settings: Settings, command: str, ids: tuple[str, ...], use: Callable[[Connection, list[int]], int]) -> int:
    chosen: dict[int, list[int]] = defaultdict(list)
    for text in ids:
        if (found := _ID.fullmatch(text)) is None:
            raise BadInput(f"{text!r} is not an id such as 1204 or 2-1204: tracepool journal refused list shows all")
        chosen[int(found["process"] or 1)].append(int(found["seq"]))
    changed = 0
    for number, directory in _spools(settings):
        if ids and number not in chosen:
            continue
        change = partial(_changed, use=use, ids=chosen[number])
        changed += int(_do(directory, command, change, ids=chosen[number])["entries"])
    if changed:
        verb = "retry" if command == "refused_retry" else "drop"
        note_action(settings, Action(f"{verb} refused entries", " ".join(ids), {"entries": changed}))
    if ids and not changed:
        raise BadInput("no refused entry has such an id: tracepool journal refused list shows all")
    return changed


def _spools(settings: Settings) -> list[tuple[int, Path]]:
    """The directories with a spool, by the number of the process; without any, that of the first."""
    first, *others = directories_of(settings.state_dir)
    found = [(int(directory.name), directory) for directory in others if (directory / FILE).exists()]
    return [(1, first), *found] if (first / FILE).exists() or not found else found


def _do(directory: Path, command: str, use: Callable[[Connection], dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Ask the running process, or do it on the spool's file."""
    answer = ask_process(directory, command, CHANGE_S, arguments)
    if answer is not None:
        return answer
    path = directory / FILE
    if not path.exists():
        raise BadInput(f"{path} does not exist: no daemon has run with this state_dir")
    try:
        with refused.opened(path) as connection:
            return use(connection)
    except refused.DiskError as e:
        raise TheirFault(f"{path}: {e}") from e


def _changed(connection: Connection, *, use: Callable[[Connection, list[int]], int], ids: list[int]) -> dict[str, Any]:
    return {"entries": use(connection, ids)}


def _listed(connection: Connection) -> dict[str, Any]:
    return {"entries": [asdict(entry) for entry in refused.listed(connection)]}


def _row(entry: ListedEntry) -> tuple[object, ...]:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.since))
    return entry.id, entry.kind, since, entry.sqlstate, entry.constraint, entry.why


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
