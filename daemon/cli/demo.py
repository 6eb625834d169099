"""`tracepool demo`: the whole daemon at work on this machine."""

from typing import Annotated

from cyclopts import Parameter

from daemon.cli.session import AsJSON, flag
from daemon.errors import BadInput

PROCESSES_MAX = 8  # more would have no IP of a country


Processes = Annotated[int, Parameter(metavar="N", help="How many processes the daemon has.")]


def demo(
    *, once: Annotated[bool, flag("Exit after the clicks.")] = False, processes: Processes = 1, as_json: AsJSON = False
) -> int:
    """Show the daemon at work, on this machine alone.

    Starts an ad network and 15 forward proxies on loopback (127.1.0.1-127.1.0.15),
    a PostgreSQL in a directory of its own, and the real daemon with three offers,
    and sends it five clicks at once. One click gets a chain that takes longer than
    the 10 seconds that a visitor waits. Then the daemon goes on serving until
    Ctrl-C, and a curl command to try is shown. Nothing is left behind.

    Ports 7000 (proxies) and 8080 (clicks) are used if they are free, else the next
    free ones. A second demo can run beside the first.

    With --json, standard output has one object per click and nothing else: offer,
    country, gclid, ip, hops, wait_ms, outcome, reason, location.

    Exit status: 0 if every click got what its offer promises and no two of them
    shared an IP, else 1 and a line that names the broken promise.

        tracepool demo
        tracepool demo --once --json | jq .outcome
        tracepool demo --processes 2
    """
    from daemon.demo.run import run_demo  # only now: it imports the database and the network

    if not 1 <= processes <= PROCESSES_MAX:
        raise BadInput(f"--processes {processes}: must be 1 to {PROCESSES_MAX}")
    return run_demo(once=once, as_json=as_json, processes=processes)
