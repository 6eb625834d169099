"""`tracepool token`: created, shown once, listed, revoked."""

from pathlib import Path

import pytest

from daemon.control.access import hash_of
from tests.integration.commands import Commands
from tests.integration.databases import PostgresServer


@pytest.fixture
def tracepool(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: "pytest.CaptureFixture[str]"
) -> Commands:
    return Commands(postgres.new_database(), tmp_path, monkeypatch, capsys)


def test_a_token_is_printed_once_and_kept_as_its_hash(tracepool: Commands) -> None:
    made = tracepool("token", "create", "anna", "--role", "operator")
    assert made.status == 0
    (token,) = made.lines
    assert len(token) >= 40
    (row,) = tracepool.sql("select name, role, hash, revoked_at from control_tokens")
    assert (row["name"], row["role"], row["revoked_at"]) == ("anna", "operator", None)
    assert row["hash"] == hash_of(token)
    listed = tracepool("token", "list", "--json")
    assert token not in listed.out
    assert [(one["name"], one["role"]) for one in listed.json] == [("anna", "operator")]


def test_a_reader_is_the_default(tracepool: Commands) -> None:
    tracepool("token", "create", "grafana")
    assert tracepool("token", "list").lines[1].split("\t")[:2] == ["grafana", "read"]


def test_a_name_is_in_force_once_and_free_again_when_revoked(tracepool: Commands) -> None:
    first = tracepool("token", "create", "anna").out
    again = tracepool("token", "create", "anna")
    assert (again.status, again.out) == (2, "")
    assert "anna is in force" in again.err
    assert tracepool("token", "revoke", "anna").out == "revoked anna\n"
    assert tracepool("token", "revoke", "anna").status == 2
    assert tracepool("token", "create", "anna").out not in ("", first)
    assert [one["revoked_at"] is None for one in tracepool("token", "list", "--json").json] == [True, False]


@pytest.mark.parametrize(
    "arguments", [["create", ""], ["create", "a\nb"], ["create", "x" * 101], ["create"], ["revoke"]]
)
def test_a_name_that_cannot_be_one_is_wrong_usage(tracepool: Commands, arguments: list[str]) -> None:
    assert tracepool("token", *arguments).status == 2
    assert tracepool("token", "create", "anna", "--role", "king").status == 2
    assert tracepool("token", "list", "--json").json == []
