"""`tracepool nodes`: the nodes of this database; drain one for maintenance, remove one that will not return."""

import sys
from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from daemon.cli.output import say, say_rows_json, say_table
from daemon.cli.session import AsJSON, ConfigFile, change, flag, settings_of, with_database
from daemon.control.actions import Action
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import BadInput
from daemon.nodes.cluster import Counted, counted, known
from daemon.nodes.listing import NodeEntry, chosen, entries_of, refused_removal, refused_undrain
from daemon.nodes.peers import Peers, peer_of
from daemon.settings.model import Settings

COLUMNS = ("name", "state", "IPs by country", "clicks/s", "wait p95", "to ship", "seen", "free in", "version", "node")
RIGHT = ("clicks/s", "wait p95", "to ship", "seen", "free in")
NOBODY = UUID(int=0)  # a command is no node
COUNTRIES_SHOWN = 6
ID_SHOWN = 8
FORGOTTEN_S = 86_400.0
RUNS_S = 60.0  # a node that has not renewed for so long does not run, or cannot reach PostgreSQL

Name = Annotated[str, Parameter(metavar="NAME")]


def list_nodes(
    *,
    as_json: AsJSON = False,
    all_nodes: Annotated[bool, flag("Also those that ended over a day ago, as with --json.", "--all")] = False,
    config: ConfigFile = None,
) -> None:
    """List the nodes: the daemons that share this database.

    Each node leases the IPs that it owns: "IPs by country" is its share, owned/all.
    Clicks and waits are those of the last minute. "to ship" counts the journal's
    entries that PostgreSQL does not have yet. An active node renews its row each
    second; "seen" is how long ago it did, and "not seen" means over 5 s. "free in"
    is how long its IPs stay its own if it does not renew again: the rest of its
    trust (node.trust_s) and its quiet time, in which its last traces end and their
    IPs rest.

        tracepool nodes
        tracepool nodes --json
    """
    entries = read_nodes(settings_of(config))
    if as_json:
        say_rows_json(entries)
        return
    shown = [entry for entry in entries if all_nodes or entry.state == "active" or entry.seen_s_ago < FORGOTTEN_S]
    all_ips = ips_by_country(shown)
    say_table(COLUMNS, [_row(entry, all_ips) for entry in shown], right=RIGHT)
    if hidden := len(entries) - len(shown):
        say(f"and {hidden} that ended over a day ago: tracepool nodes --all")


def remove(name: Name, *, yes: Annotated[bool, flag("Do not ask.")] = False, config: ConfigFile = None) -> None:
    """End a node's trust: other nodes use its IPs after its quiet time.

    For a machine that will not return. A node that runs and reaches PostgreSQL stops
    leasing within seconds, and joins anew. But a node that runs without reaching
    PostgreSQL goes on leasing: two nodes would use the same IPs.

    NAME is the node's name, or the beginning of its id if two have one name.

        tracepool nodes remove tracer-1
        tracepool nodes remove tracer-1 --yes
    """
    settings = settings_of(config)
    entry = chosen(read_nodes(settings), name)
    if why := refused_removal(entry):
        raise BadInput(why)
    if not yes:
        _ask(entry)
    _change(settings, "remove node", entry, "remove_node", entry.node_id)
    say(f"removed {entry.name}: other nodes can use its IPs in {entry.quiet_s:.0f} s")


def drain(name: Name, *, config: ConfigFile = None) -> None:
    """Let a node give its IPs away, before it is stopped for maintenance.

    Its IPs go to the other nodes as their leases and rests end. The node leases
    none: its clicks fall back, so send visitors to other nodes first. It stays
    drained, even if it is started again, until: tracepool nodes undrain NAME.
    A node that is not active, such as one that is starting, is drained from its
    start on.

        tracepool nodes drain tracer-1
        tracepool nodes
        tracepool nodes undrain tracer-1
    """
    entry = _set_draining(settings_of(config), name, draining=True)
    count = sum(entry.ips.values())
    if entry.state != "active":
        say(f"{entry.name} is not active but {entry.state}: once it runs, it takes no IPs and its clicks fall back")
    else:
        say(f"{entry.name} gives its {count} IPs away and leases none: its clicks fall back")
    say(f"    watch it: tracepool nodes    end it: tracepool nodes undrain {entry.name}")


def undrain(name: Name, *, config: ConfigFile = None) -> None:
    """Let a drained node have IPs again.

    tracepool nodes undrain tracer-1
    """
    entry = _set_draining(settings_of(config), name, draining=False)
    say(f"{entry.name} gets its share of the IPs {'again' if entry.state == 'active' else 'once it runs'}")


def _set_draining(settings: Settings, name: str, *, draining: bool) -> NodeEntry:
    entry = chosen(read_nodes(settings), name)
    if not draining and (why := refused_undrain(entry)):
        raise BadInput(why)
    _change(settings, "drain node" if draining else "undrain node", entry, "set_draining", entry.node_id, draining)
    return entry


def _change(settings: Settings, what: str, entry: NodeEntry, query: str, *args: object) -> None:
    async def unit(conn: Connection) -> None:
        await conn.execute(QUERIES[query], *args)

    change(settings, lambda _: Action(what, entry.name, {"node_id": entry.node_id}), unit)


def read_nodes(settings: Settings) -> list[NodeEntry]:
    """The nodes as their rows have them, those with leases first. Raises DatabaseUnavailable."""

    async def read(database: Database) -> list[NodeEntry]:
        return await nodes_in(database)

    return with_database(settings, read)


async def nodes_in(database: Database) -> list[NodeEntry]:
    peers = peers_from(await database.fetch("load_nodes"))
    return sorted(entries_of(known(peers, None, 0.0)), key=lambda entry: (entry.state != "active", entry.name))


def peers_from(rows: Iterable[object]) -> Peers:
    found = [peer_of(row) for row in rows]  # type: ignore[arg-type]
    return Peers(NOBODY, 0.0, {peer.node_id: peer for peer in found})


def nodes_that_run(rows: Iterable[object]) -> tuple[Counted, ...]:
    """From rows of load_nodes: the nodes whose figures count, none if no node has renewed within RUNS_S."""
    nodes = counted(peers_from(rows), None, 0.0)
    return nodes if any(one.peer.leases and one.age_s < RUNS_S for one in nodes) else ()


def names_that_run(settings: Settings) -> list[str]:
    """The nodes that run, for a command for which no daemon runs here. Raises DatabaseUnavailable."""
    rows = with_database(settings, lambda database: database.fetch("load_nodes"))
    return [one.peer.name for one in nodes_that_run(rows) if one.peer.leases and one.age_s < RUNS_S]


def ips_by_country(entries: Iterable[NodeEntry]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in entries:
        for country, count in entry.ips.items():
            sums[country] = sums.get(country, 0) + count
    return sums


def _row(entry: NodeEntry, all_ips: dict[str, int]) -> tuple[object, ...]:
    return (
        entry.name,
        entry.shown_state + (", drained" if entry.draining and entry.state != "active" else ""),
        _share(entry.ips, all_ips),
        entry.clicks_per_s,
        None if entry.wait_p95_ms is None else f"{entry.wait_p95_ms:.0f} ms",
        entry.backlog,
        f"{_time(entry.seen_s_ago)} ago",
        "never" if entry.free_in_s is None else _time(entry.free_in_s),
        entry.version,
        entry.node_id[:ID_SHOWN],
    )


def _share(ips: dict[str, int], all_ips: dict[str, int]) -> str:
    largest = sorted(ips, key=lambda country: (-ips[country], country))
    shown = [f"{country} {ips[country]}/{all_ips[country]}" for country in largest[:COUNTRIES_SHOWN]]
    if more := largest[COUNTRIES_SHOWN:]:
        shown.append(f"{sum(ips[country] for country in more)} in {len(more)} more")
    return ", ".join(shown) or "none"


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _ask(entry: NodeEntry) -> None:
    if not sys.stdin.isatty():
        raise BadInput("this needs a confirmation, and there is no terminal: add --yes")
    trusted = "without end" if entry.trusted_for_s is None else f"for {entry.trusted_for_s:.0f} s more"
    say(f"{entry.name} ({entry.node_id}) may lease {trusted} without PostgreSQL.")
    if input("Are you certain that its daemon no longer runs? [y/N] ").strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was removed")
