"""`tracepool demo`: starts network, database and daemon, sends five clicks, checks them, and goes on serving.

The parts are nested context managers, so that every end of the demo stops them in order: the daemon, its database, the
network, the directory. A signal cancels all of them.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import trio

from daemon.database.postgres import database_loop
from daemon.demo.display import Display
from daemon.demo.history import OriginEvent
from daemon.demo.network import DemoNetwork
from daemon.demo.showcase import (
    ADDRESSES,
    ALL_ADDRESSES,
    CLICKS,
    OFFERS,
    ClickResult,
    Offer,
    Terms,
    broken_promises,
    hops_of,
)
from daemon.demo.stage import (
    DaemonProcess,
    ad_network,
    private_state_dir,
    provisioned_database,
    running_daemon,
    tracking_urls,
)
from daemon.settings.model import Settings

KEPT, BROKEN = 0, 1
SIGNAL_STATUS = 128  # plus the signal's number, as in shells
ANSWER_S = 30.0  # far above any deadline of the demo
LINE_S, LINE_POLL_S = 5.0, 0.03
LATER_POLL_S = 0.5
TRY_GCLID = "try-me"

ClickLine = dict[str, Any]
"""The daemon's log line of a click."""


@dataclass(slots=True)
class _Outcome:
    """`status`: KEPT or BROKEN, once the clicks were checked. `signal`: the signal that ended the demo."""

    status: int | None = None
    signal: int | None = None

    def exit_status(self) -> int:
        if self.status is not None:
            return self.status
        return SIGNAL_STATUS + self.signal if self.signal is not None else BROKEN


def run_demo(*, once: bool, as_json: bool, processes: int = 1) -> int:
    """Return the exit status: 0 if every click got what its offer promises, 1 if not, 128 + N after an early signal N.

    Raises TheirFault if the demo cannot run here: no loopback range, no free ports, no database.
    """
    outcome = _Outcome()
    trio.run(_main, Display(as_json=as_json), once, processes, outcome)
    return outcome.exit_status()


async def _main(display: Display, once: bool, processes: int, outcome: _Outcome) -> None:
    async with database_loop(), trio.open_nursery() as nursery:
        show = trio.CancelScope()
        await nursery.start(_cancel_at_signal, show, display, outcome)
        with show:
            await _show(display, once, processes, outcome)
        nursery.cancel_scope.cancel()


async def _cancel_at_signal(
    show: trio.CancelScope,
    display: Display,
    outcome: _Outcome,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    heeded = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else nohup has started it
        heeded.append(signal.SIGHUP)
    with trio.open_signal_receiver(*heeded) as signals:
        task_status.started()
        async for number in signals:  # after a second signal the demo is stopping already
            if outcome.signal is None:
                outcome.signal = number
                show.cancel()
                with suppress(OSError):  # the terminal was closed
                    display.say()
                    display.say("Stopping the daemon and removing all files.")


async def _show(display: Display, once: bool, processes: int, outcome: _Outcome) -> None:
    async with _stage(display, processes) as (network, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(_raise_when_ended, daemon)
        with daemon.log.open("rb") as log:
            outcome.status = await _send_and_judge(display, network, daemon, log)
            if not once:
                await _go_on(display, daemon, log)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _stage(display: Display, processes: int) -> AsyncIterator[tuple[DemoNetwork, DaemonProcess]]:
    display.say("tracepool demo: an ad network and proxies on loopback, a PostgreSQL of its own, and the real daemon.")
    with private_state_dir(display.warn) as state_dir:
        display.say(f"All files are in {state_dir}, which is removed at the end.")
        display.say()
        async with ad_network(display.warn) as network:
            display.fact("proxies", f"{ALL_ADDRESSES[0]} to {ALL_ADDRESSES[-1]}, port {network.proxy_port}")
            display.fact("IPs", ", ".join(f"{len(ips)} in {country}" for country, ips in ADDRESSES.items()))
            for offer in OFFERS:
                display.fact("offer", f"{offer.name:<12} {offer.country}  {_described(offer)}")
            began_s = time.monotonic()
            async with provisioned_database(state_dir, network):
                display.fact("database", f"PostgreSQL, ready after {time.monotonic() - began_s:.1f} s")
                async with running_daemon(state_dir, processes, display.warn) as daemon:
                    display.fact("daemon", f"{daemon.url}, {_processes(daemon)}, log in {daemon.log}")
                    display.fact("dashboard", f"{daemon.dashboard_url}  (open it in a browser)")
                    yield network, daemon


def _processes(daemon: DaemonProcess) -> str:
    process = f"process {daemon.process.pid}"
    return process if daemon.processes == 1 else f"{process} and {daemon.processes} below it"


def _described(offer: Offer) -> str:
    if offer.promise == "resolved":
        return f"{offer}, landing on {offer.landing}"
    return f"{offer}: longer than the {Settings().click.deadline_s:g} s that a visitor waits"


async def _raise_when_ended(daemon: DaemonProcess) -> None:
    raise await daemon.ended()


async def _send_and_judge(display: Display, network: DemoNetwork, daemon: DaemonProcess, log: BinaryIO) -> int:
    settings = Settings()
    terms = Terms(
        tracking_urls=tracking_urls(network), deadline_s=settings.click.deadline_s, cooldown_s=settings.pool.cooldown_s
    )
    display.say()
    display.say(f"{len(CLICKS)} clicks at once; the last one takes {math.ceil(terms.deadline_s)} s:")
    async with trio.open_nursery() as watching:
        watching.start_soon(display.watch_clicks, CLICKS)
        await _send_clicks(display, network.seen, daemon.url, log)
        watching.cancel_scope.cancel()
    results = [display.results[number] for number in range(len(CLICKS))]
    display.clicks(CLICKS)
    display.results_as_json(results)
    broken = broken_promises(results, network.seen, terms)
    display.verdict(broken, len(CLICKS))
    return BROKEN if broken else KEPT


async def _send_clicks(display: Display, seen: Collection[OriginEvent], url: str, log: BinaryIO) -> None:
    """Send all CLICKS at the same moment; put each result into the display when the click has ended."""
    lines: dict[str, ClickLine] = {}

    async def one(client: httpx.AsyncClient, number: int, offer: Offer) -> None:
        gclid = f"demo-{number + 1}"
        request_id, location, sent_s = "", None, time.monotonic()
        try:
            answer = await client.get(f"{url}/track-hit", params={"offer": offer.name, "gclid": gclid})
            request_id = answer.headers.get("x-request-id", "")
            location = answer.headers.get("location") if answer.status_code == httpx.codes.FOUND else None
        except httpx.HTTPError:
            pass  # the result then has no location, which breaks a promise
        answered_s = time.monotonic()
        with trio.move_on_after(LINE_S):
            while request_id and request_id not in lines:
                lines.update((line["request_id"], line) for line in _new_clicks(log))
                await trio.sleep(LINE_POLL_S)
        line = lines.get(request_id, {})
        display.note_node(line)
        ip = line.get("ip")
        display.results[number] = ClickResult(
            offer=offer.name,
            country=offer.country,
            gclid=gclid,
            ip=ip,
            hops=len(hops_of(seen, ip, sent_s, answered_s)),
            wait_ms=round((answered_s - sent_s) * 1000),
            outcome=line.get("outcome"),
            reason=line.get("reason"),
            location=location,
        )

    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=ANSWER_S) as client,
        trio.open_nursery() as nursery,
    ):
        for number, offer in enumerate(CLICKS):
            nursery.start_soon(one, client, number, offer)


def _new_clicks(log: BinaryIO) -> Iterator[ClickLine]:
    """The log lines of clicks since the last call."""
    while line := log.readline():
        if not line.endswith(b"\n"):  # the daemon is still writing the line
            log.seek(-len(line), os.SEEK_CUR)
            return
        if b'"event":"click"' in line:
            yield json.loads(line)


async def _go_on(display: Display, daemon: DaemonProcess, log: BinaryIO) -> None:
    """Print a line for each click that the user sends, until cancelled."""
    called = Path(sys.argv[0])
    command = str(called) if called.name == "tracepool" else f"{sys.executable} -m daemon"
    display.say()
    display.say("The daemon goes on serving until Ctrl-C. In another terminal:")
    display.say()
    display.say(f"  curl -si '{daemon.url}/track-hit?offer={OFFERS[0].name}&gclid={TRY_GCLID}'")
    display.say(f"  {command} status --config {daemon.config}")
    display.say(f"  {command} psql --config {daemon.config}")
    display.say()
    while True:
        for line in _new_clicks(log):
            display.later_click(line)
        await trio.sleep(LATER_POLL_S)
