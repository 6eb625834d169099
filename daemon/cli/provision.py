"""`tracepool provision generate`, `import`, `list` and `remove`; `tracepool reset`: the IPs of the pool."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from typing import Annotated, Literal

from cyclopts import Parameter

from daemon.cli.import_file import ImportFile, Strict, imported, name_of
from daemon.cli.output import progress, say, say_rows_json, say_table, warn
from daemon.cli.session import AsJSON, ConfigFile, IpAddress, IpCountry, IpProvider, change, flag, settings_of, work
from daemon.control.actions import Action
from daemon.countries import country_in, odd_countries
from daemon.errors import BadInput
from daemon.pool import store
from daemon.pool.provision_rows import (
    COUNTRIES_NAMED_MAX,
    DEFAULT_COUNTRY,
    DEFAULT_PROVIDER,
    NewIP,
    generated_ips,
    read_ips,
)
from daemon.pool.store import PoolIP, Selection
from daemon.providers.proxies import DEFAULT_PORT
from daemon.settings.model import Settings

TERMINAL_ROWS_MAX = 500
RESET_NAMED_MAX = 20
COLUMNS = ("ip", "country", "provider", "status", "until", "uses", "failures", "node")


def generate(
    *,
    count: Annotated[int, Parameter(metavar="N", help="How many, 1 to 1000000.")],
    country: Annotated[str, Parameter(metavar="C", help="The country of the IPs.")] = DEFAULT_COUNTRY,
    provider: Annotated[str, Parameter(metavar="P", help="The provider's name in the settings.")] = DEFAULT_PROVIDER,
    prefix: Annotated[str | None, Parameter(metavar="TEXT", help="The text before the number.")] = None,
    port: Annotated[str, Parameter(metavar="N", help="ip_port of each.")] = DEFAULT_PORT,
    config: ConfigFile = None,
) -> int:
    """Add numbered IPs, PREFIX1 to PREFIXn, for providers that number sessions.

    The default prefix is {provider}-{country}-. IPs that are already in the pool
    are skipped and counted: a second run changes nothing, and a run with a larger
    --count adds what is missing.

        tracepool provision generate --country us --count 30 --provider luna
        tracepool provision generate --count 5 --prefix exit-
    """
    settings = settings_of(config)
    ips = list(generated_ips(prefix, count, port, country, provider))
    for text in odd_countries([country]):
        warn(f"tracepool: {text}")
    return _add(settings, "generate ips", ips, refused=0)


def import_file(
    file: ImportFile,
    /,
    *,
    country: Annotated[str, Parameter(metavar="C", help="The country of rows that name none.")] = DEFAULT_COUNTRY,
    provider: Annotated[str, Parameter(metavar="P", help="The provider of rows that name none.")] = DEFAULT_PROVIDER,
    strict: Strict = False,
    config: ConfigFile = None,
) -> int:
    """Add the IPs of a file: a vendor's list, a table with a header, or JSON lines.

    A list has one proxy a line, in any of these forms:

        192.0.2.7:3128                      user:password@192.0.2.7:3128
        192.0.2.7:3128:user:password        user:password:192.0.2.7:3128
        http://user:password@192.0.2.7:3128

    also with blanks, tabs, semicolons, bars or commas between the parts.

    Columns of a table, and keys of JSON lines: ip_address, ip_port (7000), country,
    provider, notes, username, password. Only ip_address is required. A country is a
    code of ISO 3166 such as de or DEU, or its English name. A table may be
    CSV or what a spreadsheet exports, in UTF-8 or UTF-16. A login belongs to its
    IP, and is used instead of its provider's. No output ever shows a password.

    An IP that is already in the pool is skipped and counted. An address and port
    with several usernames is several IPs, such as the sessions of a gateway.

    Each bad row is reported on standard error with its line and the reason. The
    good rows are added together: if adding fails, none is added.

    Exit status: 0 all rows were good, 1 some were refused (with --strict nothing
    is added then), 2 the file cannot be read.

        tracepool provision import ips.csv
        tracepool provision import proxies.txt --country uk --provider webshare
        echo '{"ip_address": "192.0.2.7"}' | tracepool provision import -
    """
    settings = settings_of(config)
    country_in(country, "--country")
    defaults = {"country": country, "provider": provider}
    found = imported(file, partial(read_ips, providers=settings.providers, defaults=defaults), strict=strict)
    if found is None:
        return 1
    for line, text in _odd_countries(found.lines, found.rows):
        warn(f"tracepool: {name_of(file)}:{line}: {text}")
    return _add(settings, "import ips", found.rows, refused=len(found.refused), repeated=len(found.repeated))


def _odd_countries(lines: Sequence[int], ips: Sequence[NewIP]) -> list[tuple[int, str]]:
    """Warnings of the first countries that are none, each with the first line that has it."""
    first = {ip.country.lower(): line for line, ip in zip(reversed(lines), reversed(ips), strict=True)}
    return sorted((first[key], text) for key in first for text in odd_countries([key]))[:COUNTRIES_NAMED_MAX]


def _add(settings: Settings, what: str, ips: Sequence[NewIP], *, refused: int, repeated: int = 0) -> int:
    subject = ips[0].name if len(ips) == 1 else ""
    countries = dict(Counter(ip.country for ip in ips).most_common(COUNTRIES_NAMED_MAX))
    with progress("copying rows", len(ips)) as copied:
        done = change(
            settings,
            lambda added: Action(
                what, subject, {"added": added.added, "refused": refused, "rows_by_country": countries}
            ),
            store.add_ips,
            *(ips, copied),
        )
    for warning in done.warnings:
        warn(f"tracepool: {warning}")
    say(f"added {done.added}, skipped {len(ips) - done.added + repeated} (already there), refused {refused}")
    return 1 if refused else 0


def list_ips(
    *,
    country: IpCountry = None,
    status: Annotated[
        Literal["available", "locked", "cooldown", "failed"] | None, Parameter(help="Only this status.")
    ] = None,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Show the pool's IPs, as their rows in PostgreSQL have them.

    On a terminal, a table of the first 500 rows; into a pipe, all columns of all
    rows, separated by tabs. Times are UTC. "uses" counts leases, "failures" are
    those in a row and those in total. "node" owns the IP, and alone leases it.

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
            _status_of(ip),
            ip.locked_until and ip.locked_until.strftime("%H:%M:%S"),
            ip.total_uses,
            f"{ip.consecutive_failures}/{ip.failure_count}",
            ip.owner,
        )
        for ip in ips[:TERMINAL_ROWS_MAX]
    ]
    say_table(COLUMNS, rows, right=("uses", "failures"))
    if len(ips) > TERMINAL_ROWS_MAX:
        say(f"and {len(ips) - TERMINAL_ROWS_MAX} more: use --country and --status, or pipe the output into a pager")


def _status_of(ip: PoolIP) -> str:
    if ip.set_aside is not None:
        return "set aside"
    return ip.status if ip.is_healthy or ip.status == "failed" else f"{ip.status}, unhealthy"


def remove(
    *,
    ip: IpAddress = None,
    country: IpCountry = None,
    provider: IpProvider = None,
    every: Annotated[bool, flag("All IPs.", "--all")] = False,
    config: ConfigFile = None,
) -> None:
    """Remove IPs from the pool: those that meet all of the given conditions.

    There is no prompt. The number of removed IPs is printed. An IP that a trace of
    the running daemon uses is removed when that trace ends.

        tracepool provision remove --country de
        tracepool provision remove --provider luna --country us
        tracepool provision remove --ip 192.0.2.7
    """
    if every == any(condition is not None for condition in (ip, country, provider)):
        raise BadInput("say which IPs: give --ip, --country or --provider, which may be combined, or --all alone")
    selection = Selection(country=country, ip=ip, provider=provider)
    removed, locked = change(settings_of(config), partial(_removed, selection), store.remove_ips, selection)
    say(f"removed {removed}" + (f" ({locked} of them locked: their traces end first)" if locked else ""))


def _removed(selection: Selection, counts: tuple[int, int]) -> Action:
    removed, locked = counts
    return Action("retire ips", selection.ip or "", {**_conditions(selection), "removed": removed, "locked": locked})


def _conditions(selection: Selection) -> dict[str, str]:
    given = {"country": selection.country, "ip": selection.ip, "provider": selection.provider}
    return {name: value for name, value in given.items() if value is not None}


def reset(*, country: IpCountry = None, ip: IpAddress = None, config: ConfigFile = None) -> None:
    """Make unhealthy IPs available again: all of them, or those that you name.

    An IP becomes unhealthy after pool.failures_max failures in a row and is not
    used any more. Reset it once its provider has repaired it. Healthy IPs and
    leases in use do not change.

        tracepool reset
        tracepool reset --country us
        tracepool reset --ip 192.0.2.7
    """
    selection = Selection(country=country, ip=ip)
    ips = change(
        settings_of(config),
        lambda done: Action("reset ips", ip or "", {**_conditions(selection), "reset": len(done)}),
        store.reset_ips,
        selection,
    )
    say(f"reset {len(ips)}" + (":" if ips else " (none was unhealthy)"))
    for one in ips[:RESET_NAMED_MAX]:
        say(f"  {one.name} ({one.country}, {one.provider})")
    if len(ips) > RESET_NAMED_MAX:
        say(f"  and {len(ips) - RESET_NAMED_MAX} more")
