"""`tracepool trace`: rows that a daemon traces while its pool has free IPs, also across a restart."""

import json
import signal
from functools import partial
from pathlib import Path

import trio

from daemon.demo.history import check
from tests.support.processes import (
    control_request,
    end_of,
    network_of,
    offer,
    provision,
    run_command,
    serving,
    start_command,
)
from tests.support.waiting import until

ADDRESSES = tuple(f"127.2.9.{number}" for number in range(1, 11))
COOLDOWN_S = 0.5
SETTINGS: dict[str, dict[str, object]] = {
    "trace": {"allow_private": True},
    "pool": {"cooldown_s": COOLDOWN_S, "batch_below_percent": 50},
}


async def test_urls_are_traced_below_the_bound_and_a_kill_loses_none(state_dir: Path) -> None:
    config = ["--config", str(state_dir / "settings.toml")]
    async with network_of(ADDRESSES) as network:
        urls = [network.chain_url(2, 20) for _ in range(30)]
        async with serving(state_dir, SETTINGS) as first:
            await provision(first, network, ADDRESSES)
            out = state_dir / "out"
            command = await start_command(["trace", *urls, "--json", *config], out, out)
            await until(lambda: len(out.read_text().splitlines()) >= 3, "the first have ended")
            assert first.counts("us")["utilisation_percent"] < 50
            command.send_signal(signal.SIGKILL)  # Ctrl-C would cancel them
            assert await end_of(command) == -signal.SIGKILL
            first.process.send_signal(signal.SIGKILL)
            await end_of(first.process)
        async with serving(state_dir, SETTINGS) as second:
            statuses: dict[str, str] = {}
            with trio.fail_after(60):
                while statuses.get("completed") != "30":
                    statuses = dict(await second.psql("select status, count(*) from active_trace_requests group by 1"))
            assert statuses == {"completed": "30"}
            assert await second.stop() == 0
            assert second.faults() == []
        assert check(network.log.events, cooldown_s=COOLDOWN_S, addresses=set(ADDRESSES)) == []


async def test_what_cannot_be_traced_is_told_and_the_rest_is_traced(state_dir: Path) -> None:
    config = ["--config", str(state_dir / "settings.toml")]
    async with network_of(ADDRESSES[:4]) as network, serving(state_dir, SETTINGS) as daemon:
        await provision(daemon, network, ADDRESSES[:4])
        ended = await run_command("trace", network.chain_url(1, 5), "ftp://ads.example/", "--json", *config)
        assert ended.returncode == 1
        [line] = ended.stdout.splitlines()
        assert json.loads(line)["status"] == "completed"
        assert "does not start with http:// or https://" in ended.stderr
        nowhere = await run_command("trace", network.chain_url(1, 5), "--country", "xx", *config)
        assert nowhere.returncode == 1
        assert "there is no IP in xx. Next: tracepool provision import" in nowhere.stdout
        assert await daemon.stop() == 0
    stopped = await run_command("trace", "https://ads.example/", *config)
    assert stopped.returncode == 1
    assert "the daemon is not running" in stopped.stderr
    queued = await run_command("trace", "https://ads.example/", "--no-wait", *config)
    assert queued.returncode == 0
    assert len(queued.stdout.split()) == 1


async def test_a_trace_that_a_program_waits_for_has_a_clicks_row(state_dir: Path) -> None:
    async with network_of(ADDRESSES[:1]) as network, serving(state_dir, SETTINGS) as daemon:
        await provision(daemon, network, ADDRESSES[:1])
        await offer(daemon, "sale", "https://ads.example/go")
        request_id = "5f0c9f5e-2f6b-4f0e-9d3b-0a4f5c1d2e3f"
        body = {
            "request_id": request_id, "offer_id": "sale", "tracking_url": network.chain_url(2, 5),
            "target_country": "us", "inbound_params": {"gclid": "g"},
        }  # fmt: skip
        ask = partial(control_request, daemon, "/functions/v1/process-trace-parallel", method="POST", json=body)
        response = await trio.to_thread.run_sync(ask)
        assert (response.status_code, response.json()["ip_used"]) == (200, ADDRESSES[0])
        row = "select status, ip_assigned, final_url, priority, inbound_params->>'gclid', offer_id is not null"
        expected = [["completed", ADDRESSES[0], response.json()["final_url"], "0", "g", "t"]]
        statement = f"{row} from active_trace_requests where request_id = '{request_id}'"
        with trio.fail_after(20):
            found: list[list[str]] = []
            while found != expected:
                found = await daemon.psql(statement)
        assert ask().status_code == 409
        assert await daemon.stop() == 0
        assert daemon.faults() == []
