"""`tracepool provision check` beside a daemon with another state directory: an IP has one user at a time."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from daemon.host.clocks import read_boot_clock
from daemon.host.state_dir import NODES
from daemon.journal.spool import FILE, Spool
from daemon.nodes.identity import Identity
from daemon.nodes.member import Member
from daemon.troubles import Troubles
from tests.fakes import proxies
from tests.fakes.proxies import proxy
from tests.integration.commands import Commands, process
from tests.integration.databases import PostgresServer, fresh_database
from tests.integration.test_cli_status import daemon_that_answers
from tests.support.waiting import until

OTHER_HOST = uuid4()


@pytest.mark.slow
async def test_a_daemon_elsewhere_keeps_it_out_and_it_keeps_a_daemon_out(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with fresh_database(postgres) as rows, proxy({}, misbehave=proxies.silent) as (mute, port):
        await rows.add_ip("127.0.0.1", ip_port=str(port))
        env = {"TRACEPOOL_DATABASE__URL": rows.url, "TRACEPOOL_PROVISION__CHECK_URL": "http://check.example/"}
        check = partial(process, "provision", "check", "--timeout", "3", state_dir=tmp_path, env=env)
        there = Member(rows.database, identity(), Troubles(), read_boot_clock)
        async with trio.open_nursery() as nursery:
            await there.join()
            nursery.start_soon(there.run)
            refused = await trio.to_thread.run_sync(check)
            nursery.cancel_scope.cancel()
        await there.leave()
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "node there" in refused.stderr
        assert "works with this database" in refused.stderr
        assert mute.connections == 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, check)
            await until(lambda: mute.connections)
            with trio.move_on_after(0.5) as waiting:
                await there.join()
            assert waiting.cancelled_caught, "two would use one IP"
            await there.join()  # once the check has ended


def identity() -> Identity:
    return Identity(uuid4(), "there", 1, 900.0, lambda: 160.0)


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [(("--timeout", "0"), "0.1 to 60"), (("--timeout", "nan"), "0.1 to 60"), (("--concurrency", "101"), "1 to 100")],
)
def test_an_option_out_of_range_is_told(
    tracepool: Commands, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str], allowed: str
) -> None:
    monkeypatch.setenv("TRACEPOOL_PROVISION__CHECK_URL", "http://check.example/")
    ended = tracepool("provision", "check", *options)
    assert (ended.status, ended.out) == (2, "")
    assert f"{options[0]} {options[1]}: must be {allowed}" in ended.err


def test_what_rests_is_skipped_and_alone_it_is_no_success(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_PROVISION__CHECK_URL", "http://check.example/")
    tracepool.sql(
        "insert into ip_rotation_pool (ip_address, status, locked_until)"
        " values ('192.0.2.1', 'cooldown', now() + interval '1 hour')"
    )
    ended = tracepool("provision", "check", "--json")
    assert ended.status == 1
    assert [ip["result"] for ip in ended.json["ips"]] == ["skipped"]
    assert ended.json["ips"][0]["message"].startswith("in cooldown until ")


def test_no_ip_of_the_kind_is_no_success(tracepool: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOOL_PROVISION__CHECK_URL", "http://check.example/")
    ended = tracepool("provision", "check", "--country", "fr")
    assert (ended.status, ended.err) == (1, "checked 0: no IP meets these conditions\n")


def test_each_ip_is_checked_by_the_process_that_owns_it_and_other_hosts_are_named(
    tracepool: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPOOL_PROVISION__CHECK_URL", "http://check.example/")
    second = tracepool.state_dir / NODES / "2"
    second.mkdir(parents=True)
    spool = Spool(second / FILE)
    spool.close()
    tracepool.sql(
        "insert into nodes (node_id, name, epoch, state, trusted_until, quiet_s, version)"
        f" values ('{OTHER_HOST}', 'far-1', 1, 'active', now() + interval '900 s', 160, '1.0')"
    )
    tracepool.sql(
        "set tracepool.writer = 'daemon';"
        " insert into ip_rotation_pool (ip_address, node_id) values ('192.0.2.1', null),"
        f" ('192.0.2.2', '{spool.node_id}'), ('192.0.2.3', '{OTHER_HOST}')"
    )

    def by(process: str) -> Callable[..., dict[str, Any]]:
        return lambda **asked: {"kind": "working", "ms": 1.0, "exit_ip": None, "message": process}

    with (
        daemon_that_answers(tracepool.state_dir, status=dict, check=by("first")),
        daemon_that_answers(second, status=dict, check=by("second")),
    ):
        ended = tracepool("provision", "check", "--json")
    found = {ip["ip_address"]: (ip["result"], ip["message"]) for ip in ended.json["ips"]}
    assert found == {
        "192.0.2.1": ("working", "first"),
        "192.0.2.2": ("working", "second"),
        "192.0.2.3": ("skipped", "node far-1 owns this IP: run this command on that node's host"),
    }
    assert ended.status == 0
