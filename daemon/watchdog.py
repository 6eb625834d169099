"""Feeds systemd's watchdog, and only after pools, journal and listeners have answered a probe.

Probed is whether they still run, not whether they have what they want. With the disk full or hanging, the database gone
or all IPs in use, clicks are still answered, if only by a fallback: to start again would mend nothing, and answer none
in between.
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from daemon import systemd
from daemon.click.listeners import name_of
from daemon.click.server import Server
from daemon.journal.writer import JournalWriter
from daemon.pool.directory import PoolDirectory, Post
from daemon.pool.messages import Ping

SHARE = 3  # of the time that systemd waits: a third for the answers, a third to begin again, a third to spare
HELD_SHARE = 0.5  # a probe's own commit begins a moment after the probe
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LIVE = b"HTTP/1.1 200"
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where an address that is all of them can be reached

Probe = Callable[[], Awaitable[str | None]]
"""None once it has answered, or what is wrong."""

log = structlog.get_logger("daemon")


class Watchdog:
    """While the daemon starts, its listeners are asked and the start's time limit is put off; from `begin` on all are.

    `passed`: the listeners are systemd's own.
    """

    def __init__(
        self, watchdog_s: float, server: Server, listeners: Sequence[trio.SocketListener], *, passed: bool
    ) -> None:
        self.patience_s = watchdog_s / SHARE
        self._watchdog_s = watchdog_s
        self._server = server
        self._listeners = listeners
        self._passed = passed
        self._directory: PoolDirectory | None = None
        self._journal: JournalWriter | None = None
        self._line: Callable[[], str] | None = None

    def begin(self, directory: PoolDirectory, journal: JournalWriter, line: Callable[[], str]) -> None:
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
                systemd.notify("WATCHDOG=1", *self._news())
            await trio.sleep_until(began_s + self.patience_s)

    def _news(self) -> list[str]:
        if self._line is None:
            return [f"EXTEND_TIMEOUT_USEC={round(self._watchdog_s * 1e6)}"]
        held = f"; the disk holds up the journal for {self._held_s():.0f} s" if self._is_held else ""
        return [systemd.status(self._line() + held)]

    async def silent(self) -> dict[str, str]:
        """What did not answer in `patience_s`, by name, and why. Empty when all is well."""
        probes = self._probes()
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
        # A lease waits for the disk: when that hangs, so do journal and pools, and it is not they who do.
        excused = silent.keys() - self._listener_probes().keys() if self._is_held else set()
        if excused:
            log.warning("disk_hangs", seconds=round(self._held_s(), 1), effect="clicks are answered by fallbacks")
        return {name: why for name, why in silent.items() if name not in excused}

    def _probes(self) -> dict[str, Probe]:
        probes = self._listener_probes()
        if self._directory is not None and self._journal is not None and not self._is_held:
            probes["journal"] = self._journal_probe(self._journal)
            probes |= {f"pool {post.country}": _pool_probe(post) for post in self._directory}
        return probes

    def _held_s(self) -> float:
        return self._journal.held_s if self._journal is not None else 0.0

    @property
    def _is_held(self) -> bool:
        """One and the same commit has been with the disk for most of a probe's time."""
        return self._held_s() >= self.patience_s * HELD_SHARE

    def _journal_probe(self, journal: JournalWriter) -> Probe:
        async def probe() -> None:
            await journal.durable()  # True, or False: a disk that refuses is known to

        return probe

    def _listener_probes(self) -> dict[str, Probe]:
        return {f"listener {name_of(listener)}": self._listener_probe(listener) for listener in self._listeners}

    def _listener_probe(self, listener: trio.SocketListener) -> Probe:
        async def probe() -> str | None:
            turned_away = self._server.turned_away
            try:
                client = await _connected(listener)
            except OSError as e:
                # Whether systemd's own socket can be reached from here is for its unit to say; no restart changes it.
                return None if self._passed else f"cannot be connected to: {e}"
            async with client:
                answer = await _answer_of(client)
            if answer.startswith(LIVE) or (not answer and self._server.turned_away > turned_away):
                return None  # at a full house the server is alive enough to turn connections away
            return f"/livez answers {answer[: len(LIVE)]!r}" if answer else "closes the connection without an answer"

        return probe


async def _connected(listener: trio.SocketListener) -> trio.SocketStream:
    address = listener.socket.getsockname()
    client = trio.socket.socket(listener.socket.family, trio.socket.SOCK_STREAM)
    try:
        if isinstance(address, tuple):
            address = (LOOPBACK.get(address[0], address[0]), *address[1:])
        await client.connect(address)
        return trio.SocketStream(client)
    except BaseException:
        client.close()
        raise


async def _answer_of(client: trio.SocketStream) -> bytes:
    """The beginning of the answer to /livez; nothing where the server closes without one."""
    answer = b""
    try:
        await client.send_all(LIVEZ)
        while len(answer) < len(LIVE) and (piece := await client.receive_some(1024)):
            answer += piece
    except trio.BrokenResourceError:
        return b""
    return answer


def _pool_probe(post: Post) -> Probe:
    async def probe() -> None:
        if post.starts_over:
            return  # its actor crashed, and the database is to say first what the pool has
        answered = trio.Event()
        try:
            await post.mailbox.send(Ping(answered.set))
        except trio.ClosedResourceError:
            return  # the daemon is ending
        await answered.wait()

    return probe
