"""Connections to the servers of a connection string: TLS, several hosts, the session's parameters, refused logins."""

import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from daemon.database import cluster
from daemon.database.postgres import Connection, database_loop, open_database
from daemon.errors import BadSettings, DatabaseUnavailable, DatabaseUnfit
from daemon.settings import model
from tests.fakes.relay import Relay, open_relay, socket_url
from tests.fakes.wire import free_port
from tests.integration.databases import PostgresServer
from tests.support.waiting import until

CONNECT_S = 1.0
SECRET = "c4n4ry?# /%@:[x]&"


async def ask(url: str, statement: str = "select 1") -> Any:
    """What a statement gives on the first connection."""

    async def unit(conn: Connection) -> Any:
        return await conn.fetchval(statement)

    refused: Exception | None = None
    async with database_loop():  # it puts an exception into a group
        try:
            async with open_database(url, model.Database(connect_timeout_s=CONNECT_S)) as database:
                return await database.work(unit)
        except (BadSettings, DatabaseUnavailable) as e:
            refused = e
    assert refused is not None
    raise refused


@asynccontextmanager
async def relayed(postgres: PostgresServer, authority: trustme.CA | None = None) -> AsyncIterator[Relay]:
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    async with open_relay(postgres.server.socket_dir / cluster.SOCKET_NAME, context) as relay:
        yield relay


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_a_server_without_tls_serves_the_modes_that_allow_it(mode: str, postgres: PostgresServer) -> None:
    async with relayed(postgres) as relay:
        assert await ask(socket_url(relay.port, sslmode=mode)) == 1


async def test_a_server_without_tls_is_a_fault_of_the_setup_where_tls_is_required(postgres: PostgresServer) -> None:
    async with relayed(postgres) as relay:
        with pytest.raises(DatabaseUnfit, match=r"no TLS: .*alter system set ssl = on;.*sslmode=prefer"):
            await ask(socket_url(relay.port, sslmode="require"))


@pytest.mark.usefixtures("no_home")
async def test_tls_verifies_the_certificate_as_the_mode_says(postgres: PostgresServer, tmp_path: Path) -> None:
    authority, root, other = trustme.CA(), tmp_path / "root.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(root)
    trustme.CA().cert_pem.write_to_path(other)
    async with relayed(postgres, authority) as relay:
        by_address = socket_url(relay.port)
        by_name = by_address.replace("127.0.0.1", "localhost")
        for accepted in (
            f"{by_address}?sslmode=prefer",
            f"{by_address}?sslmode=require",
            f"{by_address}?sslmode=require&sslrootcert={root}",
            f"{by_address}?sslmode=verify-ca&sslrootcert={root}",
            f"{by_name}?sslmode=verify-full&sslrootcert={root}",
        ):
            assert await ask(accepted) == 1, accepted
        for refused in (
            f"{by_address}?sslmode=verify-full&sslrootcert={root}",
            f"{by_name}?sslmode=verify-full&sslrootcert={other}",
            f"{by_name}?sslmode=require&sslrootcert={other}",
            f"{by_name}?sslmode=verify-ca&sslrootcert={other}",
            f"{by_name}?sslrootcert=system",
        ):
            with pytest.raises(DatabaseUnavailable, match="certificate"):
                await ask(refused)


@pytest.mark.usefixtures("no_home")
async def test_a_file_for_tls_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate")
    url = f"postgresql://u@localhost:{free_port()}/x"
    for query, said in (
        ("sslmode=verify-ca", "needs sslrootcert"),
        (f"sslmode=verify-ca&sslrootcert={text}", "sslrootcert cannot be used"),
        (f"sslmode=require&sslcert={text}", "sslcert cannot be used"),
        (f"sslmode=prefer&sslcert={text}", "sslcert cannot be used"),
        (f"sslmode=require&sslkey={tmp_path / 'none'}", "sslkey"),
        (f"passfile={tmp_path / 'none'}", "passfile"),
    ):
        with pytest.raises(BadSettings, match=rf"^database\.url: .*{said}"):
            await ask(f"{url}?{query}")


async def test_the_next_host_is_tried_after_one_that_is_silent_or_refuses(postgres: PostgresServer) -> None:
    async with relayed(postgres) as silent, relayed(postgres) as works:
        silent.silence()
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{silent.port},127.0.0.1:{works.port}"
        url = f"postgresql://{cluster.SUPERUSER}@{hosts}/{cluster.DATABASE}"
        began_s = time.monotonic()
        assert await ask(url) == 1
        assert time.monotonic() - began_s >= CONNECT_S, "the silent host has its time"
        assert await ask(f"{url}?target_session_attrs=read-write") == 1
        assert await ask(f"{url}?target_session_attrs=prefer-standby") == 1
        with pytest.raises(
            DatabaseUnavailable, match=rf"127\.0\.0\.1:{works.port}: the server does not have the target_session_attrs"
        ):
            await ask(f"{url}?target_session_attrs=standby")


async def test_a_time_limit_in_the_connection_string_replaces_the_setting(postgres: PostgresServer) -> None:
    async with relayed(postgres) as relay:
        relay.silence()
        began_s = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            await ask(socket_url(relay.port, connect_timeout="2"))
        assert time.monotonic() - began_s >= 2


async def test_the_session_has_the_parameters_of_the_connection_string(postgres: PostgresServer) -> None:
    url = postgres.server.url
    assert await ask(f"{url}&application_name=clicks", "show application_name") == "clicks"
    assert await ask(f"{url}&fallback_application_name=clicks", "show application_name") == "clicks"
    assert await ask(url, "show application_name") == "tracepool"
    assert await ask(f"{url}&options=-c%20geqo=off%20-c%20enable_sort=off", "show enable_sort") == "off"
    with pytest.raises(DatabaseUnfit, match=r"no_such_setting.*options"):
        await ask(f"{url}&options=-c%20no_such_setting=1")


async def test_keepalives_are_set_on_the_socket(postgres: PostgresServer) -> None:
    async with relayed(postgres) as relay:
        url = socket_url(relay.port, keepalives="1", keepalives_idle="33", tcp_user_timeout="4000")
        async with database_loop(), open_database(url, model.Database()) as database:

            async def options(conn: Connection) -> list[int]:
                of_tcp = conn._transport.get_extra_info("socket")
                pairs = (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )
                return [of_tcp.getsockopt(*pair) for pair in pairs]

            assert await database.work(options) == [1, 33, 4000]


@pytest.fixture
def with_passwords(postgres: PostgresServer) -> str:
    """The database's URL without a login; the roles `login_…` need their password."""
    access = postgres.server.data_dir / "pg_hba.conf"
    if "login_" not in access.read_text():
        access.write_text(
            "local all login_refused reject\nlocal all /^login_.*$ scram-sha-256\n"
            "local nosuchdatabase all trust\n" + access.read_text()
        )
        postgres.sql(
            "create role login_ok login password 'c4n4ry?# /%@:[x]&'; create role login_never password 'x';"
            "create role login_refused login; select pg_reload_conf()"
        )
    return postgres.server.url.partition("@")[2]


async def test_a_password_of_any_characters_works_and_a_refused_login_names_the_remedy(with_passwords: str) -> None:
    rest = with_passwords

    async def reloaded() -> bool:  # pg_hba.conf; this takes a moment
        try:
            await ask(f"postgresql://login_ok:wrong@{rest}")
        except DatabaseUnfit:
            return True
        return False

    await until(reloaded, "passwords are required")
    assert await ask(f"postgresql://login_ok:{quote(SECRET, safe='')}@{rest}") == 1
    quoted = SECRET.replace("'", "\\'")
    path = rest.partition("host=")[2]
    assert await ask(f"host={path} dbname=tracepool user=login_ok password='{quoted}'") == 1
    for url, said in (
        (f"postgresql://login_ok:c4n4ry@{rest}", r'refuses the password of the role "login_ok".*alter role "login_ok"'),
        (f"postgresql://login_none:c4n4ry@{rest}", r'refuses the password of the role "login_none"'),
        (f"postgresql://no_role:c4n4ry@{rest}", r'create role "no_role" login'),
        (f"postgresql://login_refused:c4n4ry@{rest}", r"pg_hba.conf.*pg_reload_conf"),
        (f"postgresql://tracepool@/nosuchdatabase?host={path}", r'create database "nosuchdatabase" owner "tracepool"'),
        (f"postgresql://tracepool@/template0?host={path}", r'alter database "template0" allow_connections true;'),
    ):
        with pytest.raises(DatabaseUnfit, match=said) as refused:
            await ask(url)
        assert "c4n4ry" not in str(refused.value)
