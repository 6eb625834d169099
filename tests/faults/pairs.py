"""A scene with two daemons on one database; the second has its own state directory, port and visitors."""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import trio

from daemon.database import cluster
from tests.fakes.pooler import Mode, pooler
from tests.fakes.relay import open_relay, socket_url
from tests.fakes.wire import free_port
from tests.faults.records import Down
from tests.faults.scene import OFFERS, Scene
from tests.faults.stage import Knobs
from tests.faults.visitors import Visitors

FIRST, SECOND = "first", "second"
SECOND_VISITORS_FROM = 1_000_000


def beside_a_second(
    *, relayed: bool = False, mode: Mode | None = None
) -> Callable[[Scene, Knobs], AbstractAsyncContextManager[None]]:
    """Add a second daemon to a scene.

    `relayed`: the first daemon connects to PostgreSQL through a relay. `mode`: both connect through a PgBouncer.
    """

    @asynccontextmanager
    async def equip(scene: Scene, _: Knobs) -> AsyncIterator[None]:
        directory = scene.directory / SECOND
        (directory / "state").mkdir(parents=True)
        rng = random.Random(scene.visitors.rng.random())
        visitors = Visitors(free_port(), tuple(OFFERS), rng, clicks_per_s=scene.visitors.clicks_per_s)
        visitors.sent = SECOND_VISITORS_FROM
        second = Scene(
            directory, scene.postgres, visitors, scene.url, faulty=scene.faulty, settings=_named(scene, SECOND)
        )
        scene.settings = _named(scene, FIRST)
        scene.beside.append(second)
        now_s = time.monotonic()
        second.downs.append(Down(now_s, now_s, float("inf"), time.time(), False, visitors.port))
        async with AsyncExitStack() as stack:
            if relayed or mode:
                server = scene.postgres.server.socket_dir / cluster.SOCKET_NAME
                scene.relay = await stack.enter_async_context(open_relay(server))
                scene.url = socket_url(scene.relay.port)
            if mode and scene.relay:
                port = await stack.enter_async_context(pooler(mode, scene.relay.port, scene.directory))
                scene.url = second.url = socket_url(port)
            second.write_settings()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(visitors.run)
                yield
                nursery.cancel_scope.cancel()

    return equip


def _named(scene: Scene, name: str) -> dict[str, dict[str, object]]:
    settings = {section: dict(values) for section, values in scene.settings.items()}
    settings.setdefault("node", {})["name"] = name
    return settings
