"""Feeds systemd's watchdog, and only after pools, journal and listeners have answered a probe.

Probed is whether they still run, not whether they have what they want. With the disk full or hanging, the database gone
or all IPs in use, clicks are still answered, if only by a fallback: to start again would mend nothing, and answer none
in between.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
import trio

from daemon.host import systemd
from daemon.http.probe import Probe
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import Ping

SHARE = 3  # of the time that systemd waits: a third for the answers, a third to begin again, a third to spare
HELD_SHARE = 0.5  # of a probe's time; the probe's own commit begins a moment after the probe

log = structlog.get_logger("daemon")


class ProbedJournal(Protocol):
    """What is probed of it."""

    @property
    def held_s(self) -> float: ...

    async def durable(self) -> bool: ...


class Watchdog:
    """While the daemon starts, listeners are asked, and the start's time limit is put off; from `begin` on all are."""

    def __init__(self, watchdog_s: float, listeners: Mapping[str, Probe]) -> None:
        self.patience_s = watchdog_s / SHARE
        self._watchdog_s = watchdog_s
        self._listeners = listeners
        self._directory: PoolDirectory | None = None
        self._journal: ProbedJournal | None = None
        self._line: Callable[[], str] | None = None

    def begin(self, directory: PoolDirectory, journal: ProbedJournal, line: Callable[[], str]) -> None:
        """`line`: how things stand, for `systemctl status`."""
        self._directory, self._journal, self._line = directory, journal, line

    async def run(self, stop: trio.Event) -> None:
        """Until `stop`: an end in order has a time limit of its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed)
            await stop.wait()
            nursery.cancel_scope.cancel()

    async def _feed(self) -> None:
        while True:
            began_s = trio.current_time()
            if silent := await self.silent():
                shown = "; ".join(f"{name}: {why}" for name, why in silent.items())
                systemd.notify(systemd.status(f"not answering: {shown}"))
                log.error("watchdog_not_fed", silent=silent, effect="systemd restarts the daemon if that goes on")
            else:
                systemd.notify("WATCHDOG=1", self._news())
            await trio.sleep_until(began_s + self.patience_s)

    def _news(self) -> str:
        if self._line is None:
            return f"EXTEND_TIMEOUT_USEC={round(self._watchdog_s * 1e6)}"
        held = f"; the disk holds up the journal for {self._held_s:.0f} s" if self._is_held else ""
        return systemd.status(self._line() + held)

    async def silent(self) -> dict[str, str]:
        """What did not answer in `patience_s`, by name, and why. Empty when all is well."""
        probes = {**self._listeners, **self._inner_probes()}
        silent = dict.fromkeys(probes, f"no answer within {self.patience_s:g} s")

        async def ask(name: str, probe: Probe) -> None:
            why = await probe()
            if why is None:
                del silent[name]
            else:
                silent[name] = why

        with trio.move_on_after(self.patience_s):
            async with trio.open_nursery() as nursery:
                for name, probe in probes.items():
                    nursery.start_soon(ask, name, probe)
        if self._is_held:  # a lease waits for the disk: when that hangs, journal and pools wait, and are not at fault
            log.warning("disk_hangs", seconds=round(self._held_s, 1), effect="clicks are answered by fallbacks")
            silent = {name: why for name, why in silent.items() if name in self._listeners}
        return silent

    def _inner_probes(self) -> dict[str, Probe]:
        """Those of journal and pools, unless it is known already that they wait for the disk."""
        if self._directory is None or self._journal is None or self._is_held:
            return {}
        return {"journal": _journal_probe(self._journal)} | {
            f"pool {post.country}": _pool_probe(post) for post in self._directory
        }

    @property
    def _held_s(self) -> float:
        return self._journal.held_s if self._journal is not None else 0.0

    @property
    def _is_held(self) -> bool:
        """One and the same commit has been with the disk for most of a probe's time."""
        return self._held_s >= self.patience_s * HELD_SHARE


def _journal_probe(journal: ProbedJournal) -> Probe:
    async def probe() -> None:
        await journal.durable()  # True, or False: that a disk refuses is known, and no reason to start again

    return probe


def _pool_probe(post: PoolHandle) -> Probe:
    async def probe() -> None:
        if post.view.starts_over:
            return  # its actor crashed, and the database is to say first what the pool has
        answered = trio.Event()
        try:
            await post.mailbox.send(Ping(answered.set))
        except trio.ClosedResourceError:
            return  # the daemon is ending
        await answered.wait()

    return probe
