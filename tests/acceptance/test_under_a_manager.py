"""The daemon under a process manager, which the test plays, with systemd's notifications, watchdog and sockets."""

import resource
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests.acceptance.load import under_load
from tests.fakes.wire import free_port
from tests.support.processes import Serving, click, offer, serving
from tests.support.waiting import until

WATCHDOG_S, WATCHDOG_US = 1.5, "1500000"
PROBES = 3  # within that time


class Manager:
    """A manager. `heard`: the assignments of each message that it received. `address`: its $NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self.heard: list[list[str]] = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        while message := self._socket.recv(65_536):
            self.heard.append(message.decode().splitlines())

    def count(self, assignment: str) -> int:
        return sum(assignment in message for message in self.heard)

    def last_status(self) -> str:
        return [line for message in self.heard for line in message if line.startswith("STATUS=")][-1]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.address)
        self._listening.join()
        self._socket.close()


@contextmanager
def a_manager(state_dir: Path) -> Iterator[Manager]:
    manager = Manager(state_dir / "notify")
    try:
        yield manager
    finally:
        manager.close()


async def readyz(daemon: Serving) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{daemon.url}/readyz")).status_code


async def test_it_is_ready_when_it_serves_and_says_when_it_stops(state_dir: Path) -> None:
    with a_manager(state_dir) as manager:
        async with serving(state_dir, ready=False, NOTIFY_SOCKET=manager.address) as daemon:
            await until(lambda: manager.count("READY=1"), "READY=1 is said")
            assert await readyz(daemon) == 200
            assert manager.count("WATCHDOG=1") == 0, "nobody asked for it"
            assert manager.last_status() == "STATUS=serving"
            assert await daemon.stop() == 0
        assert manager.heard[-1][0] == "STOPPING=1"


async def test_while_the_database_is_away_it_is_not_ready_and_its_start_gets_more_time(tmp_path: Path) -> None:
    closed_port = free_port()
    settings = {"database": {"url": f"postgresql://canary@127.0.0.1:{closed_port}/none"}}
    with a_manager(tmp_path) as manager:
        async with serving(
            tmp_path, settings, ready=False, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_US
        ) as daemon:
            await until(lambda: manager.count(f"EXTEND_TIMEOUT_USEC={WATCHDOG_US}") >= 3, "its start gets more time")
            assert await readyz(daemon) == 503
            assert manager.count("READY=1") == 0
            assert await daemon.stop() == 0
        assert manager.count("READY=1") == 0


async def test_the_watchdog_is_fed_by_a_daemon_that_runs_and_not_by_one_that_is_stopped(state_dir: Path) -> None:
    with a_manager(state_dir) as manager:
        async with serving(state_dir, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_US) as daemon:
            await daemon.psql("INSERT INTO ip_rotation_pool (ip_address, country) VALUES ('192.0.2.1', 'us')")
            await until(lambda: "1 of 1 IPs available" in manager.last_status(), "the status line has the pool")
            daemon.process.send_signal(signal.SIGSTOP)
            fed = manager.count("WATCHDOG=1")
            time.sleep(2 * WATCHDOG_S)  # noqa: ASYNC251 nothing else is to happen
            assert manager.count("WATCHDOG=1") == fed
            daemon.process.send_signal(signal.SIGCONT)
            await until(lambda: manager.count("WATCHDOG=1") > fed, "it is fed again")
            assert await daemon.stop() == 0


async def test_a_disk_that_is_full_is_no_reason_to_start_again(state_dir: Path) -> None:
    with a_manager(state_dir) as manager:
        async with serving(state_dir, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_US) as daemon:
            await offer(daemon, "summer-sale", "https://ads.example/c?id=7")
            assert (await click(daemon, "summer-sale")).redirected
            full_bytes = (state_dir / "journal.sqlite-wal").stat().st_size
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (full_bytes, resource.RLIM_INFINITY))
            assert (await click(daemon, "summer-sale")).redirected
            await daemon.logged("journal_refused")
            fed = manager.count("WATCHDOG=1")
            await until(lambda: manager.count("WATCHDOG=1") >= fed + 2 * PROBES, "it is fed all the same")
            assert await daemon.stop() == 0


async def test_a_disk_that_hangs_is_no_reason_to_start_again(state_dir: Path) -> None:
    with a_manager(state_dir) as manager:
        async with serving(state_dir, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_US) as daemon:
            await offer(daemon, "summer-sale", "https://ads.example/c?id=7")
            with closing(sqlite3.connect(state_dir / "journal.sqlite", isolation_level=None)) as held:
                held.execute("begin immediate")  # a commit waits for this transaction, as for a slow disk
                await daemon.logged("disk_hangs")
                fed = manager.count("WATCHDOG=1")
                assert (await click(daemon, "summer-sale")).redirected
                await until(lambda: manager.count("WATCHDOG=1") >= fed + PROBES, "it is fed all the same")
                assert "the disk holds up the journal" in manager.last_status()
                held.execute("rollback")
            await until(lambda: "the disk" not in manager.last_status(), "the disk is back")
            assert await daemon.stop() == 0


async def test_a_reload_is_told_from_its_beginning_to_its_end(state_dir: Path) -> None:
    with a_manager(state_dir) as manager:
        async with serving(state_dir, NOTIFY_SOCKET=manager.address) as daemon:
            before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            daemon.process.send_signal(signal.SIGHUP)
            await until(lambda: manager.count("READY=1") == 2, "the reload is over")
            begun, ended = manager.heard[-2:]
            assert begun[0] == "RELOADING=1"
            assert int(begun[1].removeprefix("MONOTONIC_USEC=")) >= before_us
            assert ended == ["READY=1", "STATUS=serving"]

            config = state_dir / "settings.toml"
            config.write_text(config.read_text() + "[pool]\ncooldown_s = -1\n")
            daemon.process.send_signal(signal.SIGHUP)
            await until(lambda: manager.count("READY=1") == 3, "a refused reload is over as well")
            assert "pool.cooldown_s" in manager.last_status()
            assert await daemon.stop() == 0


async def test_a_restart_at_a_passed_socket_loses_no_click(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as passed:
        async with serving(state_dir, {"click": {"bind": ["127.0.0.1:9"]}}, passed) as first:
            await offer(first, "summer-sale", "https://ads.example/c?id=7")
            [line] = first.log("socket_activated")
            assert line["superseded"]["click.bind"] == ["127.0.0.1:9"]
            assert first.log("starting")[0]["listening"][0] == f"127.0.0.1:{first.port}"
            async with under_load(first, "summer-sale", clicks_per_s=30, at_least=10) as load:
                assert await first.stop() == 0
                async with serving(state_dir, None, passed) as second:
                    answered = len(load.clicks)
                    await until(lambda: len(load.clicks) > answered + 10, "clicks are answered again")
                    load.stop.set()
                    await until(lambda: second.log("click"), "the second daemon has answered")
                    lost = [one for one in load.clicks if not one.redirected]
                    assert lost == []
                    assert (await click(second, "summer-sale")).redirected
                    assert await second.stop() == 0
        assert first.faults() == second.faults() == []
