"""Restarts an actor that raises: the error is logged, and the actor runs again after a pause that doubles each time.

No actor is given up. The others go on, and clicks that need the failing actor fall back.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from daemon.clock import Moment
from daemon.countries import names_of
from daemon.database.postgres import Database
from daemon.errors import DatabaseOccupied, DatabaseUnavailable
from daemon.nodes.member import Member
from daemon.nodes.owned import read_country
from daemon.pauses import Pauses
from daemon.pool.actor import PoolActor
from daemon.pool.messages import Adopt, Message, StartOver
from daemon.troubles import Troubles

RELOAD_PAUSE_S = 1.0

log = structlog.get_logger("daemon")


class Restarts:
    """One actor's crashes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pauses = Pauses()

    async def after(self, error: Exception) -> None:
        """Logs a crash; returns when the actor may run again."""
        pause_s = self._pauses.after_crash(trio.current_time())
        log.error("actor_crashed", actor=self.name, restart_in_s=pause_s, exc_info=error)
        await trio.sleep(pause_s)


async def restarted(name: str, run: Callable[..., Awaitable[None]], *make_args: Callable[[], Any]) -> None:
    """Runs an actor until it returns; each run gets new arguments from `make_args`."""
    restarts = Restarts(name)
    while True:
        try:
            await run(*(make() for make in make_args))
            return
        except Exception as error:
            await restarts.after(error)


async def run_pool_actor(
    actor: PoolActor,
    member: Member,
    database: Database,
    flush: Callable[[], Awaitable[None]],
    now: Callable[[], Moment],
    troubles: Troubles,
) -> None:
    """Runs a country's actor. After a crash or StartOver it reloads the rows, after the journal has been flushed.

    So no IP is loaded that the actor gave to another node before.
    """
    country = actor.pool.country
    restarts, loading = Restarts(f"pool {country}"), f"loading the pool of {country} again"

    async def current_rows() -> Adopt:
        while True:
            tenure = await member.tenure()
            await flush()
            try:
                reading = await database.work(read_country, tenure, now(), names_of(country))
            except DatabaseOccupied:
                member.hurry()
                await trio.sleep(RELOAD_PAUSE_S)
                continue
            except DatabaseUnavailable as e:
                troubles.note(loading, e, effect="its clicks wait, and fall back at their deadlines")
                await trio.sleep(RELOAD_PAUSE_S)
                continue
            troubles.over(loading)
            return Adopt(tuple(reading.ips), tenure.term, tenure.rests_s)

    unfinished: list[Message] = []
    while True:
        start_over: list[StartOver] = []
        try:
            start_over = await actor.run(unfinished)
            if not start_over:
                return
        except Exception as error:
            await restarts.after(error)
        unfinished = actor.start_over(await current_rows())
        for message in start_over:
            message.done()
