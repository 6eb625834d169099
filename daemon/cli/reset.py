"""`tracepool reset`: unhealthy IPs back to work."""

from typing import Annotated

from cyclopts import Parameter

from daemon.cli.options import ConfigFile
from daemon.cli.output import say, shown
from daemon.cli.session import settings_of, work
from daemon.pool.store import Selection, reset_ips

NAMED_MAX = 20


def reset(
    *,
    country: Annotated[str | None, Parameter(metavar="C", help="Of this country; gb is uk, usa is us.")] = None,
    ip: Annotated[str | None, Parameter(metavar="A", help="This address, or ADDRESS:PORT.")] = None,
    config: ConfigFile = None,
) -> None:
    """Make unhealthy IPs available again: all of them, or those you name.

    An IP becomes unhealthy after pool.failures_max failures in a row and is not
    used any more. Do this once its provider has mended it. Healthy IPs, and
    leases in flight, are not touched.

        tracepool reset
        tracepool reset --country us
        tracepool reset --ip 192.0.2.7
    """
    ips = work(settings_of(config), reset_ips, Selection(country=country, ip=ip))
    say(f"reset {len(ips)}" + (":" if ips else " (none was unhealthy)"))
    for one in ips[:NAMED_MAX]:
        say(f"  {shown(one.name)} ({shown(one.country)}, {shown(one.provider)})")
    if len(ips) > NAMED_MAX:
        say(f"  and {len(ips) - NAMED_MAX} more")
