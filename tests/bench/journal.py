"""The journal on a real disk: the wait for durable leases, CPU time per click, and entries shipped per second.

The wait for a lease is measured from the Acquire in the actor's mailbox to the durable answer.
"""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from random import Random

import trio
import trio_asyncio

from daemon.database.postgres import open_database
from daemon.host.clocks import read_clocks
from daemon.journal.entries import Entry, Recorder, TraceProcessing, encode
from daemon.journal.shipper import Shipper
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter
from daemon.pool.actor import PoolActor
from daemon.pool.messages import Acquire, Lease, Message, NoIPAvailable, Release
from daemon.pool.pool import Pool
from daemon.pool.states import Event, Ip, Rules
from daemon.settings import model
from daemon.troubles import Troubles
from tests.bench.clicked import entries_of, fill_spool, finished, hit, ids_of_ips, pending
from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import BenchmarkBroke, Scene, add_idle_ips

IPS = 10_000
RATE = 200.0
CLICK_RATE = 50.0
HELD_S = 0.2
REQUESTERS = 200
ENTRIES = 100_000
TARGETS_MS = ((0.5, "median", 3.0), (0.99, "p99", 20.0))
TARGET_PER_S = 10_000.0
Mailbox = trio.MemorySendChannel[Message]


class MemoryJournal:
    """Encodes entries as the journal does, and drops them."""

    def __init__(self) -> None:
        self._taken: list[tuple[str, str]] = []

    def record(self, *entries: Entry) -> None:
        self._taken += map(encode, entries)
        if len(self._taken) > 1_000:
            self._taken.clear()

    async def durable(self, *entries: Entry) -> bool:
        self.record(*entries)
        return True


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    length_s = 4.0 if quick else 15.0
    say(f"{RATE:g} leases/s for {length_s:g} s")
    waits_ms = trio.run(_open_loop, scene.fresh_dir("spool") / "journal.sqlite", length_s)
    say(f"as many leases as {REQUESTERS} requesters can get")
    most_per_s = trio.run(_closed_loop, scene.fresh_dir("spool") / "journal.sqlite", length_s / 3)
    commit_ms = quantile(_commits_ms(scene.fresh_dir("spool") / "journal.sqlite"), 0.5)
    figures = [
        Figure(
            f"a durable lease at {RATE:g}/s, {word}",
            quantile(waits_ms, share),
            "ms",
            target_ms,
            reference=commit_ms,
            beside="one commit of one entry, median",
        )
        for share, word, target_ms in TARGETS_MS
    ]
    figures.append(
        Figure(
            "durable leases, each released again",
            most_per_s,
            "/s",
            reference=1_000 / commit_ms,
            beside="commits of one entry, one after the other",
            note=f"{REQUESTERS} requesters",
        )
    )
    return [*figures, _cost(scene, length_s, say), _shipping(scene, quick, say)]


def _cost(scene: Scene, length_s: float, say: Callable[[str], None]) -> Figure:
    say(f"the journal's entries of {CLICK_RATE:g} clicks/s: in memory, on disk, and shipped")
    memory_ms = trio.run(_clicks_in_memory, length_s)
    disk_ms = trio.run(_clicks_on_disk, scene.fresh_dir("spool") / "journal.sqlite", length_s)
    url = scene.database()
    add_idle_ips(url, IPS)
    shipped_ms = trio_asyncio.run(_clicks_shipped, url, scene.fresh_dir("spool") / "journal.sqlite", length_s)
    return Figure(
        f"CPU of the journal per click at {CLICK_RATE:g} clicks/s",
        shipped_ms - memory_ms,
        "ms",
        reference=memory_ms,
        beside="the same clicks' pool and entries, journal in memory",
        note=f"made durable {shown(disk_ms - memory_ms, 'ms')}, shipped {shown(shipped_ms - disk_ms, 'ms')}",
    )


def _shipping(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    entries = ENTRIES // 10 if quick else ENTRIES
    say(f"shipping {entries:,} entries")
    url = scene.database()
    add_idle_ips(url, IPS)
    path = scene.fresh_dir("spool") / "journal.sqlite"
    fill_spool(path, entries_of(ids_of_ips(url, "us"), entries))
    took_s, cpu_s = trio_asyncio.run(_ship, url, path)
    return Figure(
        "shipping to PostgreSQL",
        entries / took_s,
        "entries/s",
        TARGET_PER_S,
        at_least=True,
        note=f"{entries:,} entries of clicks; {shown(cpu_s / entries * 1e6, 'µs')} of our CPU each",
        beside="nothing else ships entries",
    )


@asynccontextmanager
async def _spooled(path: Path) -> AsyncIterator[JournalWriter]:
    spool = Spool(path)
    writer = JournalWriter(spool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        yield writer
        nursery.cancel_scope.cancel()
    spool.close()


@asynccontextmanager
async def _actor(journal: Recorder, ip_ids: list[uuid.UUID], cooldown_s: float) -> AsyncIterator[Mailbox]:
    pool = Pool("us", Rules(cooldown_s=cooldown_s))
    pool.load(Ip(ip_id, f"p{i}.example", "7000", "us", "luna") for i, ip_id in enumerate(ip_ids))
    send, receive = trio.open_memory_channel[Message](10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PoolActor(pool, receive, journal, read_clocks).run, [])
        yield send
        nursery.cancel_scope.cancel()


def _some_ids() -> list[uuid.UUID]:
    return [uuid.uuid4() for _ in range(IPS)]


async def _lease(mailbox: Mailbox, request_id: uuid.UUID) -> Lease:
    send, receive = trio.open_memory_channel[Lease | NoIPAvailable](1)
    await mailbox.send(Acquire(request_id, trio.current_time() + 10, send))
    answer = await receive.receive()
    if not isinstance(answer, Lease):
        raise BenchmarkBroke(f"no lease: {answer!r}")
    return answer


async def _arrivals(rate: float, length_s: float) -> AsyncIterator[None]:
    arrivals, next_s = Random(20), trio.current_time()
    ends_s = next_s + length_s
    while (next_s := next_s + arrivals.expovariate(rate)) < ends_s:
        await trio.sleep_until(next_s)
        yield


async def _open_loop(path: Path, length_s: float) -> list[float]:
    waits_ms: list[float] = []

    async def one(mailbox: Mailbox) -> None:
        began_s = time.perf_counter()
        lease = await _lease(mailbox, uuid.uuid4())
        waits_ms.append((time.perf_counter() - began_s) * 1000)
        await trio.sleep(HELD_S)
        await mailbox.send(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK, 200.0))

    async with _spooled(path) as writer, _actor(writer, _some_ids(), 5.0) as mailbox, trio.open_nursery() as nursery:
        async for _ in _arrivals(RATE, length_s):
            nursery.start_soon(one, mailbox)
    return waits_ms


async def _closed_loop(path: Path, length_s: float) -> float:
    leased = 0
    ends_s = time.perf_counter() + length_s

    async def requester(mailbox: Mailbox) -> None:
        nonlocal leased
        while time.perf_counter() < ends_s:
            lease = await _lease(mailbox, uuid.uuid4())
            leased += 1
            await mailbox.send(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK, 200.0))

    async with _spooled(path) as writer, _actor(writer, _some_ids(), 0.0) as mailbox, trio.open_nursery() as nursery:
        for _ in range(REQUESTERS):
            nursery.start_soon(requester, mailbox)
    return leased / length_s


def _commits_ms(path: Path) -> list[float]:
    spool, waits_ms = Spool(path), []
    for entry in islice(entries_of(_some_ids(), 300), 300):
        encoded = [encode(entry)]
        began_s = time.perf_counter()
        spool.append(encoded)
        waits_ms.append((time.perf_counter() - began_s) * 1000)
    spool.close()
    return waits_ms


async def _click_cpu_ms(journal: Recorder, ip_ids: list[uuid.UUID], length_s: float) -> float:
    """This process's CPU time per click; each click has seven entries, as a real one."""
    clicks = 0

    async def one(mailbox: Mailbox) -> None:
        request_id = uuid.uuid4()
        journal.record(pending(request_id, time.time()))
        lease = await _lease(mailbox, request_id)
        journal.record(TraceProcessing(request_id, lease.address, time.time(), 2))
        await trio.sleep(HELD_S)
        await mailbox.send(Release(lease.ip_id, lease.lease_no, Event.RELEASED_OK, 200.0))
        journal.record(finished(request_id, time.time(), lease.ip_id))
        await journal.durable(hit(request_id, time.time()))

    async with _actor(journal, ip_ids, 1.0) as mailbox:
        began_s = time.process_time()
        async with trio.open_nursery() as nursery:
            async for _ in _arrivals(CLICK_RATE, length_s):
                clicks += 1
                nursery.start_soon(one, mailbox)
        await trio.sleep(1.5)  # the last cooldowns end
        return (time.process_time() - began_s) / clicks * 1000


async def _clicks_in_memory(length_s: float) -> float:
    return await _click_cpu_ms(MemoryJournal(), _some_ids(), length_s)


async def _clicks_on_disk(path: Path, length_s: float) -> float:
    async with _spooled(path) as writer:
        return await _click_cpu_ms(writer, _some_ids(), length_s)


@asynccontextmanager
async def _shipped(url: str, path: Path) -> AsyncIterator[tuple[JournalWriter, Shipper]]:
    async with open_database(url, model.Database(connections_max=4)) as database:
        spool = Spool(path)
        writer = JournalWriter(spool)
        shipper = Shipper(spool, writer, database, Troubles())
        await shipper.find_position()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            nursery.start_soon(shipper.run)
            yield writer, shipper
            nursery.cancel_scope.cancel()
        spool.close()


async def _clicks_shipped(url: str, path: Path, length_s: float) -> float:
    ip_ids = await trio.to_thread.run_sync(ids_of_ips, url, "us")
    async with _shipped(url, path) as (writer, _):
        return await _click_cpu_ms(writer, ip_ids, length_s)


async def _ship(url: str, path: Path) -> tuple[float, float]:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    async with _shipped(url, path) as (_, shipper):
        await shipper.flush()
        if shipper.refused:
            raise BenchmarkBroke(f"PostgreSQL refused {shipper.refused} entries")
        return time.perf_counter() - began_s, time.process_time() - began_cpu_s
