"""Several daemons, by default three, on one database; each has its own state directory, port and visitors."""

import inspect
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from daemon.database import cluster
from tests.fakes.events import read_log
from tests.fakes.pooler import Mode, pooler
from tests.fakes.relay import open_relay, socket_url
from tests.fakes.wire import free_port
from tests.faults.records import Down, cid_of
from tests.faults.scene import OFFERS, Scene
from tests.faults.stage import Knobs, Stage
from tests.faults.uses import Use, uses_of
from tests.faults.visible import LOOK_EVERY_S, comes
from tests.faults.visitors import Visitors
from tests.support.servers import SceneBroke

NAMES = ("first", "second", "third")
VISITORS_APART = 1_000_000
SHARED_WITHIN_S = 40.0
STILL_S = 4.0
OWNERS = """select coalesce(nodes.name, '') as node, ip_address
    from ip_rotation_pool left join nodes using (node_id)"""
TRUSTED = "select count(*) as nodes from nodes where state = 'active' and trusted_until > now()"


def beside(
    names: Sequence[str] = NAMES, *, relayed: bool = False, mode: Mode | None = None, spare: str | None = None
) -> Callable[[Scene, Knobs], AbstractAsyncContextManager[None]]:
    """Add daemons to a scene, so that there are as many as `names`, and start them. The scene's own one is the first.

    `relayed`: each daemon connects to PostgreSQL through a relay of its own. `mode`: all connect through a PgBouncer.
    `spare`: the name of a fourth daemon, which a round starts.
    """

    @asynccontextmanager
    async def equip(scene: Scene, _: Knobs) -> AsyncIterator[None]:
        settings = scene.settings
        scene.settings = _named(settings, names[0])
        for number, name in enumerate((*names, *([spare] if spare else []))):
            if number:
                scene.beside.append(_another(scene, name, _named(settings, name), number))
        server = scene.postgres.server.socket_dir / cluster.SOCKET_NAME
        async with AsyncExitStack() as stack:
            if mode:
                relay = await stack.enter_async_context(open_relay(server))
                port = await stack.enter_async_context(pooler(mode, relay.port, scene.directory))
                for daemon in scene.daemons:
                    daemon.url = socket_url(port)
            if relayed:
                for daemon in scene.daemons:
                    daemon.relay = await stack.enter_async_context(open_relay(server))
                    daemon.url = socket_url(daemon.relay.port)
            nursery = await stack.enter_async_context(trio.open_nursery())
            for daemon in scene.beside:
                daemon.write_settings()
                nursery.start_soon(daemon.visitors.run)
                if name_of(daemon) != spare:
                    await daemon.spawn()
            yield
            nursery.cancel_scope.cancel()

    return equip


def _another(scene: Scene, name: str, settings: Mapping[str, Mapping[str, object]], number: int) -> Scene:
    """One more daemon on the scene's database, which is not started. `number`: of its visitors."""
    directory = scene.directory / name
    (directory / "state").mkdir(parents=True)
    rng = random.Random(scene.visitors.rng.random())
    visitors = Visitors(free_port(), tuple(OFFERS), rng, clicks_per_s=scene.visitors.clicks_per_s)
    visitors.sent = VISITORS_APART * number
    own = tuple(word.replace(str(scene.directory), str(directory)) for word in scene.faulty)
    made = Scene(directory, scene.postgres, visitors, scene.url, faulty=own, settings=settings)
    made.network_log = scene.network_log
    now_s = time.monotonic()
    made.downs.append(Down(now_s, now_s, float("inf"), time.time(), False, visitors.port))
    return made


def _named(given: Mapping[str, Mapping[str, object]], name: str) -> dict[str, dict[str, object]]:
    settings = {section: dict(values) for section, values in given.items()}
    settings.setdefault("node", {})["name"] = name
    return settings


def name_of(daemon: Scene) -> str:
    return str(daemon.settings["node"]["name"])


async def owned(scene: Scene) -> dict[str, set[str]]:
    """The addresses of each node's IPs, by its name; '' for IPs without an owner."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in await scene.sql(OWNERS):
        found[row["node"]].add(row["ip_address"])
    return found


def running(scene: Scene) -> list[Scene]:
    return [daemon for daemon in scene.daemons if daemon.process and daemon.process.poll() is None]


async def until(holds: Callable[[], Any], what: str, patience_s: float) -> None:
    """As scene.until, but it looks less often: these conditions cost time that three daemons need."""
    with trio.move_on_after(patience_s):
        while True:
            value = holds()
            if await value if inspect.isawaitable(value) else value:
                return
            await trio.sleep(LOOK_EVERY_S)
    raise SceneBroke(f"within {patience_s:g} s this did not happen: {what}")


async def all_serve(stage: Stage) -> None:
    """Wait until all daemons serve, each with IPs of its own, by which it resolves clicks."""
    daemons = running(stage.scene)
    for daemon in daemons:
        await daemon.serving()
        if any(down.ended_s == float("inf") for down in daemon.downs):
            daemon.up()
    began_s = time.monotonic()
    for daemon in daemons:
        await until(lambda: resolved(daemon, began_s), f"{name_of(daemon)} resolves clicks", SHARED_WITHIN_S)  # noqa: B023


async def shared_out(stage: Stage) -> None:
    """Wait until each node has at least half of an even share, and no IP has moved for STILL_S."""
    names = [name_of(daemon) for daemon in running(stage.scene)]
    least = len(stage.scene.addresses) / len(names) / 2
    before: dict[str, set[str]] = {}
    since_s = time.monotonic()

    async def is_still() -> bool:
        nonlocal before, since_s
        found = await owned(stage.scene)
        if found != before:
            before, since_s = found, time.monotonic()
        are_shared = not found.get("") and all(len(found[name]) >= least for name in names)
        return are_shared and time.monotonic() >= since_s + STILL_S

    await until(is_still, f"each node has its share, and no IP moved for {STILL_S:g} s", SHARED_WITHIN_S + STILL_S)


async def victim(stage: Stage) -> tuple[Scene, set[str]]:
    """The node with the most IPs but the first one, and its IPs."""
    found = await owned(stage.scene)
    node = max(
        (one for one in running(stage.scene) if one is not stage.scene),
        key=lambda daemon: (len(found[name_of(daemon)]), stage.rng.random()),
    )
    return node, found[name_of(node)]


def resolved(daemon: Scene, from_s: float, to_s: float = float("inf")) -> int:
    """How many clicks the daemon has resolved within these times."""
    return sum(
        visit.answered and cid_of(visit.location) is not None
        for visit in daemon.visitors.visits
        if from_s <= visit.ended_s <= to_s
    )


async def used_by_others(stage: Stage, addresses: Collection[str], from_s: float, patience_s: float) -> list[float]:
    """Wait until all these IPs are in use after `from_s`. Returns when they first were, those that were, in order."""
    network = stage.scene.network_log
    first_s: dict[str, float] = {}
    from_byte = network.stat().st_size

    def all_used() -> bool:
        for event in read_log(network, from_byte):
            if event.began_s >= from_s and event.address in addresses:
                first_s[event.address] = min(event.began_s, first_s.get(event.address, event.began_s))
        return len(first_s) == len(addresses)

    await comes(stage.scene, all_used, patience_s)
    return sorted(first_s.values())


def uses_by(daemon: Scene, from_s: float) -> list[Use]:
    """The uses of IPs after `from_s` for clicks that this daemon has resolved, from the proxies' log."""
    visits = (visit for visit in daemon.visitors.visits if visit.answered and visit.ended_s >= from_s)
    cids = {cid_of(visit.location) for visit in visits}
    events = read_log(daemon.network_log)
    return [use for use in uses_of(events) if use.cid is not None and use.cid in cids and use.began_s >= from_s]


def logged(scene: Scene, event: str, but: Scene | None = None) -> int:
    """How many lines of this event the daemons' logs have."""
    return sum(len(daemon.log(event)) for daemon in scene.daemons if daemon is not but)


async def claims_held(stage: Stage) -> None:
    """Wait until each node that runs is trusted, and no other."""
    runs = running(stage.scene)

    async def held() -> bool:
        return bool((await stage.scene.sql(TRUSTED))[0]["nodes"] == len(runs))

    await until(held, f"the {len(runs)} nodes that run are trusted", SHARED_WITHIN_S)
