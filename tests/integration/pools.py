"""The pools, actors, journal and SqlSync of a daemon with one database, without its faces and workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from daemon.host.clocks import read_boot_clock, read_clocks
from daemon.nodes.identity import Identity, NodeListener
from daemon.nodes.member import Member
from daemon.offers.model import Offers
from daemon.pool.actor import PoolActor, Publish
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Counts, Lease, Message, NoIPAvailable, Release
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.pool.states import Event, Ip, Rules
from daemon.restarts import run_pool_actor
from daemon.sql_sync import SqlSync
from tests.fakes.asked import Asked
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import Journal, running_journal
from tests.support.waiting import PATIENCE_S, until

RULES = Rules(lock_s=60, cooldown_s=30, failures_max=5)


class Daemon:
    """Pools, actors, journal and SqlSync with one database. `member` has joined."""

    def __init__(self, rows: Rows, journal: Journal, member: Member, nursery: trio.Nursery) -> None:
        rests = Rests()
        rests.learn(journal.spool.bodies("ip_changed"), read_clocks(), RULES)

        self.actors: dict[str, PoolActor] = {}

        def start_actor(pool: Pool, mailbox: "trio.MemoryReceiveChannel[Message]", publish: Publish) -> None:
            actor = self.actors[pool.country] = PoolActor(
                pool, mailbox, journal.writer, read_clocks, member.may_lease, publish=publish
            )
            nursery.start_soon(
                run_pool_actor, actor, member, rows.database, journal.shipper.flush, read_clocks, journal.troubles
            )

        self.rows = rows
        self.journal = journal
        self.offers = Offers()
        self.directory = PoolDirectory(lambda country: Pool(country, RULES, rests), start_actor, read_clocks)
        self.member = member
        self.sql_sync = SqlSync(member, rows.database, self.directory, self.offers, read_clocks, journal.troubles)
        member.subscribe(NodeListener(self.directory.recheck_requests, rejoined=self.directory.start_over))
        member.subscribe(NodeListener(rejoined=self.sql_sync.compare_soon))

    def counts(self, country: str) -> Counts:
        post = self.directory.known(country)
        return post.view.counts if post else Counts(0, 0, 0, 0, 0, 0)

    def ips(self, country: str) -> list[Ip]:
        return list(self.actors[country].pool.ips.values()) if country in self.actors else []

    def statuses(self, country: str) -> dict[str, str]:
        return {ip.address: ip.status.value for ip in self.ips(country)}

    async def acquire(self, country: str, patience_s: float = 5) -> Lease | NoIPAvailable:
        post = self.directory.known(country)
        assert post is not None
        asked = Asked(patience_s)
        with trio.fail_after(PATIENCE_S):
            await post.mailbox.send(asked.message)
            async with asked.receive:
                return await asked.receive.receive()

    async def lease(self, country: str) -> Lease:
        lease = await self.acquire(country)
        assert isinstance(lease, Lease)
        return lease

    async def release(self, lease: Lease, event: Event = Event.RELEASED_OK) -> None:
        post = self.directory.known(lease.country)
        assert post is not None
        await post.mailbox.send(Release(lease.ip_id, lease.lease_no, event, 10.0))

    async def row(self, address: str) -> dict[str, object]:
        await self.journal.flush()
        [row] = await self.rows.sql("select * from ip_rotation_pool where ip_address = $1", address)
        return row

    async def until_row(self, address: str, **values: object) -> None:
        async def is_so() -> bool:
            row = await self.row(address)
            return {name: row[name] for name in values} == values

        await until(is_so)


async def joined(rows: Rows, journal: Journal, name: str) -> Member:
    """A node with the spool of `journal`, which has joined."""
    identity = Identity(journal.spool.node_id, name, journal.spool.epoch, 900.0, lambda: 160.0)
    member = Member(rows.database, identity, journal.troubles, read_boot_clock)
    await member.join()
    return member


@asynccontextmanager
async def daemon_on(postgres: PostgresServer, tmp_path: Path, *before: str) -> AsyncIterator[Daemon]:
    """`before`: SQL that was run while the daemon was stopped."""
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        for statement in before:
            await rows.sql(statement)
        async with trio.open_nursery() as nursery:
            daemon = Daemon(rows, journal, await joined(rows, journal, "here"), nursery)
            await daemon.sql_sync.compare()
            nursery.start_soon(daemon.sql_sync.run)
            nursery.start_soon(daemon.member.run)
            await rows.add_offer("sentinel")
            await until(lambda: daemon.offers.find("sentinel"))
            await rows.sql("truncate offers")
            await until(lambda: not len(daemon.offers))  # now it listens, and has compared
            yield daemon
            nursery.cancel_scope.cancel()
