"""`tracepool provision list` and `tracepool provision remove`."""

import sys
from dataclasses import astuple
from typing import Annotated, Literal

from cyclopts import Parameter

from daemon.cli.options import AsJSON, ConfigFile
from daemon.cli.output import say, say_rows_json, say_table
from daemon.cli.session import settings_of, work
from daemon.errors import BadInput
from daemon.pool import store
from daemon.pool.store import PoolIP, Selection

TERMINAL_ROWS_MAX = 500
COLUMNS = ("ip", "country", "provider", "status", "until", "uses", "failures")


def list_ips(
    *,
    country: Annotated[str | None, Parameter(metavar="C", help="Of this country only; gb is uk, usa is us.")] = None,
    status: Annotated[
        Literal["available", "locked", "cooldown", "failed"] | None, Parameter(help="In this status only.")
    ] = None,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Show the pool's IPs, as their rows in PostgreSQL say.

    A table on a terminal (its first 500 rows); into a pipe all columns of all
    rows, with tabs between them.
    Times are UTC. "uses" counts leases, "failures" are those in a row and in all.

        tracepool provision list --status failed
        tracepool provision list --country us | cut -f1
        tracepool provision list --json
    """
    ips = work(settings_of(config), store.list_ips, Selection(country=country, status=status))
    if as_json:
        say_rows_json(ips)
        return
    if not sys.stdout.isatty():
        say_table(PoolIP.__slots__, map(astuple, ips))
        return
    rows = [
        (
            *(ip.name, ip.country, ip.provider),
            ip.status if ip.is_healthy or ip.status == "failed" else f"{ip.status}, unhealthy",
            ip.locked_until and ip.locked_until.strftime("%H:%M:%S"),
            ip.total_uses,
            f"{ip.consecutive_failures}/{ip.failure_count}",
        )
        for ip in ips[:TERMINAL_ROWS_MAX]
    ]
    say_table(COLUMNS, rows, right=("uses", "failures"))
    if len(ips) > TERMINAL_ROWS_MAX:
        say(f"and {len(ips) - TERMINAL_ROWS_MAX} more: narrow it down, or pipe it into a pager")


def remove(
    *,
    ip: Annotated[str | None, Parameter(metavar="A", help="This address, or ADDRESS:PORT.")] = None,
    country: Annotated[str | None, Parameter(metavar="C", help="Of this country; gb is uk, usa is us.")] = None,
    provider: Annotated[str | None, Parameter(metavar="P", help="Of this provider.")] = None,
    every: Annotated[bool, Parameter(name="--all", negative=(), show_default=False, help="All there are.")] = False,
    config: ConfigFile = None,
) -> None:
    """Take IPs out of the pool: those that meet every condition given.

    It does not ask; it says how many went. A running daemon lets the trace of a
    locked one end first.

        tracepool provision remove --country de
        tracepool provision remove --provider luna --country us
        tracepool provision remove --ip 192.0.2.7
    """
    if every == any(condition is not None for condition in (ip, country, provider)):
        raise BadInput("say which IPs: --ip, --country and --provider together narrow it down; --all stands alone")
    selection = Selection(country=country, ip=ip, provider=provider)
    removed, locked = work(settings_of(config), store.remove_ips, selection)
    say(f"removed {removed}" + (f" ({locked} of them locked: their traces end first)" if locked else ""))
