"""The spool's files are private, and are made anew if they are deleted, replaced or damaged while they are open."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from daemon.journal.entries import encode
from daemon.journal.spool import WAL_PAGES_MAX, Spool
from daemon.journal.spool_files import ASIDE
from daemon.journal.writer import JournalWriter
from tests.support.entries import hit
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until

NAME = "journal.sqlite"


@pytest.fixture
def loose() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in sorted(directory.iterdir())}


PRIVATE = {NAME: "0o600", f"{NAME}-shm": "0o600", f"{NAME}-wal": "0o600"}


def test_the_files_are_private_whatever_the_umask(tmp_path: Path, loose: None) -> None:
    with closing(Spool(tmp_path / NAME)) as spool:
        spool.append([encode(hit())])
        assert modes(tmp_path) == PRIVATE


def test_files_of_an_earlier_run_that_are_open_to_others_are_closed_to_them(tmp_path: Path, loose: None) -> None:
    killed = Spool(tmp_path / NAME)
    killed.append([encode(hit())])
    for path in tmp_path.iterdir():
        path.chmod(0o666)
    with closing(Spool(tmp_path / NAME)) as spool:
        assert modes(tmp_path) == PRIVATE
        assert len(spool.read(0, 10)) == 1
    killed.close()


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database" * 100_000)


def other_database(path: Path) -> Path:
    other = path.with_name("other")
    with closing(Spool(other)) as spool:
        spool.append([encode(hit(location="https://other.example/"))] * 50)
    return other


def copied_over(path: Path) -> None:
    shutil.copyfile(other_database(path), path)


def replaced(path: Path) -> None:
    other_database(path).replace(path)


def linked_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def all_of(path: Path, do: Callable[[Path], None]) -> None:
    for file in sorted(path.parent.glob(f"{path.name}*")):
        do(file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "the database is deleted": Path.unlink,
    "all files are deleted": lambda path: all_of(path, Path.unlink),
    "the log is deleted": lambda path: Path(f"{path}-wal").unlink(),
    "the index is deleted": lambda path: Path(f"{path}-shm").unlink(),
    "the database is moved away": lambda path: path.rename(path.with_name("moved")),
    "the directory is deleted": lambda path: shutil.rmtree(path.parent),
    "the database is replaced": replaced,
    "the database is replaced by a link to nothing": linked_to_nothing,
    "the database is truncated": lambda path: os.truncate(path, 0),
    "the database is shortened": lambda path: os.truncate(path, 100),
    "the log is truncated": lambda path: os.truncate(f"{path}-wal", 0),
    "the index is truncated": lambda path: os.truncate(f"{path}-shm", 0),
    "all files are truncated": lambda path: all_of(path, lambda file: os.truncate(file, 0)),
    "the database is overwritten": overwritten,
    "another database is copied over it": copied_over,
}


@pytest.mark.parametrize("checkpointed", [False, True], ids=["in the log", "in the database"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_files_that_are_damaged_are_made_anew_with_all_that_postgres_does_not_have(
    tmp_path: Path, damage: str, checkpointed: bool
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    path = tmp_path / "state" / NAME
    locations = [f"https://shop.example/{number}/{'x' * 900}" for number in range(1_200)]
    with closing(Spool(path)) as spool:
        node, epoch = spool.node_id, spool.epoch
        spool.append([encode(hit(location=location)) for location in locations[:1_000]])
        if checkpointed:
            spool._checkpoint(4_096 * WAL_PAGES_MAX)
        for location in locations[1_000:]:
            spool.append([encode(hit(location=location))], applied_seq=100)
        DAMAGE[damage](path)
        spool.append([encode(hit(location="https://shop.example/last"))])
        [remade] = spool.remade
        assert (remade.lost, NAME in remade.why) == (0, True)
        with closing(Spool(path)) as again:  # as after a kill: what is on the disk is what counts
            found = {entry.seq: entry.body for entry in again.read(100, 2_000)}
            assert list(found) == list(range(101, 1_202))
            assert all(locations[seq - 1] in found[seq] for seq in range(101, 1_201))
            assert "https://shop.example/last" in found[1_201]
            assert (again.node_id, again.epoch, again.applied_seq) == (node, epoch + 1, 100)
        mode = modes(path.parent)
        assert {name: mode[name] for name in PRIVATE} == PRIVATE
        spool.check_files()
        assert len(spool.remade) == 1


def test_a_foreign_file_is_kept_beside(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / NAME)) as spool:
        spool.append([encode(hit())])
        replaced(tmp_path / NAME)
        spool.check_files()
        [remade] = spool.remade
        assert remade.aside == [f"{tmp_path / NAME}{ASIDE}"]
        with closing(sqlite3.connect(remade.aside[0])) as foreign:
            assert foreign.execute("select count(*) from entries").fetchone() == (50,)


def test_own_checkpoints_are_no_foreign_writes(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / NAME)) as spool:
        for number in range(40):
            spool.append([encode(hit(location="x" * 10_000)) for _ in range(60)], forget_seq=number * 30)
        assert spool.remade == []
        assert (tmp_path / f"{NAME}-wal").stat().st_size < 2 * 4_096 * WAL_PAGES_MAX


def test_a_disk_that_refuses_the_new_file_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Spool(tmp_path / NAME)) as spool:
        spool.append([encode(hit())] * 3)
        (tmp_path / NAME).unlink()

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("daemon.journal.spool_files.os.open", full)
            for _ in range(2):
                with pytest.raises(sqlite3.Error, match="No space left"):
                    spool.append([encode(hit())])
        spool.append([encode(hit())])
        assert [entry.seq for entry in spool.read(0, 10)] == [1, 2, 3, 4]


async def test_an_idle_daemon_notices_and_says_so(tmp_path: Path, expected_errors: LoggedErrors) -> None:
    expected_errors.expect("spool_remade")
    spool = Spool(tmp_path / NAME)
    writer = JournalWriter(spool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        writer.record(hit())
        assert await writer.durable()
        (tmp_path / NAME).unlink()
        await until(lambda: writer.remade)
        nursery.cancel_scope.cancel()
    assert writer.remade_why == f"{NAME} was deleted"
    assert [line["lost"] for line in expected_errors.named("spool_remade")] == [0]
    assert len(spool.read(0, 10)) == 1
    spool.close()
