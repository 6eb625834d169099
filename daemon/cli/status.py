"""`tracepool status` and `tracepool maintenance`: from the running daemon, or else from the tables."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import starmap
from typing import Annotated, Any

from msgspec import convert
from rich.console import Console, Group, RenderableType
from rich.live import Live

from daemon.cli.nodes import nodes_that_run
from daemon.cli.output import say, say_json, say_table, table, text, warn
from daemon.cli.session import (
    AsJSON,
    ConfigFile,
    database_at,
    flag,
    note_action,
    settings_of,
    use_database,
    with_database,
)
from daemon.cli.status_disk import disk_lines
from daemon.cli.status_nodes import background_of, cluster_lines, own_lines, waiting_lines
from daemon.control.actions import Action
from daemon.control.socket import ask
from daemon.control.status import TableStatus, country_statuses, read_status
from daemon.database.postgres import Connection, Database
from daemon.database.queries import QUERIES
from daemon.errors import TheirFault
from daemon.formats import dollars, size_in_words
from daemon.journal.copies import node_id_of
from daemon.journal.spool import FILE
from daemon.maintenance.advisor import AdviceByTables, advice_by_tables
from daemon.maintenance.first_run import FirstRun
from daemon.maintenance.node_report import counts_of
from daemon.maintenance.rounds import Report, run_once
from daemon.maintenance.tally import together
from daemon.nodes.cluster import Counted, cluster_of
from daemon.nodes.listing import entries_of
from daemon.settings.model import Settings

REFRESH_S = 1.0
ROUND_S = 120.0
NOT_RUNNING = "the daemon is not running: these figures are from the tables"
Read = Callable[[], dict[str, Any]]
COLUMNS = ("country", "total", "available", "locked", "cooldown", "failed", "in use", "waiting")


def status(
    *,
    as_json: AsJSON = False,
    watch: Annotated[bool, flag("Refresh each second, until Ctrl-C.")] = False,
    config: ConfigFile = None,
) -> None:
    """Show pools, traces, the last minute's clicks, and advice on what to do.

    "in use" is (locked + cooldown) / healthy. p50 and p95 are percentiles of the
    time that a click waits. The figures are those of all nodes together, whichever
    node is asked; the last lines are those of the daemon that runs here. If none
    runs here, the figures are those that other nodes wrote to their rows, or else
    come from the tables, where an IP may still be marked as locked although its
    lock has expired.

    Bytes are those of today's traces (UTC), as the proxies count them, with their
    cost in US dollars by each provider's price_per_gb.

    "disk" has the sizes of the tables and of the spool, the free space, and how
    many days it lasts at the growth of the last day.

    --json: countries, active_traces, last_minute, traffic_today by provider, disk,
    advice, first_run (the first steps of a new installation, or null),
    traces_waiting (why those of tracepool trace wait), nodes and, from a daemon
    that runs here, its queues with their limits, its journal and its own part of
    the figures in "node"; "daemon" is "running", "elsewhere" (only other nodes
    run) or null.

        tracepool status
        tracepool status --watch
        tracepool status --json | jq .countries.us.available
    """
    settings = settings_of(config)
    with ExitStack() as held:
        # An embedded server that is started for this stays up until the command ends.
        read = partial(_read, settings, cache(lambda: held.enter_context(database_at(settings))))
        if watch:
            _watch(read, as_json)
        elif as_json:
            say_json(read())
        else:
            _say(read())


def _read(settings: Settings, url_of_database: Callable[[], str]) -> dict[str, Any]:
    """The figures of the running daemon, or else of the tables."""
    answer = ask(settings.state_dir, "status")
    if answer is not None:
        return {**answer, "daemon": "running"}

    async def read(conn: Connection) -> dict[str, Any]:
        nodes = nodes_that_run(await conn.fetch(QUERIES["load_nodes"]))
        found, told = await _read_tables(conn, settings, nodes)
        countries = {
            country: asdict(status)
            for country, status in country_statuses(found.countries, told.out, told.offers).items()
        }
        steps = None if told.first_run is None else asdict(told.first_run)
        advice = [*map(asdict, told.advice)]
        answer = {**asdict(found), "countries": countries, "advice": advice, "first_run": steps, "daemon": None}
        if nodes:
            return {**answer, "nodes": [*map(asdict, entries_of(nodes))], "daemon": "elsewhere"}
        for counts in countries.values():
            del counts["waiting"]
        return answer

    return use_database(url_of_database(), settings, lambda database: database.work(read))


async def _read_tables(
    conn: Connection, settings: Settings, nodes: tuple[Counted, ...] = ()
) -> tuple[TableStatus, AdviceByTables]:
    """A unit of work, for when no daemon runs here. `nodes`: those that run elsewhere."""
    found = await read_status(conn, settings)
    if nodes:
        cluster = cluster_of(nodes)
        countries, minute = counts_of(cluster.countries), together(cluster.clicks).rounded()
        found = replace(found, countries=countries, active_traces=cluster.active_traces, last_minute=minute)
    return found, await advice_by_tables(conn, found.countries, found.last_minute, found.disk, settings, time.time())


def _watch(read: Read, as_json: bool) -> None:
    """Repeat until Ctrl-C: redraw a terminal; else write one line of JSON or one block of text each second."""
    if as_json or not sys.stdout.isatty():
        while True:
            _say_again(read, as_json)
            sys.stdout.flush()
            time.sleep(REFRESH_S)
    with Live(console=Console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(_picture(read), refresh=True)
            time.sleep(REFRESH_S)


def _say_again(read: Read, as_json: bool) -> None:
    try:
        found = read()
    except TheirFault as e:  # the daemon is stopping or the database is away: keep watching until it returns
        warn(f"tracepool: {e}")
        return
    if as_json:
        say_json(found, indent=None)
    else:
        _say(found)
        say("")


def _picture(read: Read) -> RenderableType:
    end = f"{time.strftime('%H:%M:%S')}, Ctrl-C ends this"
    try:
        found = read()
    except TheirFault as e:
        return text(str(e), "", end)
    return Group(table(COLUMNS, _rows(found), right=COLUMNS[1:]), text(*_lines(found), "", end))


def _say(found: dict[str, Any]) -> None:
    say_table(COLUMNS, _rows(found), right=COLUMNS[1:])
    for line in _lines(found):
        say(line)


def _rows(found: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            country,
            *(counts[name] for name in COLUMNS[1:6]),
            f"{counts['utilisation_percent']:g}%",
            counts.get("waiting"),
        )
        for country, counts in found["countries"].items()
    ]


def _lines(found: dict[str, Any]) -> list[str]:
    clicks = found["last_minute"]
    background = background_of(clicks)
    fallbacks = ", ".join(f"{reason} {count}" for reason, count in clicks["fallbacks"].items()) or "none"
    lines = [
        f"active traces: {found['active_traces']}",
        f"last minute: {clicks['clicks']} clicks, {clicks['resolved']} resolved; fallbacks: {fallbacks}{background}",
        f"wait: p50 {_ms(clicks['wait_p50_ms'])}, p95 {_ms(clicks['wait_p95_ms'])}",
    ]
    if clicks.get("repeats") or clicks.get("previews"):
        lines.append(
            f"beside them, without an IP: repeats of a click {clicks['repeats']}, previews of a link "
            f"{clicks['previews']}"
        )
    if found["traffic_today"]:
        lines.append("today (UTC): " + "; ".join(starmap(_traffic, found["traffic_today"].items())))
    lines += waiting_lines(found.get("traces_waiting", ()))
    if found.get("first_run"):
        lines += convert(found["first_run"], FirstRun).lines()
    for advice in found["advice"]:
        lines.append(f"{advice['severity']}: {advice['sentence']}")
        lines.append(f"    next: {advice['command']}    (rule: {advice['rule']})")
    lines += [*disk_lines(found), *cluster_lines(found)]
    if found["daemon"] != "running":
        told = "no daemon runs here: these figures are from the nodes' rows" if found["daemon"] else NOT_RUNNING
        return [*lines, told]
    journal, full = found["journal"], _full(found["queues"])
    lines.append(
        f"daemon: version {found['version']}, up {found['uptime_s']:.0f} s; PostgreSQL "
        f"{'reachable' if journal['database_reachable'] else 'NOT reachable'}; journal: "
        f"{'?' if journal['backlog'] is None else journal['backlog']} to ship, "
        f"{journal['dropped']} dropped, {journal.get('refused', 0)} refused"
    )
    if why := journal.get("spool_remade_why"):
        lines.append(f"the journal's spool was made anew {journal['spool_remade']} times, the last time because {why}")
    if "node" in found:  # a daemon of an earlier version does not report its node
        lines += own_lines(found["node"], several=len(found.get("nodes", ())) > 1)
    return lines + full


def _full(queues: dict[str, dict[str, int]]) -> list[str]:
    """The queues that are at least half full."""
    return [
        f"filling up: {name} {queue['length']} of {queue['max']}"
        for name, queue in queues.items()
        if queue["length"] * 2 >= queue["max"] > 0
    ]


def _traffic(provider: str, spent: dict[str, Any]) -> str:
    """Bytes in decimal units, as providers sell them, and their cost if the provider has a price."""
    size = size_in_words(spent["bytes_received"] + spent["bytes_sent"])
    money = f", {dollars(spent['cost'])}" if spent["cost"] else ""
    traces = "1 trace" if spent["traces"] == 1 else f"{spent['traces']} traces"
    return f"{provider} {size} in {traces}{money}"


def _ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:g} ms"


def maintenance(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """Do a maintenance round now, and print its report.

    A round ends locks and traces that are overdue, records a row of
    ip_pool_statistics, lists unhealthy IPs, removes rows older than
    retention.hits_days, traces_days and statistics_days, and gives advice. A
    running daemon does a round every minute, and does this one. Without a daemon,
    the command does it on the tables.

        tracepool maintenance
        tracepool maintenance --json
    """
    settings = settings_of(config)
    answer = ask(settings.state_dir, "maintenance", timeout_s=ROUND_S)
    report = _round_without_daemon(settings) if answer is None else convert(answer, Report)
    done = {"timed_out_traces": report.timed_out_traces, "removed_traces": report.removed_traces}
    note_action(settings, Action("run maintenance", detail=done))
    if as_json:
        say_json(answer or report.as_dict())
        return
    for line in report.lines():
        say(line)


def _round_without_daemon(settings: Settings) -> Report:
    async def round_on(database: Database) -> Report:
        report = await run_once(database, settings, node_id=node_id_of(settings.state_dir / FILE))
        return replace(report, advice=(await database.work(_read_tables, settings))[1].advice)

    return with_database(settings, round_on)
