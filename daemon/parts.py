"""The daemon's inner parts, each a context: entered when it works, left when it has handled all that it was given.

supervisor.py says in which order.
"""

import functools
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
import trio

from daemon.click.offers import Offers
from daemon.clocks import read_boot_clock, read_clocks
from daemon.config import Settings
from daemon.database.postgres import Database
from daemon.database.reached import RETRY_S, STARTING, WAITING
from daemon.errors import DatabaseUnavailable, TheirFault
from daemon.journal.shipper import Shipper
from daemon.journal.spool import FILE, Spool
from daemon.journal.writer import JournalWriter
from daemon.nodes.member import Follower, Identity, Member
from daemon.nodes.membership import quiet_s
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.adoption import Adoption
from daemon.pool.directory import PoolDirectory, rules_of
from daemon.pool.messages import Adopt, Message, StartOver
from daemon.pool.pool import Pool
from daemon.pool.remembered import remember_offers
from daemon.pool.rows import rests_known
from daemon.restarts import restarted, run_pool_actor
from daemon.trace.checker import Checker
from daemon.trace.jobs import TraceJob
from daemon.trace.prober import Prober
from daemon.trace.provider_health import Health, ProviderHealth, Standing, why_of
from daemon.trace.tracers import Backends, fetcher_of
from daemon.trace.workers import Tracer, limits_of, prices_of
from daemon.troubles import Troubles

SHIP_S = 3.0

log = structlog.get_logger("daemon")


@dataclass(frozen=True, slots=True)
class Journal:
    spool: Spool
    writer: JournalWriter
    shipper: Shipper
    member: Member


@dataclass(frozen=True, slots=True)
class Pools:
    directory: PoolDirectory
    offers: Offers
    adoption: Adoption
    providers: ProviderHealth


@dataclass(frozen=True, slots=True)
class Workers:
    tracer: Tracer
    backends: Backends
    checker: Checker
    prober: Prober
    jobs: "trio.MemorySendChannel[TraceJob]"


def _say_provider(provider: str, standing: Standing) -> None:
    """A provider stands otherwise than before."""
    if standing.health is Health.CREDENTIALS_REFUSED:
        log.error("provider_credentials_refused", provider=provider, why="its proxies answer 407",
                  effect="traces through it fail; none of its IPs is blamed",
                  remedy=f"correct providers.{provider}.username and its password, then reload")  # fmt: skip
    elif standing.health is Health.SUSPECTED:
        log.error("provider_suspected", provider=provider, why=why_of(standing), remedy="tracepool provision check")
    else:
        log.info("provider_recovered", provider=provider)


async def _patiently(work: Callable[[], Awaitable[None]], troubles: Troubles) -> None:
    """PostgreSQL may leave again between the first time that it was reached and the end of the start."""
    while True:
        try:
            await work()
            break
        except DatabaseUnavailable as e:
            troubles.note(STARTING, e, effect=WAITING, repeat_s=RETRY_S)
            await trio.sleep(RETRY_S)
    troubles.over(STARTING)


@asynccontextmanager
async def journal_spooled(settings: Settings) -> AsyncIterator[tuple[Spool, JournalWriter]]:
    """The local end of the journal. What is recorded inside is on disk when this ends."""
    path = settings.state_dir / FILE
    try:
        spool = await trio.to_thread.run_sync(Spool, path, settings.journal.spool_bytes_max)
    except sqlite3.Error as e:
        raise TheirFault(f"{path}: {e}: the journal needs a disk that can be written to") from e
    writer = JournalWriter(spool)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            yield spool, writer
            nursery.cancel_scope.cancel()
    finally:
        spool.close()


def member_of(settings: Callable[[], Settings], spool: Spool, database: Database, troubles: Troubles) -> Member:
    """This run of the daemon as a node of its database; it has not joined yet."""

    def quiet() -> float:
        return quiet_s(settings().pool.lock_s, settings().pool.cooldown_s)

    node = settings().node
    identity = Identity(spool.node_id, node.shown_name(), spool.epoch, node.trust_s, quiet)
    return Member(database, identity, troubles, read_boot_clock, alone=settings().database.url is None)


class _ShipperFollows(Follower):
    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper

    async def disown(self) -> None:
        await self._shipper.disown()


@asynccontextmanager
async def offers_known(database: Database, offers: Offers) -> AsyncIterator[None]:
    """The offers as the rows have them, so that clicks fall back to them while this node waits for another one."""
    with suppress(DatabaseUnavailable):  # those that an earlier run knew serve; what is wrong is said by what follows
        offers.replace(await database.fetch("load_offers"))
    yield


@asynccontextmanager
async def journal_shipped(
    settings: Callable[[], Settings],
    spool: Spool,
    writer: JournalWriter,
    database: Database,
    troubles: Troubles,
) -> AsyncIterator[Journal]:
    """The whole journal, with all that an earlier run left in the spool shipped, once this node has joined.

    While another node has the database, this one's hits and traces are shipped all the same. It leaves at the end,
    unless something is left in the spool.
    """

    def keep_s() -> float:  # what says of IPs that they rest stays for as long as they do
        pool = settings().pool
        return max(settings().journal.keep_s, pool.lock_s + pool.cooldown_s)

    member = member_of(settings, spool, database, troubles)
    shipper = Shipper(spool, writer, database, troubles, keep_s=keep_s, claim=member.claim)

    async def ship() -> None:
        await member.decided.wait()
        await shipper.run()

    await _patiently(shipper.find_position, troubles)
    member.follow(_ShipperFollows(shipper))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted, "shipper", ship)
        await member.join()
        nursery.start_soon(restarted, "membership", member.run)
        await shipper.flush()
        yield Journal(spool, writer, shipper, member)
        with trio.move_on_after(SHIP_S) as shipping:
            await writer.durable()
            await shipper.flush()
        nursery.cancel_scope.cancel()
    if shipping.cancelled_caught:
        log.warning("not_all_shipped", effect="the rest is in the spool for the next start")
    else:
        await member.leave()


class _PoolsFollow(Follower):
    def __init__(self, directory: PoolDirectory) -> None:
        self._directory = directory

    async def look_again(self) -> None:
        for post in self._directory:
            await post.mailbox.send(Adopt(()))  # whatever comes, an actor looks at its requests first

    async def start_over(self) -> None:
        done = []
        for post in self._directory:
            done.append(trio.Event())
            await post.mailbox.send(StartOver(done[-1].set))
        for event in done:
            await event.wait()


@asynccontextmanager
async def pools_loaded(
    settings: Callable[[], Settings],
    database: Database,
    journal: Journal,
    offers: Offers,
    also: Mapping[str, Callable[[], Awaitable[None]]],
    troubles: Troubles,
) -> AsyncIterator[Pools]:
    """The pools as the rows have them, an actor for each. They end when all that was sent to them is handled.

    An IP that rests by what the spool still knows rests, whatever its row says. `also`: other tables whose changes are
    announced, see Adoption.
    """
    bodies = await trio.to_thread.run_sync(journal.spool.bodies, "ip_changed")
    departed = rests_known(bodies, read_clocks(), settings().pool.cooldown_s)
    providers = ProviderHealth(_say_provider)
    async with trio.open_nursery() as actors:

        def start_actor(pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
            actor = PoolActor(
                pool, mailbox, journal.writer, read_clocks, journal.member.may_lease, providers.spared, publish
            )
            actors.start_soon(run_pool_actor, actor, database, journal.shipper.flush, read_clocks, troubles)

        def new_pool(country: str) -> Pool:
            return Pool(country, rules_of(settings()), departed, random.random)

        directory = PoolDirectory(new_pool, start_actor)
        journal.member.follow(_PoolsFollow(directory))
        remember = functools.partial(remember_offers, settings().state_dir)
        adoption = Adoption(database, directory, offers, read_clocks, troubles, remember, also)
        async with trio.open_nursery() as listening:
            listening.start_soon(restarted, "adoption", adoption.run)
            await adoption.compared.wait()
            yield Pools(directory, offers, adoption, providers)
            listening.cancel_scope.cancel()
        directory.close()


@asynccontextmanager
async def workers_ready(
    settings: Settings, database: Database, pools: Pools, journal: Journal, troubles: Troubles
) -> AsyncIterator[Workers]:
    """`trace.workers` of them. Leaving cancels the traces that go on behind their visitors' backs."""
    trace = settings.trace
    fetcher = fetcher_of(settings)
    backends = Backends(settings, fetcher)
    tracer = Tracer(
        backends,
        pools.directory,
        journal.writer,
        read_clocks,
        limits=limits_of(settings),
        timeout_s=trace.timeout_s,
        retries_max=trace.retries_max,
    )
    tracer.spending.prices = prices_of(settings)
    tracer.providers = pools.providers

    async def read_spending() -> None:
        tracer.spending.begin(read_clocks().wall_s, await database.fetch("traffic_today"))

    await _patiently(read_spending, troubles)
    send, receive = trio.open_memory_channel[TraceJob](trace.queue_max)
    with send, receive:
        async with trio.open_nursery() as nursery:
            for number in range(trace.workers):
                nursery.start_soon(restarted, f"worker {number}", tracer.work, receive.clone)
            checker = Checker(fetcher, pools.directory, read_clocks, settings)
            checker.providers = pools.providers
            prober = Prober(checker, pools.directory, read_clocks, random.random)
            yield Workers(tracer, backends, checker, prober, send)
            nursery.cancel_scope.cancel()
        tracer.abandon(receive)
    await backends.aclose()
