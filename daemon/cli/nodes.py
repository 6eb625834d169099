"""`tracepool nodes`: the daemons of this database, and the removal of one that will not return."""

import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.output import say, say_rows_json, say_table
from daemon.cli.session import AsJSON, ConfigFile, flag, settings_of, with_database
from daemon.errors import BadInput
from daemon.nodes.membership import node_row
from daemon.settings.model import Settings

COLUMNS = ("name", "state", "free in", "version", "started", "node")


@dataclass(frozen=True, slots=True)
class ListedNode:
    """A row of `nodes` as it is reported. `free_in_s`: seconds until another node can use its IPs."""

    name: str
    state: str
    trusted_for_s: float
    free_in_s: float
    quiet_s: float
    version: str
    started_at: str
    node_id: str


Name = Annotated[str, Parameter(metavar="NAME")]


def list_nodes(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """List the daemons that have worked with this database.

    An active daemon renews its trust each second. "free in" is how long another
    daemon waits before it takes over, if this one does not renew again: the rest of
    its trust (node.trust_s) and its quiet time, in which its last traces end and
    their IPs rest.

        tracepool nodes list
        tracepool nodes list --json
    """
    rows = _read(settings_of(config))
    if as_json:
        say_rows_json(rows)
        return
    table = [(row.name, row.state, f"{row.free_in_s:.0f} s", row.version, row.started_at, row.node_id) for row in rows]
    say_table(COLUMNS, table, right=("free in",))


def remove(name: Name, *, yes: Annotated[bool, flag("Do not ask.")] = False, config: ConfigFile = None) -> None:
    """End a daemon's trust, so that another daemon need not wait for it to run out.

    For a machine that will not return. Another daemon still waits for the quiet
    time. A daemon that runs and reaches PostgreSQL stops leasing within seconds.
    But a daemon that runs without reaching PostgreSQL goes on leasing: two daemons
    would use the same IPs.

    NAME is the daemon's name, or the beginning of its node id if two have one name.

        tracepool nodes remove tracer-1
        tracepool nodes remove tracer-1 --yes
    """
    settings = settings_of(config)
    row = _chosen(_read(settings), name)
    if row.state != "active":
        raise BadInput(f"node {row.name} is not active but {row.state}: there is nothing to remove")
    if not yes:
        _ask(row)
    with_database(settings, lambda database: database.fetch("remove_node", row.node_id))
    say(f"removed {row.name}: another node can use its IPs in {row.quiet_s:.0f} s")


def _chosen(rows: list[ListedNode], name: str) -> ListedNode:
    found = [row for row in rows if row.name == name] or [row for row in rows if row.node_id.startswith(name)]
    found = [row for row in found if row.state == "active"] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(f"there is no node {name}: tracepool nodes list shows all")
    ids = ", ".join(row.node_id for row in found)
    raise BadInput(f"{len(found)} nodes are called {name}: give the beginning of a node id: {ids}")


def _ask(row: ListedNode) -> None:
    if not sys.stdin.isatty():
        raise BadInput("this needs a confirmation, and there is no terminal: add --yes")
    say(f"{row.name} ({row.node_id}) may lease for {row.trusted_for_s:.0f} s more without PostgreSQL.")
    if input("Are you certain that its daemon no longer runs? [y/N] ").strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was removed")


def _read(settings: Settings) -> list[ListedNode]:
    return [_listed(row) for row in with_database(settings, lambda database: database.fetch("load_nodes"))]


def _listed(row: Any) -> ListedNode:
    known, now_s = node_row(row), row["now_s"]
    return ListedNode(
        name=known.name,
        state=known.state,
        trusted_for_s=round(max(0.0, known.trusted_until_s - now_s), 1),
        free_in_s=round(max(0.0, known.free_at_s - now_s), 1),
        quiet_s=known.quiet_s,
        version=row["version"],
        started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["started_s"])),
        node_id=str(known.node_id),
    )
