"""Several processes below one parent: promises, crashes, signals, and the way back to one process."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import trio

from daemon.database import cluster
from daemon.demo.history import check
from daemon.host.state_dir import directory_of
from daemon.journal.entries import encode
from daemon.journal.spool import FILE, Spool
from daemon.supervisor import HOLD_S
from tests.acceptance.load import under_load
from tests.acceptance.test_signals import LANDING, addresses, engines_running, ids_in, resolved
from tests.acceptance.test_under_a_manager import a_manager
from tests.fakes.network import FakeNetwork
from tests.fakes.wire import free_port
from tests.support.entries import hit
from tests.support.processes import (
    Serving,
    as_toml,
    click,
    control_request,
    database_of,
    end_of,
    is_alive,
    network_of,
    processes_in,
    psql,
    run_command,
    serving,
)
from tests.support.waiting import until

NODES = ("web-1", "web-2")
SETTINGS: dict[str, Any] = {"node": {"name": "web"}}
CLICKS_PER_S = 10.0
COOLDOWN_S = 60.0
READY_S = 90.0
HANGS_S = 15.0


@asynccontextmanager
async def several(
    state_dir: Path, settings: Mapping[str, Mapping[str, object]] = SETTINGS, processes: int = 2, **env: str
) -> AsyncIterator[Serving]:
    async with serving(state_dir, settings, ready=False, TRACEPOOL_PROCESSES=str(processes), **env) as daemon:
        await until(lambda: daemon.log("processes_ready"), "all processes are ready", READY_S)
        yield daemon


async def provide(daemon: Serving, network: FakeNetwork, delay_ms: int = 150) -> None:
    """Add the network's IPs and the offer summer-sale, and wait until the IPs have an owner."""
    rows = ", ".join(f"('{address}', '{network.proxy_port}', 'us')" for address in network.addresses)
    url = network.chain_url(hops=3, delay_ms=delay_ms, landing=LANDING)
    await daemon.psql(
        f"INSERT INTO ip_rotation_pool (ip_address, ip_port, country) VALUES {rows}; "
        f"INSERT INTO offers (offer_name, final_url, target_country) VALUES ('summer-sale', '{url}', 'us')"
    )

    async def all_owned() -> bool:
        return len(await owners(daemon)) == len(NODES) and None not in await owners(daemon)

    def adopted_by() -> set[str]:
        return {line["node"] for line in daemon.log("offers_adopted") if line["active"]}

    await until(all_owned, "each process has IPs", READY_S)
    await until(lambda: adopted_by() == set(NODES), "each process knows the offer")


async def owners(daemon: Serving) -> Counter[str | None]:
    """How many IPs each node owns, by its name."""
    rows = await daemon.psql(
        "SELECT n.name, count(*) FROM ip_rotation_pool LEFT JOIN nodes n USING (node_id) GROUP BY 1"
    )
    return Counter({name or None: int(count) for name, count in rows})


def child(daemon: Serving, name: str) -> psutil.Process:
    """The process that runs as this node now."""
    return psutil.Process([line["pid"] for line in daemon.log("process_started") if line["process"] == name][-1])


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def answered_by(daemon: Serving) -> Counter[str]:
    return Counter(line["node"] for line in daemon.log("click"))


def count(daemon: Serving, event: str, name: str) -> int:
    return sum(line["node"] == name for line in daemon.log(event))


async def test_two_processes_answer_one_port_and_sigterm_under_load_answers_every_click(state_dir: Path) -> None:
    async with network_of(addresses(250)) as network, several(state_dir) as daemon:
        await provide(daemon, network)
        assert (await run_command("status", "--config", str(state_dir / "settings.toml"))).returncode == 0
        async with under_load(daemon, "summer-sale", CLICKS_PER_S, at_least=40) as load:
            daemon.process.send_signal(signal.SIGHUP)
            await until(lambda: {line["node"] for line in daemon.log("reloaded")} == set(NODES), "both reload")
            signalled_s = time.monotonic()
            assert await daemon.stop() == 0
        accepted = [clicked for clicked in load.clicks if clicked.sent_s < signalled_s]
        lost = {str(clicked.request_id) for clicked in accepted if not resolved(clicked)}
        assert [line for line in daemon.log("click") if line["request_id"] in lost] == []
        assert lost == set()
        assert daemon.faults() == []
        assert set(answered_by(daemon)) == set(NODES), "each process answers a part"
        assert processes_in(state_dir) == []
        answered = sorted(str(clicked.request_id) for clicked in load.redirected())
        async with database_of(state_dir) as url:
            assert await ids_in(url, "hits") == answered
            assert await psql(url, "SELECT sum(total_uses) FROM ip_rotation_pool") == [[str(len(answered))]]
        assert check(network.log.events, cooldown_s=COOLDOWN_S, addresses=network.addresses) == []


async def test_each_scrape_has_the_metrics_of_all_processes(state_dir: Path) -> None:
    async with several(state_dir) as daemon:
        for _ in range(4):
            page = (await trio.to_thread.run_sync(control_request, daemon, "/metrics")).text
            series = [line for line in page.splitlines() if line.startswith("tracepool_clicks_total{")]
            counted = Counter(name for line in series for name in NODES if f'node="{name}"' in line)
            assert counted[NODES[0]] == counted[NODES[1]] == len(series) / 2
            assert page.count("# TYPE tracepool_clicks_total counter") == 1
            assert 'node="' not in "".join(line for line in page.splitlines() if "tracepool_cluster_" in line)


async def test_a_killed_process_returns_with_its_ips_while_the_other_answers(state_dir: Path) -> None:
    async with network_of(addresses(250)) as network, several(state_dir) as daemon:
        await provide(daemon, network)
        async with under_load(daemon, "summer-sale", CLICKS_PER_S, at_least=20) as load:
            killed_s = time.monotonic()
            child(daemon, "web-2").kill()
            await until(lambda: count(daemon, "ready", "web-2") == 2, "the process is ready again", READY_S)
            before = len(daemon.log("click"))
            await until(lambda: len(daemon.log("click")) > before + 10, "clicks go on")
        [ended] = daemon.log("process_ended")
        assert (ended["process"], ended["signal"], ended["restart_in_s"]) == ("web-2", "SIGKILL", 0.1)
        assert daemon.log("node_lost") == [], "it has kept its IPs"
        cut = [clicked for clicked in load.clicks if not clicked.redirected]
        assert all(clicked.sent_s < killed_s + 1 for clicked in cut), "only clicks in flight are cut"
        assert await daemon.stop() == 0
        assert check(network.log.events, cooldown_s=COOLDOWN_S, addresses=network.addresses) == []


async def test_a_process_that_cannot_reach_postgresql_leaves_the_clicks_to_a_ready_one(state_dir: Path) -> None:
    async with network_of(addresses(20)) as network, several(state_dir) as daemon:
        await provide(daemon, network)
        found = cluster.running(state_dir / "postgres" / "data")
        assert found is not None
        postmaster = psutil.Process(found[0])  # without it there are no new connections
        postmaster.suspend()
        try:
            child(daemon, "web-2").kill()
            await until(lambda: count(daemon, "starting", "web-2") == 2, "it starts", READY_S)
            await trio.sleep(HOLD_S + 1)
            for number in range(10):
                assert (await click(daemon, "summer-sale", f"g{number}")).redirected
            assert answered_by(daemon) == {"web-1": 10}
        finally:
            postmaster.resume()
        await until(lambda: count(daemon, "ready", "web-2") == 2, "it is ready", READY_S)
        assert await daemon.stop() == 0


async def test_a_hanging_process_is_killed_and_started_again(state_dir: Path) -> None:
    with a_manager(state_dir) as manager:
        watched = several(state_dir, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=str(round(HANGS_S * 1e6)))
        async with network_of(addresses(20)) as network, watched as daemon:
            await until(lambda: manager.count("READY=1"), "the manager receives it")
            await provide(daemon, network)
            hanging = child(daemon, "web-1")
            hanging.suspend()
            answers = [await click(daemon, "summer-sale", f"g{number}") for number in range(5)]
            assert all(answer.redirected for answer in answers)
            await until(lambda: count(daemon, "ready", "web-1") == 2, "it is ready again", READY_S)
            [hangs], [ended] = daemon.log("process_hangs"), daemon.log("process_ended")
            assert hangs["pid"] == ended["pid"] == hanging.pid
            assert await daemon.stop() == 0
        assert manager.count("WATCHDOG=1") > 1
        assert manager.count("STOPPING=1") == 1


async def test_a_killed_parent_leaves_no_process_and_a_new_one_goes_on(state_dir: Path) -> None:
    async with several(state_dir) as daemon:
        children = [child(daemon, name) for name in NODES]
        engines = await engines_running(daemon, len(NODES))
        children[1].suspend()
        daemon.process.kill()
        await end_of(daemon.process)
        await until(lambda: not any(one.is_running() and one.status() != "zombie" for one in children), "all are gone")
        await until(lambda: not any(map(is_alive, engines)), "their engines too")
        await until(lambda: is_free(daemon.port), "the port is free")
    async with several(state_dir) as again:
        assert await again.psql("SELECT count(*) FROM nodes WHERE state = 'active'") == [["2"]]
        assert await again.stop() == 0


async def test_bad_settings_that_only_a_child_sees_end_all_with_78(state_dir: Path) -> None:
    settings = {"control": {"bind": f"0.0.0.0:{free_port()}"}}
    async with serving(state_dir, settings, ready=False, TRACEPOOL_PROCESSES="2") as daemon:
        assert await end_of(daemon.process, READY_S) == 78
        said = [line["text"] for line in daemon.log("not JSON")]
        assert [text.split(": ")[1] for text in said] == ["control.bind", "all processes have ended with status 78"]
        assert len(daemon.log("process_started")) == 1


async def test_bad_numbers_of_processes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(as_toml(tmp_path, {}))
    for given in ("0", "65", "two", "1.5"):
        ended = await run_command("serve", "--config", str(file), "--processes", given)
        assert ended.returncode == 78
        assert ended.stderr == 'tracepool: --processes: must be "auto" or a number from 1 to 64\n'
    ended = await run_command("serve", "--config", str(file), TRACEPOOL_PROCESSES="0")
    assert (ended.returncode, ended.stderr.count("TRACEPOOL_PROCESSES")) == (78, 1)


async def test_back_to_one_process_ships_and_ends_the_node_of_the_other(state_dir: Path) -> None:
    """In the spool of the second process is a hit that PostgreSQL does not have."""
    brief = SETTINGS | {"pool": {"lock_s": 3, "cooldown_s": 1}, "trace": {"timeout_s": 2}}
    async with network_of(addresses(6)) as network, several(state_dir, brief) as daemon:
        await provide(daemon, network)
        config = str(state_dir / "settings.toml")
        second = await run_command("serve", "--config", config)
        assert (second.returncode, "another tracepool daemon" in second.stderr) == (1, True)
        assert await daemon.stop() == 0
    left = hit(answered_at=time.time())
    spool = Spool(directory_of(state_dir, 2) / FILE)
    spool.append([encode(left)])
    spool.close()
    async with serving(state_dir, brief) as one:
        await one.logged("node_retired")
        assert await one.psql(f"SELECT count(*) FROM hits WHERE request_id = '{left.request_id}'") == [["1"]]

        async def owns_all() -> bool:
            return await owners(one) == {"web": 6}

        await until(owns_all, "the process owns all IPs", READY_S)
        assert await one.stop() == 0
    for file in directory_of(state_dir, 2).glob(f"{FILE}*"):
        os.utime(file, (0, 0))  # as if it had been used long ago
    async with serving(state_dir, brief) as last:
        assert (await last.logged("node_retired"))[0]["removed"] is True
        assert not directory_of(state_dir, 2).exists()
        assert await last.stop() == 0
    async with serving(state_dir, brief) as alone:
        assert alone.log("processes_starting") == []
        assert "node" not in alone.log("ready")[0]
