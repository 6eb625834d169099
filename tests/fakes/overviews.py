"""A fake Overview with constant figures, for what only reads the figures."""

from types import SimpleNamespace
from typing import Any, cast

from daemon.control.overview import Overview
from daemon.control.status import QueueStatus
from daemon.maintenance.figures import Advice
from tests.fakes.ips import a_request, an_ip, at
from tests.fakes.pools import PlayedPools


def fake_overview(*advice: Advice, pools: PlayedPools | None = None) -> Overview:
    """Three IPs in `us`, one of them leased and one failed; a journal whose database is unreachable."""
    pools = pools or PlayedPools()
    pools.directory.open("us", [an_ip("a"), an_ip("b"), an_ip("c", is_healthy=False)])
    pools.decide(a_request(), at(1.0))
    parts: dict[str, Any] = {
        "directory": pools.directory,
        "tracer": SimpleNamespace(active=1, in_flight={}),
        "clicks": SimpleNamespace(waiting=2, late_hits=3),
        "writer": SimpleNamespace(recorded=70, dropped=4),
        "shipper": SimpleNamespace(reachable=False, refused=5),
        "spool": SimpleNamespace(refused=6),
        "advisor": SimpleNamespace(advice=lambda: advice),
        "queues": lambda: {"workers_busy": QueueStatus(6, 10)},
        "backlog": _backlog,
    }
    return cast(Overview, SimpleNamespace(**parts))


async def _backlog() -> int:
    return 42
