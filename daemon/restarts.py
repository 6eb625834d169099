"""An actor that raises: its cause is logged, and it runs again after a pause that doubles with each crash.

No actor is given up: the others go on, and clicks fall back where they need the one that fails. An actor that has run
for CALM_S begins anew with the shortest pause.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from daemon.database.postgres import Database
from daemon.errors import DatabaseUnavailable
from daemon.moment import Moment
from daemon.pool.actor import Journal, PoolActor
from daemon.pool.adoption import load_ips
from daemon.pool.countries import names_of
from daemon.pool.directory import PoolHandle
from daemon.pool.messages import Message, StartOver
from daemon.pool.pool import Pool
from daemon.pool.states import Ip
from daemon.troubles import Troubles

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 30.0
CALM_S = 60.0
RELOAD_PAUSE_S = 1.0

log = structlog.get_logger("daemon")


class Restarts:
    """One actor's crashes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pause_s = PAUSE_MIN_S
        self._crashed_s = float("-inf")

    async def after(self, error: Exception) -> None:
        """Logs a crash; returns once the actor may run again."""
        now_s = trio.current_time()
        if now_s - self._crashed_s > CALM_S + self._pause_s:
            self._pause_s = PAUSE_MIN_S
        self._crashed_s, pause_s = now_s, self._pause_s
        self._pause_s = min(PAUSE_MAX_S, 2 * pause_s)
        log.error("actor_crashed", actor=self.name, restart_in_s=pause_s, exc_info=error)
        await trio.sleep(pause_s)


async def restarted(name: str, run: Callable[..., Awaitable[None]], *make_args: Callable[[], Any]) -> None:
    """Runs an actor until it returns; each run gets what `make_args` make for it."""
    restarts = Restarts(name)
    while True:
        try:
            await run(*(make() for make in make_args))
            return
        except Exception as error:
            await restarts.after(error)


async def run_pool_actor(
    post: PoolHandle,
    database: Database,
    journal: Journal,
    flush: Callable[[], Awaitable[None]],
    now: Callable[[], Moment],
    troubles: Troubles,
    may_lease: Callable[[], bool] = lambda: True,
    spared: Callable[[str, str, Moment], None] = lambda provider, country, now: None,
) -> None:
    """A country's actor. After a crash or a StartOver it starts from the rows, once these have what was journaled."""
    restarts = Restarts(f"pool {post.country}")
    unfinished: list[Message] = []
    while True:
        actor = PoolActor(post.pool, post.receive, journal, now, may_lease, spared)
        asked: list[StartOver] = []
        try:
            asked = await actor.run(unfinished)
            if not asked:
                return
        except Exception as error:
            post.starts_over = True  # the pause is no fault that the watchdog has to end
            await restarts.after(error)
        unfinished = actor.unfinished()
        post.starts_over = True
        post.pool = await _reloaded(post, database, flush, now, troubles)
        post.starts_over = False
        for message in asked:
            message.done()


async def _reloaded(
    post: PoolHandle,
    database: Database,
    flush: Callable[[], Awaitable[None]],
    now: Callable[[], Moment],
    troubles: Troubles,
) -> Pool:
    loading = f"loading the pool of {post.country} again"
    while True:
        await flush()
        try:
            where = "where lower(trim(country)) = any($1)"
            ips = await database.work(load_ips, now(), where, names_of(post.country))
        except DatabaseUnavailable as e:
            troubles.note(loading, e, effect="its clicks wait, and fall back at their deadlines")
            await trio.sleep(RELOAD_PAUSE_S)
            continue
        troubles.over(loading)
        for ip in ips:
            if (before := post.pool.ips.get(ip.id)) is not None:
                _keep_ticks(ip, before)
        fresh = Pool(post.country, post.pool.rules, post.pool.departed, post.pool.chance)
        fresh.load(ips)
        return fresh


def _keep_ticks(row: Ip, before: Ip) -> None:
    """Times that this run has measured stay as they are.

    By the wall clock, which may have been set since, a lock or a rest would end too early or too late.
    """
    if row.lease_no == before.lease_no:
        row.last_used_s = before.last_used_s
        if row.status is before.status:
            row.locked_until_s = before.locked_until_s
