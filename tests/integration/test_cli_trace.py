"""`tracepool trace` where no daemon runs on this host."""

from pathlib import Path

import pytest

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


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize(("trusted_for_s", "status"), [(900, 0), (-1, 1)])
def test_urls_are_traced_by_the_nodes_of_other_hosts(tracepool: Commands, trusted_for_s: int, status: int) -> None:
    tracepool.sql(TRACED_AT_ONCE)
    tracepool.sql(
        "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version) values"
        " (gen_random_uuid(), 'far-1', 1, gen_random_uuid(), 'active',"
        f" now() + interval '{trusted_for_s} s', 160, '1.0')"
    )
    ended = tracepool("trace", URL)
    assert ended.status == status
    if status:
        assert "the daemon is not running" in ended.err
        assert tracepool.sql("select count(*) from active_trace_requests") == [{"count": 0}]
    else:
        assert "https://shop.example/" in ended.out
