"""`tracepool demo`: everything at work on this machine."""

from typing import Annotated

from cyclopts import Parameter

from daemon.cli.options import AsJSON


def demo(
    *,
    once: Annotated[bool, Parameter(negative=(), show_default=False, help="Exit after the clicks.")] = False,
    as_json: AsJSON = False,
) -> int:
    """Show the daemon at work, on this machine alone.

    Makes an ad network and 15 forward proxies on loopback (127.1.0.1-127.1.0.15),
    a PostgreSQL in a directory of its own, and three offers; starts the real
    daemon and sends it five clicks at once. One of them waits for a chain that is
    slower than the 10 seconds a visitor waits. Then it goes on serving, with a
    curl line to try, until Ctrl-C; nothing is left behind.

    Ports 7000 (proxies) and 8080 (clicks) are taken if they are free, else the
    next ones. A second demo beside the first works.

    With --json, one object per click on standard output and nothing else there:
    offer, country, gclid, ip, hops, wait_ms, outcome, reason, location.

    Exit status: 0 if every click got what its offer promises and no two of them
    shared an IP, else 1 and a line that says which promise was broken.

        tracepool demo
        tracepool demo --once --json | jq .outcome
    """
    from daemon.demo.run import run_demo  # only now: it brings the database and the network with it

    return run_demo(once=once, as_json=as_json)
