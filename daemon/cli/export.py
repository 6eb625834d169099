"""`tracepool export hits` and `traces`: rows as CSV."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.report import From, To
from daemon.cli.session import ConfigFile, settings_of, with_database
from daemon.control.exports import EXPORTS, each_chunk
from daemon.control.report_groups import window_of_texts
from daemon.database.postgres import Database
from daemon.errors import BadInput
from daemon.logbook.filter import since_of
from daemon.printable import one_line

OfferFilter = Annotated[str | None, Parameter(name="--offer", metavar="X", help="Only this offer's.")]
Country = Annotated[str | None, Parameter(metavar="C", help="Only this country's; gb is uk, usa is us.")]
OUTCOMES = ("resolved", "fallback", "background")
KINDS = ("click", "repeat", "preview")
STATUSES = ("pending", "processing", "completed", "failed", "timeout")


def hits(
    *,
    since: From = None,
    until: To = None,
    offer: OfferFilter = None,
    outcome: Annotated[str | None, Parameter(metavar="O", help="resolved, fallback or background.")] = None,
    kind: Annotated[str | None, Parameter(metavar="K", help="click, repeat or preview.")] = None,
    reason: Annotated[str | None, Parameter(metavar="R", help="Fallbacks for this reason.")] = None,
    country: Country = None,
    visitor: Annotated[str | None, Parameter(metavar="A", help="Clicks from this address.")] = None,
    click_id: Annotated[str | None, Parameter(metavar="ID", help="With this gclid, msclkid or other click id.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print the answered clicks as CSV (RFC 4180), the oldest first.

    Without --from, those of the last 7 days. Times are UTC, and so are dates and
    times without a zone. A text that a spreadsheet would evaluate as a formula has
    an apostrophe before it. Any number of rows is printed in constant memory. Hits
    are kept for retention.hits_days.

        tracepool export hits --from 2026-11-01 --to 2026-11-30 > november.csv
        tracepool export hits --offer summer-sale --outcome fallback --from 2h
    """
    _one_of("--outcome", outcome, OUTCOMES)
    _one_of("--kind", kind, KINDS)
    filters = {
        "offer": offer,
        "outcome": outcome,
        "kind": kind,
        "reason": reason,
        "country": country,
        "visitor": visitor,
        "click_id": click_id,
    }
    _print("hits", since, until, config, filters)


def traces(
    *,
    since: From = None,
    until: To = None,
    offer: OfferFilter = None,
    status: Annotated[str | None, Parameter(metavar="S", help=f"{', '.join(STATUSES[:-1])} or {STATUSES[-1]}.")] = None,
    country: Country = None,
    ip: Annotated[str | None, Parameter(metavar="A", help="Through the IP with this ADDRESS.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print the traces as CSV (RFC 4180), the oldest first, without their hops.

    As `tracepool export hits`. Traces are kept for retention.traces_days.
    `cost` is in US dollars, and empty for a trace without an IP.

        tracepool export traces --from 1d > traces.csv
        tracepool export traces --country us --status failed --from 2h
    """
    _one_of("--status", status, STATUSES)
    _print("traces", since, until, config, {"offer": offer, "status": status, "country": country, "ip": ip})


def _one_of(option: str, given: str | None, allowed: tuple[str, ...]) -> None:
    if given is not None and given not in allowed:
        raise BadInput(f"{option} is {given!r}; allowed: {', '.join(allowed)}")


def _print(noun: str, since: str | None, until: str | None, config: Any, filters: Mapping[str, str | None]) -> None:
    window = window_of_texts(since, until, datetime.now(UTC), since_of)
    wanted = {**filters, "since": window.since, "until": window.until}
    on_terminal = sys.stdout.isatty()

    async def print_all(database: Database) -> None:
        async for lines in each_chunk(database.work, EXPORTS[noun], wanted):
            sys.stdout.write(_shown(lines) if on_terminal else lines)

    with_database(settings_of(config), print_all)


def _shown(lines: str) -> str:
    """For a terminal: without control characters, which it would obey."""
    return "".join(f"{one_line(line)}{os.linesep}" for line in lines.split("\r\n")[:-1])
