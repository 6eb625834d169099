"""What ownership costs at PostgreSQL: statements of nodes, CPU of many nodes' renewals, and taking 100,000 IPs.

Renewals: the statement of the daemon, each second for each node, in a transaction of its own, over some connections
from this process. CPU time is that of all of the server's processes, beyond the same time without renewals.
"""

import asyncio
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import asyncpg

from daemon.database.queries import QUERIES
from daemon.nodes.figures import ENCODER, CountryFigures, NodeFigures
from daemon.nodes.membership import PROTOCOL
from daemon.nodes.peers import is_reading_due, peer_of
from tests.bench.figures import Figure, shown
from tests.bench.scene import Scene, add_idle_ips, add_ips, add_offer, execute, loaded, start_load

IPS = 100_000
NODES = (20, 100)
COUNTRIES = 20
CONNECTIONS = 20
RATE = 20.0
OF_OWNERSHIP = ("renew_node", "join_node", "leave_node", "take_ips", "find_beat", "mark_lost", "free_ips",
                "enter_unknown_owners")  # fmt: skip
STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): (.*)")


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> Iterator[Figure]:
    yield _statements(scene, quick, say)
    yield from _renewals(scene, quick, say)
    yield _joined(scene, quick, say)


def _statements(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """From the server's own log, of two nodes, without clicks and with clicks."""
    length_s = 5.0 if quick else 15.0
    url = scene.database()
    first_lines = {QUERIES[name].partition("\n")[0].encode(): name for name in OF_OWNERSHIP}
    with scene.network(40) as network:
        add_ips(url, network)
        add_offer(url, "plain", network.chain_url(2, 50))
        execute(url, f"alter database {url.partition('?')[0].rpartition('/')[2]} set log_statement = 'all'")
        with scene.daemon(url, {"node": {"name": "one"}}) as one, scene.daemon(url, {"node": {"name": "two"}}) as two:
            time.sleep(2.0)
            rates: list[float] = []
            counted: Counter[str] = Counter()
            for rate in (0.0, RATE):
                say(f"statements of 2 nodes for {length_s:g} s, {rate:g} clicks/s at each")
                from_byte = scene.server_log.stat().st_size
                if rate:
                    loads = [
                        start_load("clicks", its.click_url("plain"), str(rate), str(length_s)) for its in (one, two)
                    ]
                    for load in loads:
                        loaded(load)
                else:
                    time.sleep(length_s)
                with scene.server_log.open("rb") as log:
                    log.seek(from_byte)
                    lines = (found[1] for found in map(STATEMENT.search, log) if found)
                    counted = Counter(first_lines[line] for line in lines if line in first_lines)
                rates.append(counted.total() / length_s / 2)
    each = ", ".join(f"{count / length_s / 2:.2f} {name}" for name, count in counted.most_common())
    return Figure(
        "statements for ownership, per node and second, under load",
        rates[1],
        "/s",
        2.0,
        reference=rates[0],
        beside="without clicks",
        note=f"2 nodes, {RATE:g} clicks/s each: {each}",
    )


def _renewals(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    length_s = 5.0 if quick else 15.0
    figures = []
    for count in NODES:
        say(f"renewals of {count} nodes for {length_s:g} s")
        cpu_share, read_ms = asyncio.run(_renewed(scene, scene.database(), count, length_s))
        figures.append(
            Figure(
                f"PostgreSQL's CPU for {count} nodes' renewals",
                100 * cpu_share,
                "% of a core",
                2.0 if count == min(NODES) else None,
                note=f"{COUNTRIES} countries in each node's figures; each time a node reads all "
                f"rows, that costs it {shown(read_ms, 'ms')}",
            )
        )
    return figures


async def _renewed(scene: Scene, url: str, count: int, length_s: float) -> tuple[float, float]:
    """The server's CPU seconds per second, and the milliseconds per second that a node takes to decode rows."""
    country = CountryFigures(available=1_234, locked=56, cooldown=789, failed=12, wanted_per_s=3.21, adopted=4_321)
    figures = ENCODER.encode(NodeFigures(countries={f"c{i}": country for i in range(COUNTRIES)})).decode()
    connections = [await asyncpg.connect(url) for _ in range(min(count, CONNECTIONS))]
    nodes = [(uuid.uuid4(), uuid.uuid4()) for _ in range(count)]
    for number, (node, claim) in enumerate(nodes):
        values = node, f"node-{number}", 1, claim, 900.0, 160.0, "1", PROTOCOL, figures
        await connections[0].fetchrow(QUERIES["join_node"], *values)
    rows: list[asyncpg.Record] = []
    each = next(beats for beats in range(1, 9) if is_reading_due(count, beats, hurried=False))

    async def renew(connection: asyncpg.Connection, mine: list[tuple[uuid.UUID, uuid.UUID]], seconds: float) -> None:
        nonlocal rows
        begins_s = time.monotonic()
        for beat in range(round(seconds)):
            for at, (node, claim) in enumerate(mine):
                reads = (beat + at) % each == 0
                await asyncio.sleep(max(0.0, begins_s + beat + at / len(mine) - time.monotonic()))
                await connection.execute("begin")
                found = await connection.fetch(QUERIES["renew_node"], node, claim, 900.0, 160.0, figures, False, reads)
                rows = found if reads else rows
                await connection.execute("commit")

    async def all_renew(seconds: float) -> None:
        shares = ((one, nodes[at :: len(connections)]) for at, one in enumerate(connections))
        await asyncio.gather(*(renew(one, mine, seconds) for one, mine in shares))

    await all_renew(2)  # each connection has its statement prepared
    before_s = scene.server_cpu_s()
    await asyncio.sleep(length_s)
    idle_s = scene.server_cpu_s() - before_s
    before_s = scene.server_cpu_s()
    await all_renew(length_s)
    busy_s = scene.server_cpu_s() - before_s
    began_s = time.perf_counter()
    for row in rows:
        peer_of(dict(row))
    read_ms = 1000 * (time.perf_counter() - began_s)
    for connection in connections:
        await connection.close()
    return (busy_s - idle_s) / length_s, read_ms / each


def _joined(scene: Scene, quick: bool, say: Callable[[str], None]) -> Figure:
    """The first start takes all rows, which nobody owns; a restart reads the rows that are the node's own already."""
    starts = 1 if quick else 2
    say(f"{starts} times: a start without IPs, one that takes {IPS:,} IPs, and a restart")
    empty: list[float] = []
    taken: list[float] = []
    again: list[float] = []
    for _ in range(starts):
        with scene.daemon(scene.database()) as daemon:
            empty.append(daemon.ready_s)
        url, state_dir = scene.database(), scene.fresh_dir("state")
        add_idle_ips(url, IPS)
        for found in (taken, again):
            with scene.daemon(url, state_dir=state_dir) as daemon:
                found.append(daemon.ready_s)
    empty_s, taken_s, again_s = min(empty), min(taken), min(again)
    return Figure(
        f"{IPS:,} IPs joined and owned, in parts of the time to load them",
        (taken_s - empty_s) / max(0.001, again_s - empty_s),
        "",
        1.5,
        reference=1.0,
        beside=f"a restart with the rows its own: {shown(again_s - empty_s, 's')} beyond a start without IPs",
        note=f"{shown(taken_s - empty_s, 's')} beyond a start without IPs, which takes {shown(empty_s, 's')}",
    )
