"""An actor that raises: its cause is logged, and it runs again, up to RESTARTS_MAX times in RESTARTS_WINDOW_S."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from daemon.database.postgres import Database
from daemon.errors import ActorGaveUp, DatabaseUnavailable
from daemon.moment import Moment
from daemon.pool.actor import Journal, PoolActor
from daemon.pool.adoption import load_ips
from daemon.pool.countries import names_of
from daemon.pool.directory import Post
from daemon.pool.messages import Message
from daemon.pool.pool import Pool
from daemon.pool.states import Ip

RESTARTS_MAX = 5
RESTARTS_WINDOW_S = 60.0
RELOAD_PAUSE_S = 1.0

log = structlog.get_logger("daemon")


class Restarts:
    """Counts one actor's crashes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._crashes: deque[float] = deque(maxlen=RESTARTS_MAX + 1)

    def note(self, error: Exception) -> None:
        """Logs a crash. Raises ActorGaveUp if it is one too many."""
        now_s = trio.current_time()
        self._crashes.append(now_s)
        log.error("actor_crashed", actor=self.name, exc_info=error)
        if len(self._crashes) > RESTARTS_MAX and now_s - self._crashes[0] <= RESTARTS_WINDOW_S:
            raise ActorGaveUp(
                f"{self.name} crashed {len(self._crashes)} times in {RESTARTS_WINDOW_S:g} s: the log has each cause"
            ) from error


async def restarted(name: str, run: Callable[..., Awaitable[None]], *make_args: Callable[[], Any]) -> None:
    """Runs an actor until it returns; each run gets what `make_args` make for it."""
    restarts = Restarts(name)
    while True:
        try:
            await run(*(make() for make in make_args))
            return
        except Exception as error:
            restarts.note(error)


async def run_pool_actor(
    post: Post,
    database: Database,
    journal: Journal,
    flush: Callable[[], Awaitable[None]],
    now: Callable[[], Moment],
    spared: Callable[[str, str, Moment], None] = lambda provider, country, now: None,
) -> None:
    """A country's actor. After a crash it starts over from the rows, once these have all that was journaled."""
    restarts = Restarts(f"pool {post.country}")
    unfinished: list[Message] = []
    while True:
        actor = PoolActor(post.pool, post.receive, journal, now, spared)
        try:
            await actor.run(unfinished)
            return
        except Exception as error:
            restarts.note(error)
        unfinished = actor.unfinished()
        post.starts_over = True
        post.pool = await _reloaded(post, database, flush, now)
        post.starts_over = False


async def _reloaded(
    post: Post, database: Database, flush: Callable[[], Awaitable[None]], now: Callable[[], Moment]
) -> Pool:
    while True:
        await flush()
        try:
            where = "where lower(trim(country)) = any($1)"
            ips = await database.work(load_ips, now(), where, names_of(post.country))
        except DatabaseUnavailable as e:
            log.warning("pool_waits", country=post.country, why=str(e))
            await trio.sleep(RELOAD_PAUSE_S)
            continue
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
