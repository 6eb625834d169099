"""The control face as a part of the daemon: it listens from the start to the end, and works while there is a seat."""

import os
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
import trio
from quart import Blueprint

from daemon.click.connection import ServerLimits
from daemon.click.listeners import open_listeners
from daemon.config import DEADLINE_MAX_S, Settings
from daemon.control.access import Tokens, is_local
from daemon.control.api import Seat, Seats, TracerSeat
from daemon.control.connection import control_server
from daemon.control.face import control_app
from daemon.control.problems import not_ready
from daemon.control.resources import (
    advice,
    dashboard,
    docs,
    events,
    history,
    hits,
    in_flight,
    ips,
    maintenance,
    metrics,
    offers,
    parallel,
    pool_cells,
    pools,
    statistics,
    status,
    trace_for_others,
    traces,
    traffic,
)
from daemon.database.postgres import Database
from daemon.database.tokens import note_use
from daemon.errors import BadSettings, DatabaseUnavailable
from daemon.moment import Moment

TOKENS = "tracepool_tokens"
BACKLOG = 128
CONNECTIONS_MAX = 1_000  # beside one for each trace
HEAD_S = 15.0
ANSWER_S = 150.0  # a maintenance round takes up to 120 s
TRACE_MARGIN_S = 5.0
STOP_S = 3.0  # what answers get at the end of a stop; what they need has stopped by then
NOTE_USE_S = 30.0
UNIX_MODE = 0o660  # its owner and group: who can connect may be all that is asked

_OWN = (
    *(status, pools, pool_cells, ips, offers, traces, in_flight, hits, traffic, statistics, history, maintenance),
    *(advice, parallel, metrics, events, dashboard, docs),
)
RESOURCES: tuple[Callable[[Seats], Blueprint], ...] = (*(part.blueprint for part in _OWN), trace_for_others.blueprint)

log = structlog.get_logger("daemon.control")


async def open_control(settings: Settings) -> list[trio.SocketListener]:
    bind = settings.control.bind
    listeners = await open_listeners([bind], backlog=BACKLOG)
    if bind.startswith("unix:"):
        os.chmod(bind.removeprefix("unix:"), UNIX_MODE)
    return listeners


class ControlFace:
    """`serve` runs it once; `run` gives it its seat for as long as that goes on; `end` stops it."""

    def __init__(self, settings: Callable[[], Settings], now: Callable[[], Moment], *, stop_s: float = STOP_S) -> None:
        """`stop_s`: how long answers under way are waited for at the end."""
        control = settings().control
        self._settings = settings
        self._stop_s = stop_s
        self._seat: TracerSeat | None = None
        self._stop, self._stopped = trio.Event(), trio.Event()
        self.tokens = Tokens(control.token.get_secret_value(), local=is_local(control.bind))
        if settings().role == "tracer":
            self.tokens.replace([])  # there is no database to ask
            resources = [trace_for_others.blueprint(self._seated), docs.blueprint(self._seated)]
        else:
            resources = [make(cast(Seats, self._seated)) for make in RESOURCES]
        limits = _limits(settings())
        app = control_app(
            settings, self.tokens, resources, lambda: self._seat is not None, now, answer_s=limits.answer_s
        )
        self._server = control_server(app, limits)

    def _seated(self) -> TracerSeat:
        if self._seat is None:
            raise not_ready("tracepool is stopping" if self._stop.is_set() else None)
        return self._seat

    def use(self, settings: Settings) -> None:
        self.tokens.use(settings.control.token.get_secret_value())

    def check_token(self) -> None:
        """Once the tokens are loaded. Raises BadSettings where others could connect and nobody could be let in."""
        bind = self._settings().control.bind
        if not is_local(bind) and not self.tokens.any_in_force:
            make = "make one with `tracepool token create NAME`, set" if self._settings().role == "full" else "set"
            raise BadSettings(
                f"control.bind: {bind} can be reached from other machines, and there is no token: {make} control.token,"
                " or bind to 127.0.0.1:8081 or unix:/path"
            )

    def adopted_from(self, database: Database) -> dict[str, Callable[[], Awaitable[None]]]:
        """What Adoption does when the tokens have changed."""

        async def load() -> None:
            self.tokens.replace(await database.fetch("load_tokens"))

        return {TOKENS: load}

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cut_at_the_end, nursery.cancel_scope)
                await self._server.serve(listeners, stop=self._stop)
                nursery.cancel_scope.cancel()
        finally:
            self._stopped.set()

    async def _cut_at_the_end(self, serving: trio.CancelScope) -> None:
        await self._stop.wait()
        await trio.sleep(self._stop_s)
        serving.cancel()

    async def run(self, seat: TracerSeat) -> None:
        """Answers by `seat` until cancelled, and writes down which tokens were used."""
        self._seat = seat
        try:
            while True:
                await trio.sleep(NOTE_USE_S)
                if isinstance(seat, Seat):
                    await self._note_use(seat.database)
        finally:
            self._seat = None

    async def _note_use(self, database: Database) -> None:
        used = dict(self.tokens.used)
        if not used:
            return
        try:
            await database.work(note_use, used)
        except DatabaseUnavailable as e:
            log.debug("token_use_not_noted", why=str(e))
            return
        for token, at_s in used.items():
            if self.tokens.used.get(token) == at_s:
                del self.tokens.used[token]

    async def end(self) -> None:
        self._stop.set()
        await self._stopped.wait()


def _limits(settings: Settings) -> ServerLimits:
    return ServerLimits(
        answer_s=max(ANSWER_S, DEADLINE_MAX_S + settings.trace.timeout_s + TRACE_MARGIN_S),
        head_s=HEAD_S,
        head_bytes_max=65_536,
        connections_max=CONNECTIONS_MAX + settings.trace.workers,
        connections_per_address_max=0,
        backlog=BACKLOG,
    )
