"""The TCP connections to PostgreSQL go silent, are refused or are reset; or the server behind them is frozen.

On a silent connection no data arrives, but neither end is notified, and sent data waits. In the short form the daemon's
time limits are short as well, so that they expire within the outage, as in the long form.
"""

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio
import trustme

from daemon.database import cluster
from tests.fakes.relay import Relay, open_relay, socket_url
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Knobs, Stage
from tests.faults.visible import said, well_again

DATABASE_AWAY = "PostgreSQL"
"""A word in every trouble about the database."""
OUTAGE_MIN_S = 12.0
"""Longer than the daemon's own limit for a server that does not answer, which is some seconds above SHORT_LIMITS."""
OUTAGE_LONG_S = 30.0
SHORT_LIMITS = {"connect_timeout_s": 2, "statement_timeout_s": 3}
RESETS_S = 4.0
CUT_BYTES_MAX = 400


def by_relay(*, tls: bool, **parameters: str) -> Callable[[Scene, Knobs], AbstractAsyncContextManager[None]]:
    """The daemon connects to PostgreSQL through a relay, with these parameters in database.url."""

    @asynccontextmanager
    async def equip(scene: Scene, knobs: Knobs) -> AsyncIterator[None]:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        async with open_relay(scene.postgres.server.socket_dir / cluster.SOCKET_NAME, context) as relay:
            scene.relay, scene.url = relay, socket_url(relay.port, **parameters)
            if knobs.outage_s < OUTAGE_LONG_S:
                scene.settings = {**scene.settings, "database": SHORT_LIMITS}
            yield

    return equip


async def went_silent(stage: Stage, relay: Relay) -> str:
    """Afterwards the connections either go on or are reset."""
    relay.silence()
    await _away(stage)
    forgotten = stage.rng.random() < 0.5
    if forgotten:
        relay.reset_all()
    await relay.open()
    return "silent; at its end " + ("every connection was reset" if forgotten else "every connection went on")


async def was_frozen(stage: Stage, _: Relay) -> str:
    postgres = stage.scene.postgres
    await trio.to_thread.run_sync(postgres.freeze)
    await _away(stage)
    await trio.to_thread.run_sync(postgres.thaw)
    return "there, and PostgreSQL frozen behind it"


async def was_refused(stage: Stage, relay: Relay) -> str:
    relay.refuse()
    await _away(stage)
    await relay.open()
    return "reset, and refused from then on"


async def was_reset(stage: Stage, relay: Relay) -> str:
    """Reset connections again and again, each time within another answer of PostgreSQL."""
    resets, ends_s = relay.accepted, time.monotonic() + RESETS_S
    while time.monotonic() < ends_s:
        relay.cut_after(stage.rng.randrange(1, CUT_BYTES_MAX))
        await trio.sleep(stage.rng.uniform(0.1, 0.5))
    await relay.open()
    return f"reset in the middle of an answer, with {relay.accepted - resets} new connections"


async def _away(stage: Stage) -> None:
    """Let the outage last; expect that the daemon reports it before its end."""
    began_s, outage_s = time.monotonic(), max(OUTAGE_MIN_S, stage.knobs.outage_s)
    await said(stage, DATABASE_AWAY, "database_unavailable", outage_s)
    await trio.sleep(max(0.0, began_s + outage_s - time.monotonic()))


def each_in_turn(*ways: Callable[[Stage, Relay], Awaitable[str]]) -> Callable[[Stage], Awaitable[str]]:
    async def broke(stage: Stage) -> str:
        relay = stage.scene.relay
        assert relay is not None
        await trio.sleep(stage.rng.uniform(0.2, 1.0))
        began_s = time.monotonic()
        what = await ways[stage.turn() % len(ways)](stage, relay)
        lasted_s = time.monotonic() - began_s
        rows_s = await well_again(stage)
        return f"the link was {what}; {lasted_s:.1f} s; rows there {rows_s:.2f} s later"

    return broke


CONTAINED = frozenset({"database_unavailable", "loop_exception"})
FAULTS = (
    Fault(
        "silent-link",
        "TCP to PostgreSQL goes silent, is refused, is reset within answers; the server frozen behind it",
        each_in_turn(went_silent, was_reset, was_frozen, was_refused),
        rounds=4,
        errors=CONTAINED,
        all_resolved=True,
        equip=by_relay(tls=False),
    ),
    Fault(
        "silent-link-tls",
        "the same with TLS up to PostgreSQL (sslmode=require)",
        each_in_turn(went_silent, was_reset),
        rounds=2,
        errors=CONTAINED,
        all_resolved=True,
        equip=by_relay(tls=True, sslmode="require"),
    ),
)
