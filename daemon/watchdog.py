"""Feeds systemd's watchdog, and only after pools, journal and listeners have answered a probe.

A probe tests whether a component still runs, not whether it has what it needs. With a full or hanging disk, no database
or no available IP, clicks still get fallbacks. A restart would not repair this, and would interrupt the answers.
"""

from collections.abc import Callable, Mapping

import structlog
import trio

from daemon.host import systemd
from daemon.http.probe import Probe
from daemon.journal.writer import JournalWriter
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import Ping

SHARE = 3  # of systemd's time limit, a third is for the answers, a third for another round, a third is a margin
HELD_SHARE = 0.5  # of a probe's time, because the probe's own commit begins a little later than the probe

log = structlog.get_logger("daemon")


class Watchdog:
    """Probes the listeners and extends the start's time limit until `begin`; from then on probes all components."""

    def __init__(self, watchdog_s: float, listeners: Mapping[str, Probe]) -> None:
        self.patience_s = watchdog_s / SHARE
        self._watchdog_s = watchdog_s
        self._listeners = listeners
        self._directory: PoolDirectory | None = None
        self._journal: JournalWriter | None = None
        self._line: Callable[[], str] | None = None

    def begin(self, directory: PoolDirectory, journal: JournalWriter, line: Callable[[], str]) -> None:
        """Probe pools and journal too from now on. `line`: the status for `systemctl status`."""
        self._directory, self._journal, self._line = directory, journal, line

    async def run(self, stop: trio.Event) -> None:
        """Feed until `stop`: systemd has a separate time limit for the stop."""
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
                log.error("watchdog_not_fed", silent=silent, effect="systemd restarts the daemon if this continues")
            else:
                systemd.notify("WATCHDOG=1", self._progress())
            await trio.sleep_until(began_s + self.patience_s)

    def _progress(self) -> str:
        if self._line is None:
            return f"EXTEND_TIMEOUT_USEC={round(self._watchdog_s * 1e6)}"
        held = f"; the disk holds up the journal for {self._held_s:.0f} s" if self._is_held else ""
        return systemd.status(self._line() + held)

    async def silent(self) -> dict[str, str]:
        """The components that did not answer within `patience_s`, with the reason."""
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
        if self._is_held:  # journal and pools wait for the disk: they are not at fault
            log.warning("disk_hangs", seconds=round(self._held_s, 1), effect="clicks are answered by fallbacks")
            silent = {name: why for name, why in silent.items() if name in self._listeners}
        return silent

    def _inner_probes(self) -> dict[str, Probe]:
        """The probes of journal and pools, unless these wait for the disk."""
        if self._directory is None or self._journal is None or self._is_held:
            return {}
        return {"journal": _journal_probe(self._journal)} | {
            f"pool {pool.country}": _pool_probe(pool) for pool in self._directory
        }

    @property
    def _held_s(self) -> float:
        return self._journal.held_s if self._journal is not None else 0.0

    @property
    def _is_held(self) -> bool:
        """The disk has needed more than half of a probe's time for the present commit."""
        return self._held_s >= self.patience_s * HELD_SHARE


def _journal_probe(journal: JournalWriter) -> Probe:
    async def probe() -> None:
        await journal.durable()  # False too is an answer: a restart would not repair a disk that refuses writes

    return probe


def _pool_probe(pool: PoolHandle) -> Probe:
    async def probe() -> None:
        if pool.view.starts_over:
            return  # its actor has crashed and waits for the rows from the database
        answered = trio.Event()
        try:
            await pool.mailbox.send(Ping(answered.set))
        except trio.ClosedResourceError:
            return  # the daemon is stopping
        await answered.wait()

    return probe
