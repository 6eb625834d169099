"""`tracepool trace` where no daemon runs on this host."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from daemon.cli import trace
from daemon.database.postgres import Connection
from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer

URL = "https://ads.example/go"
TRACED_AT_ONCE = """
create function traced() returns trigger language plpgsql as $$
begin
    new.status := 'completed';
    new.final_url := 'https://shop.example/';
    return new;
end $$;
create trigger traced before insert on active_trace_requests for each row execute function traced();
"""
NODE = (
    "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version) values"
    " (gen_random_uuid(), 'far-1', 1, gen_random_uuid(), 'active', now() + interval '{} s', 160, '1.0')"
)


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize(("trusted_for_s", "status"), [(900, 0), (-1, 1)])
def test_urls_are_traced_by_the_nodes_of_other_hosts(tracepool: Commands, trusted_for_s: int, status: int) -> None:
    tracepool.sql(TRACED_AT_ONCE)
    tracepool.sql(NODE.format(trusted_for_s))
    ended = tracepool("trace", URL)
    assert ended.status == status
    if status:
        assert "the daemon is not running" in ended.err
        assert tracepool.sql("select count(*) from active_trace_requests") == [{"count": 0}]
    else:
        assert "https://shop.example/" in ended.out


def test_a_server_that_stands_still_does_not_outlast_the_timeout(
    tracepool: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracepool.sql(NODE.format(900))
    frozen: list[int] = []

    async def stand_still(conn: Connection, ids: Sequence[UUID]) -> list[dict[str, Any]]:
        frozen.append(conn.get_server_pid())
        os.kill(frozen[-1], signal.SIGSTOP)
        await conn.fetchval("select 1")
        pytest.fail("it stood still")

    monkeypatch.setattr(trace, "traces_of", stand_still)
    try:
        ended = tracepool("trace", URL, "--timeout", "0.1")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert ended.status == 1
    assert "--timeout 0.1 is over without the result of 1 of 1; PostgreSQL has not answered for" in ended.err
    assert "cancelled 1 of 1" in ended.err, "by another session"
