"""A fake Overview with constant figures, for what only reads the figures."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from daemon.control.overview import Overview
from daemon.control.status import QueueStatus
from daemon.maintenance.figures import Advice
from daemon.maintenance.node_report import Load
from daemon.nodes.peers import Peer
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from tests.fakes.ips import a_request, an_ip, at
from tests.fakes.pools import PlayedPools
from tests.fakes.reports import report_of


def fake_overview(*advice: Advice, others: Sequence[Peer] = (), pools: PlayedPools | None = None) -> Overview:
    """Three IPs in `us`, one of them leased and one failed; a journal whose database is unreachable."""
    pools = pools or PlayedPools()
    pools.directory.open("us", [an_ip("a"), an_ip("b"), an_ip("c", is_healthy=False)])
    pools.decide(a_request(), at(1.0))
    live = LiveSettings(Settings())
    report = report_of(live, pools.directory, *others)
    report.count_backlog = lambda: 42
    report.load = lambda: Load(clicks_waiting=2, active_traces=1)
    parts: dict[str, Any] = {
        "directory": pools.directory,
        "tracer": SimpleNamespace(active=1, in_flight={}),
        "clicks": SimpleNamespace(waiting=2, late_hits=3, offers=SimpleNamespace(by_country={"de": ("boots",)})),
        "writer": SimpleNamespace(recorded=70, dropped=4),
        "shipper": SimpleNamespace(reachable=False, refused=5, too_old=7),
        "spool": SimpleNamespace(refused=6, node_id=uuid4()),
        "advisor": SimpleNamespace(advice=lambda: advice, first_run=lambda: None),
        "queues": lambda: {"workers_busy": QueueStatus(6, 10)},
        "report": report,
    }
    return cast(Overview, SimpleNamespace(**parts))
