"""What an operator sees of the clicks at a running daemon: explain, logs, metrics, advice."""

import json
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import (
    CANARY,
    Serving,
    click,
    control_request,
    network_of,
    offer,
    provision,
    run_command,
    serving,
)
from tests.support.waiting import until

ADDRESSES = ("127.64.9.1", "127.64.9.2")


async def test_a_click_can_be_explained_found_in_the_log_and_is_counted(state_dir: Path) -> None:
    async with network_of(ADDRESSES) as network, serving(state_dir, {"trace": {"allow_private": True}}) as daemon:
        await provision(daemon, network, ADDRESSES)
        await offer(daemon, "sale", network.chain_url(3, 1))
        clicked, refused = await click(daemon, "sale", "try-me"), await click(daemon, "nope")
        assert clicked.request_id is not None
        assert refused.request_id is not None

        found = json.loads(await run_output(daemon, "explain", clicked.request_id, str(daemon.log_file), "--json"))
        assert found["offer"] == "sale"
        assert found["chosen"]["ip"].partition(":")[0] in ADDRESSES
        assert (found["chosen"]["choices"], found["chosen"]["lease_no"]) == (2, 1)
        assert [hop["status"] for hop in found["hops"]] == [302, 302, 302, 200]
        assert all(hop["bytes_received"] > 0 for hop in found["hops"])
        assert found["answered"]["added"] == {"gclid": "try-me"}
        assert found["answered"]["location"] == clicked.location
        assert {line["event"] for line in found["log"]} == {"click", "trace"}
        text = await run_output(daemon, "explain", refused.request_id, str(daemon.log_file))
        assert "refused    404: no active offer has that name" in text

        lines = (await run_output(daemon, "logs", "--request", clicked.request_id, str(daemon.log_file))).splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["trace", "click"]

        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(scraped(daemon))
            for sample in family.samples
        }
        assert samples["tracepool_clicks_total", "", "resolved"] == 1
        assert samples["tracepool_clicks_total", "refused", "unknown_offer"] == 1
        assert samples["tracepool_click_wait_seconds_count",] == 1
        assert samples["tracepool_traces_total", "luna", "ok"] == 1
        assert samples["tracepool_leases_total", "us"] == 1
        assert samples["tracepool_proxy_bytes_total", "luna", "received"] > 0
        assert samples["tracepool_database_reachable",] == 1
        assert daemon.faults() == []


async def test_a_daemon_gives_advice_from_its_clicks_and_rows(state_dir: Path) -> None:
    """Clicks of a country without IPs fall back; the maintenance round reads ten minutes of high utilisation."""
    async with serving(state_dir, {"maintenance": {"interval_s": 1}}) as daemon:
        await offer(daemon, "sale", "https://ads.example/go")
        for _ in range(3):
            assert (await click(daemon, "sale")).redirected
        await daemon.psql(
            "insert into ip_pool_statistics (recorded_at, total_ips, available_ips, locked_ips, cooldown_ips,"
            " failed_ips, pool_utilization_percent, active_requests, completed_requests_1h, failed_requests_1h) select"
            " now() - make_interval(mins => age), 20, 2, 3, 15, 0, 90, 3, 0, 0 from generate_series(1, 12) age"
        )
        await until(lambda: {"utilisation_high", "fallbacks_high"} <= advised(daemon), "both are advised")
        assert {line["code"] for line in daemon.log("advice")} >= {"utilisation_high", "fallbacks_high"}
        assert "warning: The pool of all countries has been more than 80% in use" in await run_output(daemon, "status")
        assert 'tracepool_advice_active{code="utilisation_high",severity="warning"} 1.0' in scraped(daemon)
        by_api = control_request(daemon, "/api/maintenance", method="POST", json={})
        assert by_api.status_code == 200, by_api.text
        for report in (by_api.json(), json.loads(await run_output(daemon, "maintenance", "--json"))):
            assert "utilisation_high" in {advice["code"] for advice in report["advice"]}


def advised(daemon: Serving) -> set[str]:
    return {advice["code"] for advice in daemon.status()["advice"]}


def scraped(daemon: Serving) -> str:
    answer = control_request(daemon, "/metrics")
    assert answer.status_code == 200
    assert CANARY not in answer.text
    return answer.text


async def run_output(daemon: Serving, *arguments: str) -> str:
    done = await run_command(*arguments, TRACEPOOL_STATE_DIR=str(daemon.state_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout
