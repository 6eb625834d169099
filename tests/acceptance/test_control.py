"""The control face of a running daemon: tokens made and removed by the command, and the same status as the command."""

import json
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.support.processes import ADOPTED_S, Serving, as_toml, click, control_request, run_command, serving
from tests.support.waiting import until


async def token_command(daemon: Serving, *words: str) -> str:
    done = await run_command("token", *words, "--config", str(daemon.state_dir / "settings.toml"))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_tokens_are_made_and_taken_back_while_the_daemon_runs(state_dir: Path) -> None:
    async with serving(state_dir) as daemon:
        open_to_all = control_request(daemon)
        assert open_to_all.status_code == 200
        assert _shape(open_to_all.json()) == _shape(daemon.status()), "the models lack nothing that the status has"

        reader = await token_command(daemon, "create", "grafana")
        await until(lambda: control_request(daemon).status_code == 401, "a token is wanted", ADOPTED_S)
        operator = await token_command(daemon, "create", "anna", "--role", "operator")
        await until(
            lambda: control_request(daemon, token=operator).status_code == 200, "the second is adopted", ADOPTED_S
        )
        assert control_request(daemon, token=reader, method="POST", json={}).status_code == 403
        assert control_request(daemon, token=operator, method="POST", json={}).status_code == 405
        (change,) = daemon.log("audit")
        assert (change["who"], change["what"], change["result"]) == ("anna", "POST /api/status", 405)

        await daemon.psql("insert into ip_rotation_pool (ip_address, ip_port) values ('[::1]', '7000')")
        await until(lambda: daemon.counts("us")["total"] == 1, "the IP is adopted", ADOPTED_S)
        of_the_pool = {"url": "http://ads.example/", "proxy_ip": "::1", "proxy_port": 7000}
        leased = control_request(daemon, "/trace", operator, method="POST", json=of_the_pool)
        assert (leased.status_code, leased.json()["type"]) == (409, "/problems/proxy-in-use")

        await token_command(daemon, "revoke", "grafana")
        await until(lambda: control_request(daemon, token=reader).status_code == 401, "it is refused", ADOPTED_S)
        assert await daemon.psql("select count(*) from control_tokens where revoked_at is not null") == [["1"]]
        assert await daemon.stop() == 0
        assert daemon.faults() == []
        said = daemon.log_file.read_text()
        assert reader not in said
        assert operator not in said


async def test_beyond_this_machine_the_daemon_refuses_to_start_until_there_is_a_token(state_dir: Path) -> None:
    config = state_dir / "settings.toml"
    config.write_text(as_toml(state_dir, {"click": {"bind": ["127.0.0.1:0"]}, "control": {"bind": "0.0.0.0:0"}}))
    refused = await run_command("serve", "--config", str(config))
    assert refused.returncode == 78
    (complaint,) = [line for line in refused.stderr.splitlines() if line.startswith("tracepool: ")]
    assert "control.bind" in complaint
    assert "tracepool token create" in complaint
    assert (await run_command("token", "create", "anna", "--config", str(config))).returncode == 0
    listed = await run_command("token", "list", "--json", "--config", str(config))
    assert [(row["name"], row["role"], row["revoked_at"]) for row in json.loads(listed.stdout)] == [
        ("anna", "read", None)
    ]
    async with serving(state_dir, {"control": {"bind": "0.0.0.0:0"}}) as daemon:
        assert await daemon.stop() == 0


def _shape(value: Any) -> Any:
    """The names of all nested keys, without values."""
    return {key: _shape(inner) for key, inner in value.items()} if isinstance(value, dict) else None


async def test_the_event_stream_has_each_click_and_delays_no_stop(state_dir: Path) -> None:
    async with (
        serving(state_dir) as daemon,
        httpx.AsyncClient(base_url=daemon.control_url, trust_env=False, timeout=20) as client,
        client.stream("GET", "/api/events") as answer,
    ):
        heard = ""

        async def hear() -> None:
            nonlocal heard
            async for piece in answer.aiter_text():
                heard += piece

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            await until(lambda: "event: status" in heard, "the status comes")
            assert '"event":"ready"' in heard
            await click(daemon, "unheard-of")
            await until(lambda: '"outcome":"refused"' in heard, "the refused click is in the stream")
            assert await daemon.stop() == 0  # the stream's response is complete then
        assert daemon.faults() == daemon.log("connections_cut") == []
