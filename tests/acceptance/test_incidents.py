"""What an operator is told in the first minutes of an installation, and in an incident, within seconds."""

from pathlib import Path
from typing import Any

import trio

from tests.support.processes import Serving, click, control_request, offer, run_command, serving
from tests.support.waiting import until

DEAD_PORT = 9  # nothing listens there
IPS = 20
PATIENCE_S = 20.0  # far below the interval of the maintenance rounds


async def test_first_steps_and_then_dead_proxies_and_a_country_without_ips(state_dir: Path) -> None:
    async with serving(state_dir, {"trace": {"allow_private": True}, "maintenance": {"interval_s": 600}}) as daemon:
        await _first_steps_are_ticked(daemon)
        for _ in range(IPS):  # each click tries some IPs; all of them fail
            async with trio.open_nursery() as visitors:
                for _ in range(4):
                    visitors.start_soon(click, daemon, "sale")
            if daemon.counts("us")["failing"] == IPS:
                break
        await until(lambda: _advised(daemon).get("ips_out", {}).get("count") == IPS, "all IPs are out", PATIENCE_S)
        advised = _advised(daemon)
        out = advised["ips_out"]
        assert (out["severity"], out["country"], out["of"]) == ("critical", "us", IPS)
        assert out["provider"] == "luna"
        assert out["error"] == "the proxy's port refuses connections"
        assert out["command"] == (
            "set provision.check_url and reload, then: tracepool provision check --country us --provider luna"
        )
        logged = await until(
            lambda: [line for line in daemon.log("advice") if line["code"] == "ips_out"], "it is logged", PATIENCE_S
        )
        assert logged[-1]["country"] == "us"
        assert f"{IPS} of the {IPS} IPs of us fail (provider luna)" in (await _output(daemon, "status"))

        nowhere = advised["country_without_ips"]
        assert (nowhere["country"], nowhere["offer"], nowhere["count"]) == ("de", "boots", 1)
        row = daemon.status()["countries"]["de"]
        assert (row["total"], row["offers"]) == (0, 1)
        assert any(line.startswith("de\t0\t0") for line in (await _output(daemon, "status")).splitlines())
        page = control_request(daemon, "/metrics").text
        assert 'tracepool_advice_affected{code="ips_out",country="us",provider="luna"} 20.0' in page
        assert 'tracepool_cluster_pool_ips{country="de",state="available"} 0.0' in page
        assert 'tracepool_cluster_active_offers{country="de"} 1.0' in page
        assert await daemon.stop() == 0


async def _first_steps_are_ticked(daemon: Serving) -> None:
    def done() -> list[bool] | None:
        steps = daemon.status()["first_run"]
        return steps and [step["done"] for step in steps["steps"]]

    assert done() == [False, False, False]
    text = await _output(daemon, "status")
    assert "[ ] 1. Import IPs" in text
    assert f"http://127.0.0.1:{daemon.port}/track-hit?offer=" in text
    assert control_request(daemon, "/api/advice").json()["first_run"]["steps"][0]["key"] == "ips"
    values = ", ".join(f"('127.66.7.{number}', '{DEAD_PORT}', 'us')" for number in range(1, IPS + 1))
    await daemon.psql(f"insert into ip_rotation_pool (ip_address, ip_port, country) values {values}")
    await until(lambda: done() == [True, False, False], "the IPs are ticked")
    await offer(daemon, "sale", "http://ads.example/go")
    await offer(daemon, "boots", "http://ads.example/go", country="DE")
    assert done() == [True, True, False]
    assert (await click(daemon, "sale")).redirected
    await until(lambda: done() is None, "a click has come")


def _advised(daemon: Serving) -> dict[str, dict[str, Any]]:
    return {advice["code"]: advice for advice in daemon.status()["advice"]}


async def _output(daemon: Serving, *command: str) -> str:
    done = await run_command(*command, "--config", str(daemon.state_dir / "settings.toml"))
    assert done.returncode == 0, done.stderr
    return done.stdout
