"""`tracepool demo`: builds up what it shows, sends its clicks, judges what came of them, and goes on serving.

Everything is a context manager inside the one before, so that whatever ends the demo takes all of it down in order: the
daemon, its database, the network, the directory. A signal cancels the whole.
"""

import math
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio

from daemon.database.postgres import Database, database_loop
from daemon.demo.daemon_process import DaemonProcess, running_daemon
from daemon.demo.display import Display
from daemon.demo.network import DemoNetwork
from daemon.demo.showcase import ADDRESSES, ALL_ADDRESSES, CLICKS, OFFERS, Offer, Terms, broken_promises
from daemon.demo.surroundings import ad_network, private_state_dir, provisioned_database
from daemon.demo.visitors import later_clicks, send_clicks
from daemon.errors import DatabaseUnavailable
from daemon.settings.model import Settings

KEPT, BROKEN = 0, 1
SIGNAL_STATUS = 128  # plus the signal's number, as shells have it
LATER_POLL_S = 0.5
TRY_GCLID = "try-me"


@dataclass(slots=True)
class _Outcome:
    """`status` of the clicks, once they were judged; `signal` that ended the demo."""

    status: int | None = None
    signal: int | None = None

    def exit_status(self) -> int:
        if self.status is not None:
            return self.status
        return SIGNAL_STATUS + self.signal if self.signal is not None else BROKEN


@dataclass(frozen=True, slots=True)
class _Stage:
    """What was built up."""

    state_dir: Path
    network: DemoNetwork
    database: Database
    daemon: DaemonProcess


def run_demo(*, once: bool, as_json: bool) -> int:
    """The exit status: 0 if every click got what its offer promises, 1 if not, 130 or 143 if a signal came before.

    Raises TheirFault where the surroundings cannot be built up: no loopback range, no ports, no database.
    """
    outcome = _Outcome()
    trio.run(_main, Display(as_json=as_json), once, outcome)
    return outcome.exit_status()


async def _main(display: Display, once: bool, outcome: _Outcome) -> None:
    async with database_loop(), trio.open_nursery() as nursery:
        show = trio.CancelScope()
        await nursery.start(_cancel_at_signal, show, display, outcome)
        with show:
            await _show(display, once, outcome)
        nursery.cancel_scope.cancel()


async def _cancel_at_signal(
    show: trio.CancelScope,
    display: Display,
    outcome: _Outcome,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:  # further ones change nothing: what is under way is the taking down
            if outcome.signal is None:
                outcome.signal = number
                display.say("\nStopping the daemon, removing everything.")
                show.cancel()


async def _show(display: Display, once: bool, outcome: _Outcome) -> None:
    async with _stage(display) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(_raise_when_ended, stage.daemon)
        await _send_and_judge(display, stage, outcome)
        if not once:
            await _go_on(display, stage)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _stage(display: Display) -> AsyncIterator[_Stage]:
    ips = {country: len(addresses) for country, addresses in ADDRESSES.items()}
    display.say("tracepool demo: an ad network and proxies on loopback, a PostgreSQL of its own, and the real daemon.")
    with private_state_dir(display.warn) as state_dir:
        display.say(f"All of it lives in {state_dir} and is gone at the end.\n")
        async with ad_network(display.warn) as network:
            display.fact("proxies", f"{ALL_ADDRESSES[0]} to {ALL_ADDRESSES[-1]}, port {network.proxy_port}")
            display.fact("IPs", ", ".join(f"{count} in {country}" for country, count in ips.items()))
            for offer in OFFERS:
                display.fact("offer", f"{offer.name:<12} {offer.country}  {_described(offer)}")
            began_s = time.monotonic()
            async with provisioned_database(state_dir, network) as database:
                display.fact("database", f"PostgreSQL, ready after {time.monotonic() - began_s:.1f} s")
                async with running_daemon(state_dir, ips, display.warn) as daemon:
                    display.fact("daemon", f"{daemon.url}, process {daemon.process.pid}, log in {daemon.log}")
                    display.fact("dashboard", f"{daemon.dashboard_url}  (open it in a browser)")
                    yield _Stage(state_dir, network, database, daemon)


def _described(offer: Offer) -> str:
    if offer.promise == "resolved":
        return f"{offer}, landing on {offer.landing}"
    return f"{offer}: longer than the {Settings().click.deadline_s:g} s that a visitor waits"


async def _raise_when_ended(daemon: DaemonProcess) -> None:
    raise await daemon.ended()


async def _send_and_judge(display: Display, stage: _Stage, outcome: _Outcome) -> None:
    settings = Settings()
    terms = Terms(
        tracking_urls={offer.name: offer.tracking_url(stage.network) for offer in OFFERS},
        deadline_s=settings.click.deadline_s,
        cooldown_s=settings.pool.cooldown_s,
    )
    display.say(f"\n{len(CLICKS)} clicks at once; the last one takes {math.ceil(terms.deadline_s)} s:")
    async with trio.open_nursery() as watching:
        watching.start_soon(display.watch_clicks, CLICKS)
        results = await send_clicks(stage.daemon.url, CLICKS, stage.database, stage.network.log, display.result)
        watching.cancel_scope.cancel()
    display.clicks(CLICKS)
    display.results_as_json(results)
    broken = broken_promises(results, stage.network.log.of_origin(), terms)
    display.verdict(broken, len(CLICKS))
    outcome.status = BROKEN if broken else KEPT


async def _go_on(display: Display, stage: _Stage) -> None:
    """Until cancelled, with a line for each click that comes."""
    display.say("\nIt goes on serving until Ctrl-C. In another terminal:\n")
    display.say(f"  curl -si '{stage.daemon.url}/track-hit?offer={OFFERS[0].name}&gclid={TRY_GCLID}'")
    display.say(f"  {_command()} status --config {stage.daemon.config}")
    display.say(f"  {_command()} psql --config {stage.daemon.config}\n")
    since = datetime.now(UTC)
    known = {click.request_id for click in await later_clicks(stage.database, since)}
    while True:
        await trio.sleep(LATER_POLL_S)
        try:
            newest = await later_clicks(stage.database, since)
        except DatabaseUnavailable as e:
            display.warn(f"tracepool: {e}")
            continue
        for click in newest:
            if click.request_id not in known:
                display.later(click)
            since = max(since, click.created_at)
        known = {click.request_id for click in newest}


def _command() -> str:
    """How this very tracepool is called in another terminal."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "tracepool" else f"{sys.executable} -m daemon"
