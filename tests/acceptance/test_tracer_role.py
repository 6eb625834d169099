"""Two daemons: one answers clicks; the other, without a database, traces for it."""

from pathlib import Path

import httpx
import pytest

from tests.support.processes import (
    Serving,
    as_toml,
    click,
    control_request,
    end_of,
    network_of,
    offer,
    provision,
    run_command,
    serving,
)
from tests.support.waiting import until

TOKEN = "t0k3n-between-the-two-daemons"
LANDING = "www.shop.example"


def trace_by(tracer: Serving) -> httpx.Response:
    body = {"url": "ftp://ads.example/", "proxy_ip": "127.0.0.1", "proxy_port": 1}
    return control_request(tracer, "/trace", method="POST", json=body)


async def test_one_daemon_traces_for_another(state_dir: Path, tmp_path: Path) -> None:
    tracer_settings = {"trace": {"allow_private": True}}
    async with (
        network_of(["127.3.0.1", "127.3.0.2"]) as network,
        serving(tmp_path, tracer_settings, TRACEPOOL_ROLE="tracer", TRACEPOOL_CONTROL__TOKEN=TOKEN) as tracer,
    ):
        trace = {"allow_private": True, "backend": "service", "service_url": tracer.control_url}
        async with serving(state_dir, {"trace": trace}, TRACEPOOL_TRACE__SERVICE_TOKEN=TOKEN) as daemon:
            await provision(daemon, network, network.addresses)
            await offer(daemon, "summer-sale", network.chain_url(hops=3, landing=LANDING))
            clicked = await click(daemon, "summer-sale")
            assert str(clicked.location).startswith(f"http://{LANDING}/")
            (line,) = await tracer.logged("audit")
            assert (line["who"], line["what"], line["verdict"]) == ("settings", "POST /trace", "ok")
            assert [line["proxy"].partition(":")[0]] == [row["ip"].partition(":")[0] for row in daemon.log("trace")]
            tracer.process.kill()
            await end_of(tracer.process)
            assert (await click(daemon, "summer-sale")).redirected, "to the tracking URL: every click is answered"
            (failed,) = [row for row in await daemon.logged("trace", 2) if row["status"] == "failed"]
            assert (failed["verdict"], failed["reason"]) == ("service", "service_unreachable")
            health = "select count(*) from ip_rotation_pool where failure_count > 0"
            assert await daemon.psql(health) == [["0"]], "the service's fault is not the IP's"
            assert await daemon.stop() == 0
            assert TOKEN not in daemon.log_file.read_text() + tracer.log_file.read_text()


async def test_a_tracer_needs_nothing_on_disk_reloads_its_token_and_stops_in_order(tmp_path: Path) -> None:
    nothing = tmp_path / "not-there"
    async with serving(tmp_path, TRACEPOOL_ROLE="tracer", TRACEPOOL_STATE_DIR=str(nothing)) as tracer:
        assert control_request(tracer, "/readyz").status_code == 200
        assert trace_by(tracer).json()["verdict"] == "operator"
        config = tmp_path / "settings.toml"
        config.write_text(f'{config.read_text()}token = "{TOKEN}"\n')  # its last section is [control]
        tracer.process.send_signal(1)
        await until(lambda: trace_by(tracer).status_code == 401, "it wants a token")
        assert await tracer.stop() == 0
        assert [line["event"] for line in tracer.log() if line["event"] in ("stopping", "stopped")] == [
            "stopping",
            "stopped",
        ]
        assert tracer.faults() == []
    assert not nothing.exists()


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_a_tracer_that_others_can_reach_needs_a_token_of_its_settings(token: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'role = "tracer"\n{as_toml(tmp_path, {"control": {"bind": "0.0.0.0:0", "token": token}})}')
    if token:
        async with serving(tmp_path, {"control": {"bind": "0.0.0.0:0", "token": token}}, TRACEPOOL_ROLE="tracer") as it:
            assert await it.stop() == 0
        return
    refused = await run_command("serve", "--config", str(config))
    assert refused.returncode == 78
    assert "control.token" in refused.stderr
    assert "token create" not in refused.stderr, "it has no database to keep one in"
