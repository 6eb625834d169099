"""A copied state directory becomes a node of its own, which loses no hit and counts nothing twice."""

import shutil
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from daemon.journal import copies
from daemon.journal.entries import encode
from daemon.journal.spool import Spool
from tests.support.entries import hit, leased


def spool_in(directory: Path) -> Spool:
    return Spool(directory / "journal.sqlite")


def original(directory: Path) -> tuple[str, int]:
    """A spool with four entries, of which PostgreSQL has two. Its node id and epoch."""
    directory.mkdir()
    with closing(spool_in(directory)) as spool:
        spool.append([encode(hit()), encode(leased(uuid4(), 1)), encode(hit()), encode(leased(uuid4(), 1))])
        spool.append([], applied_seq=2)
        return str(spool.node_id), spool.epoch


def test_a_copy_is_a_node_of_its_own_and_keeps_only_the_facts_that_postgresql_may_lack(tmp_path: Path) -> None:
    node_id, epoch = original(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with closing(spool_in(tmp_path / "b")) as copy:
        assert copy.is_copy
        assert (str(copy.node_id) != node_id, copy.epoch, copy.applied_seq) == (True, 1, 0)
        assert [(entry.seq, entry.kind) for entry in copy.read(0, 9)] == [(3, "hit"), (4, "passed_over")]
        assert copy.bodies("ip_changed") == []
        of_copy = copy.node_id
    with closing(spool_in(tmp_path / "b")) as again, closing(spool_in(tmp_path / "a")) as first:
        assert (again.is_copy, again.node_id, again.epoch) == (False, of_copy, 2)
        assert (first.is_copy, str(first.node_id), first.epoch) == (False, node_id, epoch + 1)
        assert len(first.read(0, 9)) == 4


def test_a_moved_directory_is_the_same_node(tmp_path: Path) -> None:
    node_id, _ = original(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    with closing(spool_in(tmp_path / "b")) as spool:
        assert (spool.is_copy, str(spool.node_id)) == (False, node_id)


def test_another_device_number_at_the_same_path_is_the_same_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_id, _ = original(tmp_path / "a")
    machine, inode, device, path = copies.place_of(tmp_path / "a" / "journal.sqlite")
    for place, is_copy in (
        ((machine, inode, device + 1, path), False),
        ((machine, inode, device + 2, "elsewhere:/b"), True),
        (("another machine", inode, device + 2, "elsewhere:/b"), True),
    ):
        monkeypatch.setattr(copies, "place_of", lambda _, place=place: place)
        with closing(spool_in(tmp_path / "a")) as spool:
            assert (spool.is_copy, str(spool.node_id) == node_id) == (is_copy, not is_copy)
            node_id = str(spool.node_id)


def test_files_that_are_made_anew_are_no_copy(tmp_path: Path) -> None:
    node_id, _ = original(tmp_path / "a")
    with closing(spool_in(tmp_path / "a")) as spool:
        (tmp_path / "a" / "journal.sqlite").unlink()
        spool.check_files()
        assert len(spool.remade) == 1
    with closing(spool_in(tmp_path / "a")) as again:
        assert (again.is_copy, str(again.node_id)) == (False, node_id)
