"""More clicks than can be traced: each is answered, at once where a limit is reached; afterwards the service is normal.

No test compares waits with fixed times: immediate answers are compared with waits in the same run.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fakes.network import FakeNetwork
from tests.fakes.wire import free_port
from tests.support.exchange import exchange
from tests.support.processes import Serving, network_of, offer, provision, serving
from tests.support.waiting import PATIENCE_S, until

ADDRESSES = tuple(f"127.2.2.{number}" for number in range(1, 9))
OFFER = "sale"
HOPS, HOP_MS = 3, 300
TRACE_MS = (HOPS + 1) * HOP_MS
DEADLINE_S = 6
COOLDOWN_S = 0.2
BURST = 40
BURSTS = 3
NORMAL_AFTER_S = 5.0
"""After the load, service is promised to be normal within this."""
QUEUES = {
    "connections",
    "clicks_waiting",
    "traces_waiting_for_a_worker",
    "workers_busy",
    "entries_waiting_for_the_disk",
    "journal_spool_bytes",
    "edits_to_be_adopted",
    "waiting_for_an_ip_us",
    "mailbox_us",
}

Settings = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Burst:
    """Simultaneous clicks. `reasons`: of each click, None if resolved. `waits_ms`: by reason, shortest first."""

    reasons: Counter[str | None]
    waits_ms: dict[str | None, list[float]]

    def answered_at_once(self, reason: str, *, of: int) -> bool:
        """So many clicks have this reason, and each was answered before a trace could have ended."""
        return len([wait_ms for wait_ms in self.waits_ms.get(reason, []) if wait_ms < TRACE_MS / 2]) == of


async def burst(daemon: Serving, count: int, begin: int = 0) -> Burst:
    """Send simultaneous clicks; each must be redirected as its offer or its trace requires, with its own parameter."""
    seen = len(daemon.log("click"))

    async def one(number: int) -> None:
        answer = await exchange(daemon.port, f"/track-hit?offer={OFFER}&gclid=g{number}")
        assert answer is not None
        status, headers = answer
        assert status == 302
        assert headers["location"].startswith("http://")
        assert f"gclid=g{number}" in headers["location"]

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for number in range(begin, begin + count):
                nursery.start_soon(one, number)
    lines = (await daemon.logged("click", seen + count))[seen:]
    waits_ms: dict[str | None, list[float]] = {}
    for line in sorted(lines, key=lambda line: float(line["wait_ms"])):
        waits_ms.setdefault(line["reason"], []).append(line["wait_ms"])
    return Burst(Counter(line["reason"] for line in lines), waits_ms)


@asynccontextmanager
async def overloaded(
    state_dir: Path, settings: Settings, ips: int, hop_ms: int = HOP_MS
) -> AsyncIterator[tuple[Serving, FakeNetwork]]:
    """Run a daemon with so many IPs and an offer that takes TRACE_MS; at the end it has no trouble and stops with 0."""
    sections: dict[str, dict[str, Any]] = {
        "click": {"deadline_s": DEADLINE_S},
        "pool": {"cooldown_s": COOLDOWN_S},
        "trace": {"allow_private": True},
    }
    for section, values in settings.items():
        sections.setdefault(section, {}).update(values)
    async with network_of(ADDRESSES[:ips]) as network, serving(state_dir, sections) as daemon:
        await provision(daemon, network, ADDRESSES[:ips])
        await offer(daemon, OFFER, network.chain_url(HOPS, hop_ms))
        yield daemon, network
        assert set(daemon.status()["queues"]) == QUEUES
        await until(lambda: is_idle(daemon), "every queue is empty again", NORMAL_AFTER_S)
        assert await daemon.stop() == 0
        assert daemon.faults() == []


def is_idle(daemon: Serving) -> bool:
    queues = daemon.status()["queues"]
    return not any(queue["length"] for name, queue in queues.items() if name != "journal_spool_bytes")


async def normal(daemon: Serving, clicks: int) -> None:
    """Soon after a load, as many clicks as there are IPs are resolved.

    The IPs of the clicks before have rested then: more clicks than pool.waiting_max must not wait for an IP.
    """
    with trio.move_on_after(NORMAL_AFTER_S):
        while True:
            await trio.sleep(2 * COOLDOWN_S)
            if (await burst(daemon, clicks)).reasons == {None: clicks}:
                return
    pytest.fail("the load has ended, and clicks are not resolved")


async def test_with_all_workers_busy_and_their_queue_full_clicks_fall_back_at_once(state_dir: Path) -> None:
    settings: Settings = {"trace": {"workers": 3, "queue_max": 2}}
    async with overloaded(state_dir, settings, ips=8) as (daemon, network):
        found = await burst(daemon, BURST)
        assert found.reasons == {None: 5, "overload": BURST - 5}
        assert found.answered_at_once("overload", of=BURST - 5)
        await normal(daemon, 3)
        begun = {event.cid for event in network.log.of_origin()}
        assert len(begun) == len(daemon.log("trace")), "a click that was answered at once is not traced"


async def test_with_no_ip_free_and_its_queue_full_clicks_fall_back_at_once(state_dir: Path) -> None:
    """All workers are busy: two trace, the other four wait for an IP as long as one may be available in time."""
    settings: Settings = {
        "trace": {"workers": 6, "queue_max": 50},
        "pool": {"waiting_max": 4, "cooldown_s": 3},
        "click": {"deadline_s": 8},
    }
    async with overloaded(state_dir, settings, ips=2, hop_ms=1_500) as (daemon, _):

        def waiting() -> int:
            return int(daemon.status()["queues"]["waiting_for_an_ip_us"]["length"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(burst, daemon, 6)
            await until(lambda: waiting() == 4, "four wait for an IP")
            async with trio.open_nursery() as late:
                for number in range(6, BURST):
                    late.start_soon(exchange, daemon.port, f"/track-hit?offer={OFFER}&gclid=g{number}")
            assert waiting() == 4, "later clicks were answered before them"
        answers = [(line["reason"], line["wait_ms"]) for line in daemon.log("click")]
        assert Counter(reason for reason, _ in answers) == {None: 2, "no_ip": BURST - 2}
        late_ones = BURST - 6
        assert [reason for reason, _ in answers][:late_ones] == ["no_ip"] * late_ones, "no trace had to end first"
        hits = await until_rows(daemon, "select coalesce(reason, 'resolved'), count(*) from hits group by 1", BURST)
        assert hits == {"resolved": 2, "no_ip": BURST - 2}


async def test_with_dead_proxies_alone_no_click_waits_for_its_deadline(state_dir: Path) -> None:
    """Three proxies refuse connections; after that each cooldown is longer than a visitor waits."""
    deadline_s, dead_port = 8, free_port()
    rows = ", ".join(f"('{address}', '{dead_port}', 'us')" for address in ADDRESSES[:3])
    async with serving(state_dir, {"click": {"deadline_s": deadline_s}}) as daemon:
        await daemon.psql(f"INSERT INTO ip_rotation_pool (ip_address, ip_port, country) VALUES {rows}")
        await offer(daemon, OFFER, "http://ads.example/")
        await until(lambda: daemon.counts("us")["total"] == 3, "the IPs are adopted")
        found = await burst(daemon, 5)
        assert set(found.reasons) <= {"trace_failed", "no_ip"}
        assert max(wait_ms for waits_ms in found.waits_ms.values() for wait_ms in waits_ms) < deadline_s * 1000 / 2
        again = await burst(daemon, 5, begin=5)
        assert again.reasons == {"no_ip": 5}, "all IPs rest"
        assert again.waits_ms["no_ip"][-1] < deadline_s * 1000 / 2
        assert await daemon.stop() == 0


async def test_past_waiting_max_clicks_fall_back_at_once(state_dir: Path) -> None:
    settings: Settings = {"click": {"waiting_max": 6}}
    async with overloaded(state_dir, settings, ips=8) as (daemon, _):
        found = await burst(daemon, BURST)
        assert found.reasons == {None: 6, "overload": BURST - 6}
        assert found.answered_at_once("overload", of=BURST - 6)
        await normal(daemon, 6)


async def test_under_ten_times_what_can_be_traced_no_queue_passes_its_bound(state_dir: Path) -> None:
    """8 IPs trace 8 clicks in TRACE_MS; 40 come, again and again."""
    settings: Settings = {
        "trace": {"workers": 10, "queue_max": 6},
        "pool": {"waiting_max": 4},
        "click": {"deadline_s": 2.5},
    }
    async with overloaded(state_dir, settings, ips=8) as (daemon, _):
        longest: Counter[str] = Counter()
        reasons: Counter[str | None] = Counter()

        async def watch() -> None:
            while True:
                queues = (await trio.to_thread.run_sync(daemon.status))["queues"]
                for name, queue in queues.items():
                    assert queue["length"] <= queue["max"], name
                    longest[name] = max(longest[name], queue["length"])
                await trio.sleep(0.05)

        async with trio.open_nursery() as watching:
            watching.start_soon(watch)
            for number in range(BURSTS):
                reasons += (await burst(daemon, BURST, begin=number * BURST)).reasons
            watching.cancel_scope.cancel()
        assert reasons.total() == BURSTS * BURST
        assert set(reasons) <= {None, "no_ip", "overload", "deadline"}
        assert reasons["no_ip"] + reasons["overload"] > BURSTS * BURST / 2
        assert reasons[None] >= 8, "as many as there are IPs, at the least"
        assert longest["workers_busy"] == 10, "the load was beyond its means"
        await normal(daemon, 8)


async def until_rows(daemon: Serving, statement: str, total: int) -> dict[str, int]:
    """The counts by name, once their sum is `total`."""
    counts: dict[str, int] = {}
    with trio.fail_after(PATIENCE_S):
        while sum(counts.values()) < total:
            counts = {name: int(count) for name, count in await daemon.psql(statement)}
    return counts
