"""`tracepool serve` as a process: its settings, its database, its signals, and a crash under load."""

import os
from pathlib import Path

import httpx
import pytest
import trio

from daemon.database.indexes import wanted_indexes
from tests.fakes.wire import free_port
from tests.support.processes import as_toml, click, offer, psql, run_command, serving
from tests.support.servers import Postgres
from tests.support.waiting import until

TRACKING_URL = "http://ads.example/go?c=1"


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
    assert os.listdir(tmp_path) == [file.name], "it touched nothing"


async def test_the_environment_overrides_the_file_and_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "good.toml"
    file.write_text(as_toml(tmp_path, {"click": {"deadline_s": 5}}))
    ended = await run_command("serve", "--config", str(file), TRACEPOOL_CLICK__DEADLINE_S="61")
    assert ended.returncode == 78
    assert "environment variable TRACEPOOL_CLICK__DEADLINE_S: " in ended.stderr
    assert "1 to 60" in ended.stderr


async def test_while_postgres_is_away_clicks_get_503_and_each_try_is_a_line(tmp_path: Path) -> None:
    closed_port = free_port()
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


async def test_a_start_without_postgres_redirects_by_the_cached_offers(state_dir: Path) -> None:
    """The hits become rows once PostgreSQL is back."""
    postgres = Postgres(state_dir)
    await trio.to_thread.run_sync(postgres.start)
    settings = {"database": {"url": postgres.server.url}}
    async with serving(state_dir, settings) as first:
        await psql(postgres.server.url, f"insert into offers (offer_name, final_url) values ('sale', '{TRACKING_URL}')")
        await first.logged("offers_adopted", count=2)
        assert await first.stop() == 0
    await trio.to_thread.run_sync(lambda: postgres.kill(whole=True))
    async with serving(state_dir, settings, ready=False) as second:
        await second.logged("database_unavailable")
        clicked = await click(second, "sale", "early")
        assert (clicked.status, clicked.location) == (302, f"{TRACKING_URL}&gclid=early")
        assert (await click(second, "unheard-of")).status == 503
        await trio.to_thread.run_sync(postgres.start)
        await second.ready()
        assert (await click(second, "unheard-of")).status == 404
        hits = f"select outcome, reason, location from hits where request_id = '{clicked.request_id}'"
        rows = await psql(postgres.server.url, hits)
        assert rows == [["fallback", "starting", f"{TRACKING_URL}&gclid=early"]], "shipped before it was ready"
        assert await second.stop() == 0
    await trio.to_thread.run_sync(postgres.let_go)


async def test_a_second_daemon_on_one_state_directory_refuses_and_names_the_first(state_dir: Path) -> None:
    async with serving(state_dir) as first:
        second_file = state_dir / "second.toml"
        second_file.write_text(
            as_toml(state_dir, {"click": {"bind": ["127.0.0.1:0"]}, "control": {"bind": "127.0.0.1:0"}})
        )
        second = await run_command("serve", "--config", str(second_file))
        assert second.returncode == 1
        assert f"process {first.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert (await click(first, "none-yet")).status == 404
        assert await first.stop() == 0
        assert first.faults() == []


async def test_a_second_daemon_on_one_database_answers_beside_the_first(state_dir: Path) -> None:
    for name in ("one", "two"):
        (state_dir / name).mkdir(mode=0o711)
    postgres = Postgres(state_dir)
    await trio.to_thread.run_sync(postgres.start)
    settings = {"database": {"url": postgres.server.url}}
    async with serving(state_dir / "one", settings) as first:
        await psql(postgres.server.url, f"insert into offers (offer_name, final_url) values ('sale', '{TRACKING_URL}')")
        async with serving(state_dir / "two", settings) as second:
            for daemon, place in ((first, "a"), (second, "b")):
                clicked = await click(daemon, "sale", place)
                assert (clicked.status, clicked.location) == (302, f"{TRACKING_URL}&gclid={place}")
                hit = f"select reason from hits where request_id = '{clicked.request_id}'"
                await until(lambda hit=hit: postgres.sql(hit), "its hit is a row")  # type: ignore[misc]
            assert await first.stop() == 0
            assert (await click(second, "sale")).status == 302
            assert await second.stop() == 0
    await trio.to_thread.run_sync(postgres.let_go)


async def test_maintenance_answers_though_rows_wait_for_a_refused_statement(state_dir: Path) -> None:
    async with serving(state_dir) as daemon:
        await offer(daemon, "sale", TRACKING_URL)
        # A statement that locks a table and the build of an index of the table would wait for each other.
        await daemon.logged("index_built", len(wanted_indexes()))
        await daemon.psql("alter table hits rename to elsewhere")
        assert (await click(daemon, "sale")).status == 302
        await daemon.logged("statement_refused")
        ended = await run_command("maintenance", TRACEPOOL_STATE_DIR=str(state_dir))
        assert "stopped" not in ended.stderr
        async with httpx.AsyncClient(trust_env=False) as client:
            readyz = await client.get(f"{daemon.url}/readyz")
        assert (readyz.status_code, readyz.text.splitlines()[0]) == (200, "ready")
        assert 'relation "hits" does not exist' in readyz.text
        hinders = [one["sentence"] for one in daemon.status()["advice"] if one["code"] == "database_hinders"]
        assert hinders  # the round of the minute may be among them too
        assert all('relation "hits" does not exist' in sentence for sentence in hinders)
        await daemon.psql("alter table elsewhere rename to hits")
        await daemon.logged("statement_accepted")
        assert await daemon.stop() == 0
