"""`tracepool provision check`, with and without a daemon: each IP gets a result, and no trace loses its IP."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.fakes import proxies
from tests.fakes.origins import SILENT, Reply, origin, reply
from tests.fakes.proxies import Proxy, proxy
from tests.fakes.wire import free_port
from tests.support.processes import Serving, as_toml, click, database_of, offer, run_command, serving
from tests.support.waiting import until

EXIT, TOLD = "198.51.100.7", "198.51.100.9"
DIRECT = ("works", "locked out", "refuses", "closed", "mute")
CHECK_URL = "http://check.example/ip"
LOGIN = {"username": "customer", "password": "word-of-the-gate"}


@dataclass
class World:
    """The ports of proxies, by their behaviour. `gate` is a gateway that sends its exit address."""

    ports: dict[str, int]
    gate: Proxy
    works: Proxy

    def settings(self) -> dict[str, dict[str, object]]:
        return {
            "provision": {"check_url": CHECK_URL, "check_timeout_s": 2},
            "trace": {"allow_private": True, "hop_timeout_s": 30},
            "providers.gate": {
                **LOGIN,
                "template": "luna",
                "gateway": f"127.0.0.1:{self.ports['gate']}",
                "exit_ip_header": "X-Exit-IP",
            },
        }

    def rows(self) -> str:
        direct = [
            f"127.0.0.1,{self.ports[name]},us,other" for name in ("works", "locked out", "refuses", "closed", "mute")
        ]
        gate = [f"gate-us-{number},7000,us,gate" for number in (1, 2)]
        return "\n".join(["ip_address,ip_port,country,provider", *direct, *gate, "192.0.2.1,7000,de,other"]) + "\n"


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        answers: dict[str, Reply | list[Reply]] = {
            "check.example/ip": reply(200, body=EXIT.encode()),
            "ads.example/slow": SILENT,
        }
        _, port = await stack.enter_async_context(origin(answers))
        known = {"check.example:80": port, "ads.example:80": port}
        ports = {"closed": free_port()}
        works, ports["works"] = await stack.enter_async_context(proxy(known))
        _, ports["locked out"] = await stack.enter_async_context(proxy(known, credentials=("somebody", "else")))
        _, ports["refuses"] = await stack.enter_async_context(proxy(known, misbehave=proxies.answering(403)))
        _, ports["mute"] = await stack.enter_async_context(proxy(known, misbehave=proxies.silent))
        gate, ports["gate"] = await stack.enter_async_context(proxy(known, own_header=f"X-Exit-IP: {TOLD}"))
        yield World(ports, gate, works)


EXPECTED = ["working", "wrong_credentials", "refused", "refused", "failed", "working", "working"]


def results(world: World, report: dict[str, Any]) -> list[tuple[str, str | None]]:
    """The results in the order of `World.rows`."""
    found = {ip["ip_port"] if ip["provider"] == "other" else ip["ip_address"]: ip for ip in report["ips"]}
    keys = [str(world.ports[name]) for name in DIRECT]
    return [(found[key]["result"], found[key]["exit_ip"]) for key in [*keys, "gate-us-1", "gate-us-2"]]


async def test_without_a_daemon_each_ip_gets_its_word_and_no_row_changes(state_dir: Path) -> None:
    async with world() as here, database_of(state_dir):
        config, rows = state_dir / "settings.toml", state_dir / "ips.csv"
        config.write_text(as_toml(state_dir, here.settings()))
        rows.write_text(here.rows())
        assert (await run_command("provision", "import", str(rows), "--config", str(config))).returncode == 0
        before = (await run_command("provision", "list", "--config", str(config))).stdout

        checked = await run_command("provision", "check", "--country", "us", "--json", "--config", str(config))
        assert checked.returncode == 1, checked.stderr
        report = json.loads(checked.stdout)
        exits = [EXIT, None, None, None, None, TOLD, TOLD]
        assert results(here, report) == list(zip(EXPECTED, exits, strict=True))
        counts = {"working": 3, "slow": 0, "refused": 2, "wrong_credentials": 1, "failed": 1, "skipped": 0}
        assert report["summary"] == {**counts, "exit_addresses": 2}
        assert "word-of-the-gate" not in checked.stdout + checked.stderr

        fine = await run_command("provision", "check", "--provider", "gate", "--config", str(config))
        assert fine.returncode == 0, fine.stderr
        assert [line.split("\t")[4] for line in fine.stdout.splitlines()] == ["result", "working", "working"]
        assert "checked 2: 2 working" in fine.stderr
        assert "exit addresses: 1, of 2 IPs" in fine.stderr

        assert (await run_command("provision", "list", "--config", str(config))).stdout == before


async def test_the_running_daemon_checks_what_no_trace_has_and_clicks_go_on(state_dir: Path) -> None:
    async with world() as here:
        async with serving(state_dir, here.settings()) as daemon, trio.open_nursery() as nursery:
            config, rows = str(state_dir / "settings.toml"), state_dir / "ips.csv"
            rows.write_text(here.rows())
            assert (await run_command("provision", "import", str(rows), "--config", config)).returncode == 0
            await until(lambda: daemon.counts("us")["total"] == 7, "the IPs are adopted")
            await daemon.psql("update ip_rotation_pool set status = 'failed' where ip_address = 'gate-us-2'")
            await only_the_working_one_is_free(daemon, here)
            await offer(daemon, "slow", "http://ads.example/slow")
            nursery.start_soon(click, daemon, "slow")
            await until(lambda: len(here.works.seen) > 0, "a trace has the IP")
            await daemon.psql(
                "update ip_rotation_pool set status = 'available', is_healthy = true"
                " where status = 'failed' and ip_address <> 'gate-us-2'"
            )
            await until(lambda: daemon.counts("us")["available"] == 5, "the others are back")

            checked = await run_command("provision", "check", "--country", "us", "--json", "--config", config)
            assert (checked.returncode, checked.stderr) == (1, ""), checked.stderr
            report = json.loads(checked.stdout)
            found = [word for word, _ in results(here, report)]
            assert found == ["skipped", *EXPECTED[1:]], report
            assert len(here.works.seen) == 1, "nothing but the trace went through it"
            assert [ip["message"][:13] for ip in report["ips"] if ip["result"] == "skipped"] == ["in use, until"]
            assert len(daemon.log("check")) == 6
            counts = daemon.counts("us")
            assert (counts["available"], counts["cooldown"], counts["failed"]) == (5, 0, 1), "none rests after a check"
            logins = {head.value("proxy-authorization") for head in here.gate.seen}
            assert len(logins) == 2, "a session for each row"
            nursery.cancel_scope.cancel()
        assert daemon.faults() == []


async def only_the_working_one_is_free(daemon: Serving, here: World) -> None:
    await daemon.psql(
        "update ip_rotation_pool set status = 'failed', is_healthy = false"
        f" where country = 'us' and ip_port <> '{here.ports['works']}'"
    )
    await until(lambda: daemon.counts("us")["available"] == 1, "the others are out of use")


async def test_without_a_check_url_it_says_what_to_set(tmp_path: Path) -> None:
    ended = await run_command("provision", "check", TRACEPOOL_STATE_DIR=str(tmp_path))
    assert ended.returncode == 78
    assert "provision.check_url is not set" in ended.stderr


async def test_a_failed_ip_that_works_again_is_back_in_use_and_what_does_not_stays_out(state_dir: Path) -> None:
    """The IPs failed an hour before the daemon starts, so that their probes are due at once."""
    async with world() as here, database_of(state_dir):
        config, rows = state_dir / "settings.toml", state_dir / "ips.csv"
        config.write_text(as_toml(state_dir, here.settings()))
        rows.write_text(here.rows())
        assert (await run_command("provision", "import", str(rows), "--config", str(config))).returncode == 0
        failed = (
            "update ip_rotation_pool set status = 'failed', is_healthy = false, consecutive_failures = 5,"
            " last_health_check = now() - interval '1 hour', probe_failures = 2 where country = 'us'"
        )
        done = await run_command("psql", "--config", str(config), "-c", failed)
        assert done.stdout == "UPDATE 7\n", done.stderr
        async with serving(state_dir, here.settings()) as daemon:
            await until(lambda: daemon.counts("us")["available"] == 3, "those that work are back", 15)
            await until(lambda: len(daemon.log("probe")) == 7, "each was probed", 15)
            assert daemon.counts("us")["failed"] == 4
            assert {line["kind"] for line in daemon.log("probe")} == set(EXPECTED)
            assert {fault["event"] for fault in daemon.faults()} == {"provider_credentials_refused"}
            assert await daemon.stop() == 0  # the journal is shipped then
            look = "select is_healthy, consecutive_failures, probe_failures, count(*) from ip_rotation_pool"
            found = await daemon.psql(f"{look} where country = 'us' group by 1, 2, 3 order by 1, 3")
            assert found == [["f", "5", "2", "1"], ["f", "5", "3", "3"], ["t", "0", "0", "3"]]
