"""`tracepool trace` while it must wait: the reason, --now, --timeout, Ctrl-C, the API; and what can never be traced."""

import json
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio

from daemon.demo.history import check
from tests.support.processes import (
    Serving,
    click,
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

US, DE = ("127.2.11.1", "127.2.11.2", "127.2.11.3"), ("127.2.11.9",)
TIMEOUT_S = "12"  # for a slow machine to learn why it waits
COOLDOWN_S = 600
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "trace": {"allow_private": True},
    "pool": {"cooldown_s": COOLDOWN_S, "lock_s": 90},
}
SLOW_MS = 60_000


async def test_a_trace_that_must_wait_says_why_and_can_be_hurried_given_up_and_cancelled(state_dir: Path) -> None:
    config = ["--config", str(state_dir / "settings.toml")]
    async with network_of([*US, *DE]) as network, serving(state_dir, SETTINGS) as daemon:
        await provision(daemon, network, US)
        await offer(daemon, "sale", network.chain_url(1, 1))
        for _ in range(2):
            assert (await click(daemon, "sale")).redirected
        await until(lambda: daemon.counts("us")["cooldown"] == 2, "two IPs rest")
        url = network.chain_url(1, 1)

        late = await run_command("trace", url, "--timeout", TIMEOUT_S, *config)
        assert late.returncode == 1
        assert "waiting: us is 67% in use (2 of 3 IPs), and such traces begin below 60%." in late.stderr
        assert "--now" in late.stderr
        assert "not traced within the time that was given for it" in late.stdout
        assert "timeout" in late.stdout

        await _ctrl_c_cancels_what_waits(daemon, url, config)
        await _the_api_cancels_what_waits(daemon, url)

        hurried = await run_command("trace", url, "--now", "--json", *config)
        assert hurried.returncode == 0, hurried.stderr
        assert json.loads(hurried.stdout)["ip_assigned"] in US
        resting = await run_command("trace", url, "--now", "--timeout", TIMEOUT_S, *config)
        assert resting.returncode == 1
        assert "none of the 3 IPs of us is free: they are leased or rest" in resting.stderr

        await provision(daemon, network, DE, "de")
        alone = await run_command("trace", url, "--country", "de", *config)
        assert alone.returncode == 1
        assert "de has 1 IP: one trace would use 100%, and such traces begin below 60%" in alone.stdout
        await _ctrl_c_cancels_what_runs(daemon, network.chain_url(1, SLOW_MS), config)
        await daemon.psql("update ip_rotation_pool set is_healthy = false, status = 'failed' where country = 'de'")
        await until(lambda: daemon.counts("de")["failed"] == 1, "the IP has failed")
        failed = await run_command("trace", url, "--country", "de", "--now", *config)
        assert failed.returncode == 1
        assert "the one IP of de has failed" in failed.stdout
        assert "tracepool provision check --country de" in failed.stdout

        assert await daemon.stop() == 0
        assert daemon.faults() == []
        assert check(network.log.events, cooldown_s=COOLDOWN_S, addresses={*US, *DE}) == []


async def _ctrl_c_cancels_what_waits(daemon: Serving, url: str, config: list[str]) -> None:
    out = daemon.state_dir / "waits"
    command = await start_command(["trace", url, url, "--timeout", "300", *config], out, out)
    await until(lambda: "waiting: us is 67% in use" in out.read_text(), "the reason is said")
    [queue] = daemon.status()["traces_waiting"]
    assert (queue["country"], queue["waiting"], queue["running"]) == ("us", 2, 0)
    assert queue["reason"] == "in_use"
    shown = await run_command("status", *config)
    assert "tracepool trace in us: 2 wait since " in shown.stdout
    assert "us is 67% in use" in shown.stdout
    command.send_signal(signal.SIGINT)
    assert await end_of(command) == 130
    assert "cancelled 2 of 2" in out.read_text()
    await until(lambda: daemon.status()["traces_waiting"] == [], "none waits")
    ended = await daemon.psql(
        "select status, reason, ip_assigned is null, count(*) from active_trace_requests"
        " where reason = 'cancelled' group by 1, 2, 3"
    )
    assert ended == [["failed", "cancelled", "t", "2"]]


async def _the_api_cancels_what_waits(daemon: Serving, url: str) -> None:
    async def request(path: str, method: str, body: Any = None) -> Any:
        ask = partial(control_request, daemon, path, method=method, json=body)
        answer = await trio.to_thread.run_sync(ask)
        assert answer.status_code < 300, answer.text
        return answer.json()

    one, *others = (await request("/api/traces", "POST", {"urls": [url] * 3}))["request_ids"]
    await until(lambda: [queue["waiting"] for queue in daemon.status()["traces_waiting"]] == [3], "three wait")
    listed = await request("/api/traces/waiting", "GET")
    assert [item["reason"] for item in listed["items"]] == ["in_use"]
    assert await request(f"/api/traces/{one}", "DELETE") == {"cancelled": 1}
    assert (
        await trio.to_thread.run_sync(partial(control_request, daemon, f"/api/traces/{one}", method="DELETE"))
    ).status_code == 404
    assert await request("/api/traces/cancel", "POST", {"country": "USA"}) == {"cancelled": len(others)}
    assert (await request(f"/api/traces/{one}", "GET"))["trace"]["status"] == "failed"


async def _ctrl_c_cancels_what_runs(daemon: Serving, url: str, config: list[str]) -> None:
    """The trace ends, its row says so, and its IP rests."""
    out = daemon.state_dir / "runs"
    command = await start_command(["trace", url, "--country", "de", "--now", *config], out, out)
    await until(lambda: daemon.counts("de")["locked"] == 1, "it has its IP")
    command.send_signal(signal.SIGINT)
    assert await end_of(command) == 130
    assert "cancelled 1 of 1" in out.read_text()
    await until(lambda: daemon.counts("de")["cooldown"] == 1, "its IP rests")
    with trio.fail_after(20):
        rows: list[list[str]] = []
        while not rows:
            rows = await daemon.psql(
                "select reason, ip_assigned from active_trace_requests where target_country = 'de'"
                " and status = 'failed' and ip_assigned is not null"
            )
    assert rows == [["cancelled", DE[0]]]
