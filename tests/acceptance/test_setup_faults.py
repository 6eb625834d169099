"""A daemon that starts on a database that cannot work yet, and one whose role has an odd search_path."""

from collections.abc import Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio

from daemon.database import cluster
from tests.fakes.pooler import PACKAGE, pooler
from tests.fakes.relay import open_relay, socket_url
from tests.support.needs import need
from tests.support.processes import as_toml, click, end_of, network_of, run_command, serving
from tests.support.servers import Postgres
from tests.support.state_dirs import open_state_dir
from tests.support.waiting import until

BAD_SETTINGS = 78
ADDRESS = "127.2.9.1"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with open_state_dir(empty=True) as directory:
        server = Postgres(directory)
        server.start()
        yield server
        server.let_go()


async def run(postgres: Postgres, script: str) -> None:
    """In a thread, because asyncio cannot run beside trio in one."""
    await trio.to_thread.run_sync(postgres.run, script)


def settings_for(url: str, **database: object) -> dict[str, dict[str, Any]]:
    return {"database": {"url": url, **database}, "trace": {"allow_private": True, "workers": 2}}


async def test_a_missing_right_ends_the_start_with_its_sql_which_repairs_it(
    state_dir: Path, postgres: Postgres
) -> None:
    await run(postgres, "create role clerk login; revoke create on schema public from public")
    settings = settings_for(postgres.server.url.replace("//tracepool@", "//clerk@"))
    async with serving(state_dir, settings, ready=False) as daemon:
        assert await end_of(daemon.process) == BAD_SETTINGS
        [sentence] = [line for line in daemon.log_file.read_text().splitlines() if line.startswith("tracepool: ")]
    assert "Traceback" not in daemon.log_file.read_text()
    assert 'the role "clerk" has no permission to create tables' in sentence
    refused = await run_command("offers", "list", "--config", str(state_dir / "settings.toml"))
    assert (refused.returncode, refused.stderr.strip()) == (BAD_SETTINGS, sentence)
    await run(postgres, sentence.rpartition(": ")[2])
    async with serving(state_dir, settings) as daemon:
        assert await daemon.stop() == 0


async def test_a_standby_is_waited_for_and_used_once_it_is_promoted(state_dir: Path, postgres: Postgres) -> None:
    data = postgres.server.data_dir
    settings = settings_for(postgres.server.url)
    async with serving(state_dir, settings) as daemon:
        await run(postgres, "insert into offers (offer_name, final_url) values ('sale', 'http://ads.example/go')")
        await until(lambda: any(line["active"] for line in daemon.log("offers_adopted")), "the offer is adopted")
        assert await daemon.stop() == 0
    postgres.let_go()
    (data / "standby.signal").touch()
    postgres.start()
    async with serving(state_dir, settings, ready=False) as daemon:
        [line, *_] = await daemon.logged("database_unavailable")
        assert "standby" in line["why"]
        assert "select pg_promote();" in line["remedy"]
        assert (await click(daemon, "sale")).redirected
        await run(postgres, "select pg_promote()")
        await daemon.ready()
        assert await daemon.stop() == 0


@pytest.mark.parametrize("mode", ["no pooler", "transaction"])
async def test_a_role_with_any_search_path_uses_the_schema_of_the_settings(
    mode: str, state_dir: Path, postgres: Postgres, tmp_path: Path
) -> None:
    if mode == "transaction":
        need(PACKAGE)
    await run(postgres, "alter role tracepool set search_path = ''")

    @asynccontextmanager
    async def reached() -> Any:
        async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME) as relay:
            behind = pooler("transaction", relay.port, tmp_path) if mode == "transaction" else nullcontext(relay.port)
            async with behind as port:
                yield socket_url(port)

    async with reached() as url, network_of([ADDRESS]) as network:
        settings = settings_for(url, schema="our clicks")
        async with serving(state_dir, settings) as daemon:
            ip = f"('{ADDRESS}', '{network.proxy_port}')"
            await run(postgres, f'insert into "our clicks".ip_rotation_pool (ip_address, ip_port) values {ip}')
            await run(
                postgres,
                'insert into "our clicks".offers (offer_name, final_url) '
                f"values ('sale', '{network.chain_url(2, 10)}')",
            )
            await until(lambda: daemon.counts("us")["total"] == 1, "the IP is adopted")
            await until(lambda: any(line["active"] for line in daemon.log("offers_adopted")), "the offer is adopted")
            assert (await click(daemon, "sale")).redirected
            hits = 'select outcome from "our clicks".hits'
            assert await until(lambda: postgres.sql(hits), "the hit is shipped") == [{"outcome": "resolved"}]
            listed = await run_command("offers", "list", "--json", "--config", str(state_dir / "settings.toml"))
            assert '"sale"' in listed.stdout
            assert await daemon.stop() == 0


async def test_psql_finds_the_tables_of_the_settings_schema(state_dir: Path, postgres: Postgres) -> None:
    await run(postgres, "alter role tracepool set search_path = nowhere")
    config = state_dir / "settings.toml"
    config.write_text(as_toml(state_dir, settings_for(postgres.server.url, schema='an "odd" one')))
    shown = await run_command("psql", "--config", str(config), "-At", "-c", "select count(*) from offers")
    assert (shown.stdout.strip(), shown.stderr) == ("0", "")
    await run(postgres, "create role reader login; create role editor login")
    for role, option in (("reader", ["--read-only"]), ("editor", [])):
        printed = await run_command("database-grants", role, *option, "--config", str(config))
        await run(postgres, printed.stdout)
    url = postgres.server.url.replace("//tracepool@", "//reader@")
    config.write_text(as_toml(state_dir, settings_for(url, schema='an "odd" one')))
    refused = await run_command("offers", "list", "--config", str(config))
    assert refused.returncode == BAD_SETTINGS
    assert "INSERT and UPDATE and DELETE on" in refused.stderr
    url = postgres.server.url.replace("//tracepool@", "//editor@")
    config.write_text(as_toml(state_dir, settings_for(url, schema='an "odd" one')))
    done = await run_command("offers", "add", "sale", "https://ads.example/go", "--config", str(config))
    assert done.returncode == 0, done.stderr
    await until(lambda: postgres.sql('select from "an ""odd"" one".offers'), "the offer is there")
