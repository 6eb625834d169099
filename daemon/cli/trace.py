"""`tracepool trace`: traces URLs through the pool, with a lower priority than clicks."""

import sys
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import trio
from cyclopts import Parameter

from daemon.cli.import_file import name_of, read_text
from daemon.cli.nodes import nodes_that_run
from daemon.cli.output import progress, say, say_json, say_table, warn
from daemon.cli.session import ConfigFile, commander, flag, settings_of, with_database
from daemon.control.actions import queued, recorded
from daemon.control.socket import ask
from daemon.database.postgres import Database
from daemon.errors import BadInput, TheirFault
from daemon.offers.macros import tracking_url
from daemon.settings.model import Settings
from daemon.trace.batch import add_traces, traces_of

POLL_S = 0.5
URLS_MAX = 1_000_000
QUERIED_AT_ONCE = 2_000  # the first ones only, because traces end roughly in their order
NOT_SERVED = "the daemon is not running: start it (tracepool serve), or store the URLs for it with --no-wait"
COLUMNS = ("url", "status", "hops", "ms", "ip", "final url or error")


def trace(
    *urls: Annotated[str, Parameter(metavar="URL", help="Where a chain starts; - reads one a line from stdin.")],
    country: Annotated[str, Parameter(metavar="C", help="The country of the IPs.")] = "us",
    as_json: Annotated[bool, flag("A JSON object a line, as each trace ends.", "--json")] = False,
    no_wait: Annotated[bool, flag("Print their ids and leave them to the daemon.")] = False,
    config: ConfigFile = None,
) -> int:
    """Trace URLs through the pool, as clicks are traced, but after every click.

    A trace starts only while less than pool.batch_below_percent (60) of its
    country's IPs are in use. The traces are stored in active_trace_requests first:
    Ctrl-C or a restart of the daemon loses none. Each node of the database takes
    those that its IPs can serve.

    Exit status: 0 all of them landed, 1 some did not.

        tracepool trace 'https://ads.example/click?id=7'
        tracepool trace - --country uk --json < urls.txt
    """
    settings = settings_of(config)
    wanted, refused = _read(urls, settings)
    if not wanted:
        raise BadInput("there is no URL to trace: give URLs, or - and one a line on standard input")
    is_served = no_wait or ask(settings.state_dir, "status") is not None
    if not is_served and settings.database.url is None:
        raise TheirFault(NOT_SERVED)

    async def use(database: Database) -> bool:
        if not is_served and not nodes_that_run(await database.fetch("load_nodes")):
            raise TheirFault(NOT_SERVED)
        ids = await database.work(recorded, commander(), lambda _: queued(wanted, country), add_traces, wanted, country)
        if no_wait:
            for request_id in ids:
                say(str(request_id))
            return True
        return await _wait(database, ids, as_json)

    landed = with_database(settings, use)
    return 0 if landed and not refused else 1


def _read(urls: Sequence[str], settings: Settings) -> tuple[list[str], int]:
    """The URLs that can be traced, and the number of refused ones, which are reported on standard error."""
    wanted: list[str] = []
    refused = 0
    for given in urls:
        lines = enumerate(read_text("-").splitlines(), start=1) if given == "-" else [(0, given)]
        for number, line in lines:
            if not line.strip():
                continue
            try:
                wanted.append(tracking_url(line.strip(), allow_private=settings.trace.allow_private))
            except BadInput as e:
                refused += 1
                warn(f"tracepool: {f'{name_of(given)}:{number}: ' if number else ''}{e}")
    if len(wanted) > URLS_MAX:
        raise BadInput(f"{len(wanted)} URLs; at most {URLS_MAX} at once: split them")
    return wanted, refused


async def _wait(database: Database, ids: Sequence[UUID], as_json: bool) -> bool:
    """Show each trace when it ends. Returns whether all of them landed."""
    order = {request_id: place for place, request_id in enumerate(ids)}
    left, ended = dict.fromkeys(ids), dict[UUID, dict[str, Any]]()
    try:
        with progress("tracing", len(ids)) as advanced:
            while left:
                rows = await database.work(traces_of, list(islice(left, QUERIED_AT_ONCE)))
                for row in sorted(rows, key=lambda row: order[row["request_id"]]):
                    del left[row["request_id"]]
                    ended[row["request_id"]] = row
                    if as_json:
                        say_json(row, indent=None)
                if rows:
                    sys.stdout.flush()
                    advanced(len(rows))
                elif left:
                    await trio.sleep(POLL_S)
    finally:
        if not as_json:
            say_table(COLUMNS, (_shown(ended[i]) for i in ids if i in ended), right=("hops", "ms"))
        if left:
            warn(f"tracepool: {len(left)} of {len(ids)} are not traced yet: the daemon goes on with them")
    return all(row["status"] == "completed" for row in ended.values())


def _shown(row: dict[str, Any]) -> tuple[object, ...]:
    result = row["final_url"] or row["error_message"]
    return row["tracking_url"], row["status"], row["hops"], row["trace_time_ms"], row["ip_assigned"], result
