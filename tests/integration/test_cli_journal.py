"""`tracepool journal refused` without a daemon: what PostgreSQL refused is listed, sent again, or dropped."""

from pathlib import Path

import pytest

from daemon.database.failures import Refusal
from daemon.journal.entries import encode
from daemon.journal.spool import FILE, Spool
from tests.integration.commands import Commands
from tests.support.entries import hit


@pytest.fixture
def tracepool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Commands:
    """The database is not needed."""
    return Commands("postgresql://127.0.0.1:1/none", tmp_path, monkeypatch, capfd)


@pytest.fixture
def spool_file(tmp_path: Path) -> Path:
    spool = Spool(tmp_path / FILE)
    spool.append([encode(hit(offer_name=name)) for name in ("a", "b", "c")])
    for seq in (1, 3):
        spool.refuse(seq, 1.7e9, Refusal("23514", "violates a check\x1b[31m", "no_x", "hits"))
    spool.close()
    return tmp_path / FILE


def test_refused_entries_are_listed_with_their_reason(tracepool: Commands, spool_file: Path) -> None:
    head, *lines = tracepool("journal", "refused", "list").lines
    assert head.split("\t") == ["id", "kind", "since", "sqlstate", "constraint", "reason"]
    assert [line.split("\t")[:5] for line in lines] == [
        [number, "hit", "2023-11-14T22:13:20Z", "23514", "no_x"] for number in ("1", "3")
    ]
    assert not any("\x1b" in line for line in lines)
    entries = tracepool("journal", "refused", "list", "--json").json
    assert [(entry["id"], entry["table"], "offer_name" in entry["body"]) for entry in entries] == [
        (1, "hits", True),
        (3, "hits", True),
    ]


def test_a_refused_entry_is_sent_again_by_its_id(tracepool: Commands, spool_file: Path) -> None:
    done = tracepool("journal", "refused", "retry", "3")
    assert (done.status, done.out.split(";")[0]) == (0, "sent again: 1 entry")
    spool = Spool(spool_file)
    assert [(entry.seq, entry.kind) for entry in spool.read(0, 9)][-1] == (4, "hit")
    assert [entry.id for entry in spool.refused_entries()] == [1]
    spool.close()


def test_entries_are_dropped_only_after_a_yes(tracepool: Commands, spool_file: Path) -> None:
    asked = tracepool("journal", "refused", "drop")
    assert (asked.status, "add --yes" in asked.err) == (2, True)
    assert tracepool("journal", "refused", "drop", "--yes").out == "dropped: 2 entries\n"
    assert tracepool("journal", "refused", "list").out == "PostgreSQL has refused nothing\n"


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_an_unknown_id_is_an_error(tracepool: Commands, spool_file: Path, command: str) -> None:
    done = tracepool("journal", "refused", command, "2", *(["--yes"] if command == "drop" else []))
    assert (done.status, "no refused entry has such an id" in done.err) == (2, True)


def test_without_a_journal_the_missing_file_is_named(tracepool: Commands) -> None:
    done = tracepool("journal", "refused", "list")
    assert (done.status, f"{FILE} does not exist" in done.err) == (2, True)
