"""`tracepool serve` as a process: its settings, its database, its signals, and a crash under load."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio

from daemon.demo.history import check
from daemon.demo.network import free_port_for
from tests.acceptance.processes import (
    PATIENCE_S,
    Load,
    Serving,
    as_toml,
    click,
    database_of,
    end_of,
    network_of,
    offer,
    provision,
    psql,
    run_command,
    serving,
    under_load,
    until,
)
from tests.integration.state_dirs import open_state_dir

ADDRESSES = tuple(f"127.2.0.{number}" for number in range(1, 101))
CLICKS_PER_S = 20.0
COOLDOWN_S = 60.0


@pytest.fixture
def state_dir() -> Iterator[Path]:
    with open_state_dir() as directory:
        yield directory


async def hit_ids(url: str) -> set[str]:
    rows = await psql(url, "SELECT request_id FROM hits")
    assert len(rows) == len({row[0] for row in rows})
    return {row[0] for row in rows}


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("click", "deadline_s", 0.5, "1 to 60"),
        ("pool", "cooldown_s", -1, "0 to 86400"),
        ("trace", "hop_max", 5, "unknown key; allowed here: "),
        ("click", "bind", ["nowhere"], "'nowhere' is not an address such as 0.0.0.0:8080"),
    ],
)
async def test_a_bad_setting_ends_it_with_file_key_and_what_is_allowed(
    tmp_path: Path, section: str, key: str, value: object, allowed: str
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(as_toml(tmp_path, {section: {key: value}}))
    ended = await run_command("serve", "--config", str(file))
    assert ended.returncode == 78
    assert f"{file}: {section}.{key}: " in ended.stderr
    assert allowed in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == [file], "it touched nothing"


async def test_the_environment_overrides_the_file_and_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(as_toml(tmp_path, {"click": {"deadline_s": 5}}))
    ended = await run_command("serve", "--config", str(file), TRACEPOOL_CLICK__DEADLINE_S="61")
    assert ended.returncode == 78
    assert "environment variable TRACEPOOL_CLICK__DEADLINE_S: " in ended.stderr
    assert "1 to 60" in ended.stderr


async def test_while_postgres_is_away_clicks_get_503_and_each_try_is_a_line(tmp_path: Path) -> None:
    closed_port = free_port_for(["127.0.0.1"], 15_432)
    settings = {"database": {"url": f"postgresql://canary:c4n4ry-word@127.0.0.1:{closed_port}/none"}}
    async with serving(tmp_path, settings, ready=False, TRACEPOOL_POOL__COOLDOWN_S="7") as daemon:
        tries = await daemon.logged("database_unavailable", count=2)
        assert all(str(closed_port) in line["why"] for line in tries)
        assert (await click(daemon, "summer-sale")).status == 503
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{daemon.url}/readyz")).status_code == 503
            assert (await client.get(f"{daemon.url}/livez")).status_code == 200
        assert daemon.log("starting")[0]["settings"]["pool.cooldown_s"] == 7
        assert await daemon.stop() == 0
        assert "c4n4ry-word" not in daemon.log_file.read_text()


async def test_a_second_daemon_on_one_state_directory_refuses_and_names_the_first(state_dir: Path) -> None:
    async with serving(state_dir) as first:
        second_file = state_dir / "second.toml"
        second_file.write_text(as_toml(state_dir, {"click": {"bind": ["127.0.0.1:0"]}}))
        second = await run_command("serve", "--config", str(second_file))
        assert second.returncode == 1
        assert f"process {first.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert (await click(first, "none-yet")).status == 404
        assert await first.stop() == 0
        assert first.faults() == []


async def test_operators_sql_takes_effect_at_once_and_never_breaks_a_lease(state_dir: Path) -> None:
    addresses = ADDRESSES[:6]
    good, bad, german, edited = addresses[:2], addresses[2:4], addresses[4], addresses[5]
    async with network_of(addresses) as network, serving(state_dir, {"pool": {"failures_max": 1}}) as daemon:
        await daemon.psql(
            "INSERT INTO ip_rotation_pool (ip_address, ip_port, country, provider)"
            " SELECT '185.199.228.' || generate_series(1, 10), '7000', 'fr', 'luna'"
        )
        await until(lambda: daemon.counts("fr")["available"] == 10, "ten IPs by generate_series join")
        await daemon.psql(
            "INSERT INTO ip_rotation_pool (ip_address, ip_port, country)"
            " VALUES ('test-ip-1', '7000', 'us'), ('test-ip-2', '7000', 'us')"
        )
        await until(lambda: daemon.counts("us")["available"] == 2, "two IPs by VALUES join")
        await daemon.psql("DELETE FROM ip_rotation_pool WHERE ip_address LIKE 'test-ip-%'")
        await until(lambda: daemon.counts("us")["total"] == 0, "they leave")

        await provision(daemon, network, bad, "us")
        await offer(daemon, "summer-sale", network.chain_url(hops=2, delay_ms=10, landing="www.shop.example"))
        await _a_reset_brings_failed_ips_back(daemon, network, bad)

        await provision(daemon, network, [german], "de")
        await provision(daemon, network, [edited], "uk")
        await offer(daemon, "german", network.chain_url(hops=3, delay_ms=500, landing="www.shop.example"), "de")
        await offer(daemon, "british", network.chain_url(hops=3, delay_ms=500, landing="www.shop.example"), "uk")
        await _leases_in_flight_outlive_edits(daemon)

        await provision(daemon, network, good, "us")
        assert (await click(daemon, "summer-sale")).redirected
        await daemon.psql("UPDATE offers SET is_active = false WHERE offer_name = 'summer-sale'")
        active = len(daemon.log("offers_adopted"))
        await until(lambda: len(daemon.log("offers_adopted")) >= active, "the offer's end is adopted")
        await _until_status(daemon, "summer-sale", 404)
        await _operators_look(daemon)
        assert await daemon.stop() == 0
        assert daemon.faults() == []
        assert check(network.log.events, cooldown_s=0, addresses=addresses) == []
