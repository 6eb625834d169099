"""`tracepool provision generate` and `tracepool provision import`."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from daemon.cli.imports import name_of, read_text, refuses_whole
from daemon.cli.options import ConfigFile, ImportFile, Strict
from daemon.cli.output import say
from daemon.cli.progress import progress
from daemon.cli.session import settings_of, work
from daemon.errors import BadInput
from daemon.pool.provision_rows import DEFAULT_COUNTRY, DEFAULT_PORT, DEFAULT_PROVIDER, NewIP, generated_ips
from daemon.pool.provision_rows import read_ips as read_rows
from daemon.pool.store import add_ips
from daemon.settings.model import Settings


def generate(
    *,
    count: Annotated[int, Parameter(metavar="N", help="How many, 1 to 1000000.")],
    country: Annotated[str, Parameter(metavar="C", help="Whose offers they serve.")] = DEFAULT_COUNTRY,
    provider: Annotated[str, Parameter(metavar="P", help="Names the credentials in the settings.")] = DEFAULT_PROVIDER,
    prefix: Annotated[str | None, Parameter(metavar="TEXT", help="What stands before the number.")] = None,
    port: Annotated[str, Parameter(metavar="N", help="ip_port of each.")] = DEFAULT_PORT,
    config: ConfigFile = None,
) -> int:
    """Add numbered IPs: PREFIX1 to PREFIXn, for providers that count sessions.

    The prefix is {provider}-{country}- unless you give another. What is in the
    pool already is skipped and counted, so a second run changes nothing, and a
    run with a larger --count adds what is missing.

        tracepool provision generate --country us --count 30 --provider luna
        tracepool provision generate --count 5 --prefix exit-
    """
    settings = settings_of(config)
    named = f"{provider.strip()}-{country.strip()}-" if prefix is None else prefix
    return _add(settings, list(generated_ips(named, count, port, country, provider)), refused=0)


def import_file(file: ImportFile, /, *, strict: Strict = False, config: ConfigFile = None) -> int:
    """Add the IPs of a file: CSV with a header, or JSON lines.

    Columns: ip_address, ip_port (7000), country (us), provider (luna), notes. Only
    ip_address is required; leave a column out to get what stands in brackets.
    An IP that is there already, by address and port, is skipped and counted.

    A bad row is told on standard error with its line and its reason; the others
    go in, all together or, when something fails, none.

    Exit status: 0 every row was good, 1 some were refused (with --strict then
    nothing went in), 2 the file cannot be read.

        tracepool provision import ips.csv
        echo '{"ip_address": "192.0.2.7"}' | tracepool provision import -
    """
    settings = settings_of(config)
    text = read_text(file)
    try:
        read = read_rows(text)
    except BadInput as e:
        raise BadInput(f"{name_of(file)}: {e}") from None
    if refuses_whole(file, read, strict):
        return 1
    return _add(settings, read.rows, refused=len(read.refused))


def _add(settings: Settings, ips: Sequence[NewIP], *, refused: int) -> int:
    with progress("copying rows", len(ips)) as copied:
        added = work(settings, add_ips, ips, copied)
    skipped = len(ips) - added
    say(f"added {added}, skipped {skipped} (already there), refused {refused}")
    return 1 if refused else 0
