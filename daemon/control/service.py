"""The control face as a part of the daemon: listens from start to stop, serves resources while it has a context."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import structlog
import trio
from quart import Blueprint

from daemon.clock import Moment
from daemon.control.access import Tokens, is_local
from daemon.control.actions import Action, record_action
from daemon.control.api import ControlContext, GetContext, TracerContext
from daemon.control.connection import control_server
from daemon.control.face import control_app
from daemon.control.problems import not_ready
from daemon.control.resources import (
    actions,
    batch_traces,
    clicks,
    direct_traces,
    find,
    forget,
    history,
    ip_imports,
    ip_sets,
    ips,
    nodes,
    offer_figures,
    offer_forms,
    offers,
    pages,
    pools,
    reports,
    session,
    statistics,
    status,
    tokens,
    traces,
)
from daemon.control.token_store import note_use
from daemon.database.postgres import Database
from daemon.errors import BadSettings, DatabaseUnavailable
from daemon.http.connection import ServerLimits
from daemon.http.listeners import CONTROL_BACKLOG
from daemon.settings.live import LiveSettings
from daemon.settings.model import DEADLINE_MAX_S, Settings

TOKENS = "tracepool_tokens"
CONNECTIONS_MAX = 1_000  # and one more for each worker
HEAD_S = 15.0
ANSWER_S = 150.0  # a maintenance round takes up to 120 s
TRACE_MARGIN_S = 5.0
STOP_S = 3.0  # for answers in progress at the end of a stop, when the parts they use have stopped
NOTE_USE_S = 30.0

RESOURCES: tuple[Callable[[GetContext], Blueprint], ...] = (
    session.blueprint,
    status.blueprint,
    pools.blueprint,
    nodes.blueprint,
    ips.blueprint,
    ip_sets.blueprint,
    ip_imports.blueprint,
    offers.blueprint,
    offer_forms.blueprint,
    tokens.blueprint,
    clicks.blueprint,
    find.blueprint,
    traces.blueprint,
    batch_traces.blueprint,
    statistics.blueprint,
    history.blueprint,
    offer_figures.blueprint,
    reports.blueprint,
    actions.blueprint,
    forget.blueprint,
    direct_traces.parallel_routes,
    direct_traces.trace_for_others_routes,
    pages.dashboard_routes,
    pages.docs_routes,
)

log = structlog.get_logger("daemon.control")


class ControlFace:
    """`serve` listens and answers, once; `run` provides the context while it runs; `end` stops the face."""

    def __init__(self, live: LiveSettings, now: Callable[[], Moment]) -> None:
        settings = live.current
        self._live = live
        self._stop_s = STOP_S
        self._context: TracerContext | None = None
        self._stop, self._stopped = trio.Event(), trio.Event()
        self.tokens = Tokens("", local=is_local(settings.control.bind))
        live.subscribe(lambda settings: self.tokens.use(settings.control.token.get_secret_value()))
        if settings.role == "tracer":
            self.tokens.replace([])  # this role has no database
            resources = [direct_traces.trace_for_others_routes(self._current), pages.docs_routes(self._current)]
        else:
            resources = [make(cast(GetContext, self._current)) for make in RESOURCES]
        answer_s, is_ready = partial(_answer_s, live), lambda: self._context is not None
        app = control_app(live, self.tokens, resources, is_ready, now, answer_s=answer_s, record=self._record)
        self._server = control_server(app, _limits(settings, answer_s()))

    def _current(self) -> TracerContext:
        if self._context is None:
            raise not_ready("tracepool is stopping" if self._stop.is_set() else None)
        return self._context

    def check_token(self) -> None:
        """Raises BadSettings if other machines can connect and no token exists. Call it when the tokens are loaded."""
        bind = self._live.current.control.bind
        if not is_local(bind) and not self.tokens.any_in_force:
            remedy = "make one with `tracepool token create NAME`, set" if self._live.current.role == "full" else "set"
            raise BadSettings(
                f"control.bind: other machines can reach {bind}, and there is no token: {remedy} control.token, or bind"
                " to 127.0.0.1:8081 or unix:/path"
            )

    def adopted_from(self, database: Database) -> dict[str, Callable[[], Awaitable[None]]]:
        """For SqlSync: a function that reloads the tokens when their rows have changed."""

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

    async def run(self, context: TracerContext) -> None:
        """Provides the context until cancelled, and records the use of tokens each NOTE_USE_S."""
        self._context = context
        try:
            while True:
                await trio.sleep(NOTE_USE_S)
                if isinstance(context, ControlContext):
                    await self._note_use(context.database)
        finally:
            self._context = None

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

    async def _record(self, who: str, action: Action) -> None:
        """Writes to the action log. Without the database the log has the change in a line."""
        if not isinstance(self._context, ControlContext):
            return
        try:
            node_id = self._context.overview.spool.node_id
            await self._context.database.work(record_action, who, action, node_id)
        except DatabaseUnavailable as e:
            log.error("action_not_recorded", who=who, action=action.what, subject=action.subject, why=str(e))

    async def end(self, within_s: float = STOP_S) -> None:
        """Stops the face. Answers in progress have `within_s` to end."""
        self._stop_s = within_s
        self._stop.set()
        await self._stopped.wait()


def _answer_s(live: LiveSettings) -> float:
    return max(ANSWER_S, DEADLINE_MAX_S + live.current.trace.timeout_s + TRACE_MARGIN_S)


def _limits(settings: Settings, answer_s: float) -> ServerLimits:
    return ServerLimits(
        answer_s=answer_s,
        head_s=HEAD_S,
        head_bytes_max=65_536,
        connections_max=CONNECTIONS_MAX + settings.trace.workers,
        connections_per_address_max=0,
        backlog=CONTROL_BACKLOG,
    )
