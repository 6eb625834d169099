"""`tracepool nodes`: the daemons of the database, and the removal of one that will not return."""

from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer

FIRST, TWIN, GONE = (UUID(int=number << 120) for number in (1, 2, 3))


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Commands:
    commands = Commands(postgres.new_database(), tmp_path, monkeypatch, capfd)
    commands.sql(
        "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version) values"
        f" ('{FIRST}', 'tracer-1', 4, gen_random_uuid(), 'active', now() + interval '800s', 160, '0.1.0'),"
        f" ('{TWIN}', 'twin', 1, gen_random_uuid(), 'active', now() + interval '800s', 160, '0.1.0'),"
        f" ('{GONE}', 'gone', 2, null, 'lost', now() - interval '1 day', 160, '0.1.0')"
    )
    return commands


def test_nodes_are_listed_with_the_time_until_their_ips_are_free(tracepool: Commands) -> None:
    nodes = {node["name"]: node for node in tracepool("nodes", "list", "--json").json}
    assert 950 < nodes["tracer-1"]["free_in_s"] <= 960
    assert (nodes["gone"]["free_in_s"], nodes["gone"]["state"]) == (0, "lost")
    head, *lines = tracepool("nodes", "list").lines
    columns = [
        "name",
        "state",
        "IPs by country",
        "clicks/s",
        "wait p95",
        "to ship",
        "seen",
        "free in",
        "version",
        "node",
    ]
    assert head.split("\t") == columns
    assert len(lines) == 3
    names = [line.split("\t")[0] for line in tracepool("nodes").lines]
    assert names == ["name", *(line.split("\t")[0] for line in lines)], "the same list; times may have passed"


def test_a_removed_node_is_waited_for_no_longer_than_its_quiet(tracepool: Commands) -> None:
    ended = tracepool("nodes", "remove", "tracer-1", "--yes")
    assert (ended.status, ended.out) == (0, "removed tracer-1: other nodes can use its IPs in 160 s\n")
    [node] = [node for node in tracepool("nodes", "list", "--json").json if node["name"] == "tracer-1"]
    assert node["state"] == "removed"
    assert 150 < node["free_in_s"] <= 160
    [row] = tracepool.sql(f"select epoch, claim from nodes where node_id = '{FIRST}'")
    assert (row["epoch"], row["claim"]) == (5, None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "there is no node nobody: tracepool nodes list"),
        ("gone", "node gone is not active but lost: there is nothing to remove"),
        ("tracer-1", "add --yes"),
    ],
)
def test_what_cannot_be_removed_is_told(tracepool: Commands, name: str, said: str) -> None:
    ended = tracepool("nodes", "remove", name)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert tracepool.sql("select count(*) as active from nodes where state = 'active'") == [{"active": 2}]


def test_of_two_with_one_name_the_node_id_says_which(tracepool: Commands) -> None:
    tracepool.sql("update nodes set name = 'twin' where state = 'active'")
    ended = tracepool("nodes", "remove", "twin", "--yes")
    assert ended.status == 2
    assert f"2 nodes are called twin: give the beginning of a node id: {FIRST}, {TWIN}" in ended.err
    assert tracepool("nodes", "remove", str(TWIN)[:8], "--yes").status == 0


@pytest.mark.parametrize("state", ["left", "removed", "lost"])
def test_a_node_that_does_not_run_yet_is_drained_from_its_start_on(tracepool: Commands, state: str) -> None:
    tracepool.sql(f"update nodes set state = '{state}' where name = 'tracer-1'")
    ended = tracepool("nodes", "drain", "tracer-1")
    assert ended.status == 0
    assert f"tracer-1 is not active but {state}: once it runs, it takes no IPs" in ended.out
    [line] = [line for line in tracepool("nodes").lines if line.startswith("tracer-1")]
    assert line.split("\t")[1] == f"{state}, drained"
    assert tracepool("nodes", "undrain", "tracer-1").status == 0
    assert tracepool("nodes", "undrain", "tracer-1").status == 2
    assert tracepool.sql("select draining from nodes where name = 'tracer-1'") == [{"draining": False}]
