"""The control face on loopback, with a context made of a test's parts, and a client."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import httpx
import trio

from daemon.checks.checker import Checker
from daemon.control.access import hash_of
from daemon.control.api import ControlContext
from daemon.control.metrics import Metrics
from daemon.control.observers import Observers
from daemon.control.overview import Overview
from daemon.control.service import ControlFace
from daemon.control.tracing import TracesForOthers
from daemon.database.postgres import Database
from daemon.host.clocks import read_clocks
from daemon.http.listeners import open_control
from daemon.maintenance.rounds import Report
from daemon.nodes.cluster import cluster_of
from daemon.nodes.listing import NodeEntry
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.batch_queue import WaitingTraces

MINUTE: dict[str, Any] = {
    "clicks": 2,
    "resolved": 1,
    "fallbacks": {"deadline": 1},
    "wait_p50_ms": 1.5,
    "wait_p95_ms": None,
    "background": 0,
    "repeats": 3,
    "previews": 0,
    "fallbacks_by_offer": [],
}
STATUS: dict[str, Any] = {
    "countries": {
        "us": {
            "total": 3,
            "available": 2,
            "locked": 1,
            "cooldown": 0,
            "failed": 0,
            "waiting": 0,
            "utilisation_percent": 33.3,
            "failing": 0,
            "offers": 1,
        }
    },
    "active_traces": 1,
    "clicks_waiting": 0,
    "last_minute": MINUTE | {"fallbacks_by_offer": [{"offer": "sale", "country": "us", "fallbacks": 1}]},
    "traffic_today": {"luna": {"traces": 2, "bytes_received": 4_321, "bytes_sent": 765, "cost": 0.000025}},
    "providers": {
        "luna": {
            "state": "ok",
            "since": "2023-11-14T22:13:20+00:00",
            "traces": 2,
            "credentials_refused": 0,
            "ips_spared": 0,
        }
    },
    "advice": [
        {
            "code": "fallbacks_high",
            "severity": "info",
            "sentence": "1 of 2 clicks fell back.",
            "rule": "more than 10%",
            "numbers": {"fallback_percent": 50.0},
            "command": "tracepool logs --outcome fallback",
            "about": "",
            "country": "us",
            "offer": "sale",
            "provider": None,
            "count": 1,
            "of": 2,
            "error": None,
        }
    ],
    "first_run": None,
    "traces_waiting": [
        {
            "country": "us",
            "waiting": 2,
            "running": 0,
            "ahead": 0,
            "since": "2026-01-01T00:00:00Z",
            "reason": "in_use",
            "why": "us is 67% in use (2 of 3 IPs), and such traces begin below 60%",
            "next": "add IPs",
            "ahead_why": "",
            "background": 0,
            "background_since": None,
        }
    ],
    "queues": {"connections": {"length": 1, "max": 20_000}},
    "journal": {
        "recorded": 7,
        "dropped": 0,
        "refused": 0,
        "too_old": 0,
        "late_hits": 0,
        "backlog": None,
        "database_reachable": True,
        "spool_remade": 0,
        "spool_remade_why": None,
    },
    "disk": {
        "tables": [
            {
                "name": "hits",
                "bytes": 8_192,
                "rows": 10,
                "days_kept": 90.0,
                "bytes_per_day": 4_096.0,
                "grows_days": 80.5,
            }
        ],
        "database_bytes": 9_000_000,
        "removing": [{"table": "hits", "rows_left": 5}],
        "building": ["hits_visitor 45%"],
        "spool_bytes": 40_960,
        "spool_bytes_max": 1_073_741_824,
        "free_bytes": None,
        "holds_database": True,
        "bytes_per_day": 4_096.0,
        "days_left": None,
    },
    "troubles": [],
    "nodes": [],
    "node": {
        "name": "here",
        "node_id": str(uuid4()),
        "epoch": 1,
        "leasing": True,
        "trusted_for_s": 890.0,
        "draining": False,
        "countries": {},
        "active_traces": 1,
        "clicks_waiting": 0,
        "last_minute": MINUTE | {"fallbacks": {}},
        "nodes_read_s_ago": 0.4,
    },
    "node_id": str(uuid4()),
    "epoch": 1,
    "uptime_s": 12.5,
    "version": "0.1.0",
}


class FixedOverview:
    """An Overview with a constant status."""

    def __init__(self, constant: Mapping[str, Any] = STATUS) -> None:
        self.constant = dict(constant)
        self.directory: list[Any] = []
        self.tracer = SimpleNamespace(active=0, in_flight={})
        self.now = read_clocks
        self.spool = SimpleNamespace(node_id=uuid4())
        self.report: Any = SimpleNamespace(cluster=lambda: cluster_of(()), nodes=tuple)

    def traces_waiting(self) -> list[WaitingTraces]:
        return []

    def node_entries(self) -> list[NodeEntry]:
        return []

    async def status(self) -> dict[str, Any]:
        return dict(self.constant)


class Unreached:
    """A part of the context that no resource under test uses."""


async def no_round() -> Report:
    raise AssertionError("this test requests no maintenance round")


def context_of(live: LiveSettings, **parts: Any) -> ControlContext:
    given: dict[str, Any] = {
        "live": live,
        "traces": cast(TracesForOthers, Unreached()),
        "overview": cast(Overview, FixedOverview()),
        "database": cast(Database, Unreached()),
        "maintenance": no_round,
        "stopping": trio.Event(),
        "observers": Observers(Metrics(live), read_clocks),
        "checker": cast(Checker, Unreached()),
    }
    return ControlContext(**(given | parts))


def row_of(token: str, role: str = "operator", *, name: str = "anna", revoked: bool = False) -> dict[str, Any]:
    """A row of the query load_tokens."""
    return {"name": name, "role": role, "hash": hash_of(token), "revoked_at": 1 if revoked else None}


@dataclass(frozen=True, slots=True)
class Served:
    """A control face that listens; `ask` sends one request on a new connection."""

    face: ControlFace
    url: str
    socket: str | None

    async def ask(self, path: str, method: str = "GET", token: str | None = None, **request: Any) -> httpx.Response:
        headers = dict(request.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        async with httpx.AsyncClient(transport=transport, base_url=self.url, timeout=20) as client:
            return await client.request(method, path, headers=headers, **request)


@asynccontextmanager
async def control_face(
    settings: Settings | None = None, rows: Sequence[Mapping[str, Any]] | None = (), *, ready: bool = True, **parts: Any
) -> AsyncIterator[Served]:
    """Serves until the block ends. `rows` None: the tokens are not loaded yet. `ready`: the face has a context."""
    settings = settings or Settings(control={"bind": "127.0.0.1:0"})
    listeners = await open_control(settings)
    live = LiveSettings(settings)
    face = ControlFace(live, read_clocks)
    if rows is not None:
        face.tokens.replace(rows)
    address = listeners[0].socket.getsockname()
    url, socket = (
        ("http://localhost", address) if isinstance(address, str) else (f"http://127.0.0.1:{address[1]}", None)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(face.serve, listeners)
        if ready:
            nursery.start_soon(face.run, context_of(live, **parts))
            await trio.testing.wait_all_tasks_blocked()
        yield Served(face, url, socket)
        await face.end()
        nursery.cancel_scope.cancel()
