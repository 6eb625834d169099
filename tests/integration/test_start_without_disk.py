"""A start while the disk refuses the journal: hits reach PostgreSQL once, and the journal follows without a restart."""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from daemon import journal_start
from daemon.control import socket as control
from daemon.errors import AlreadyRunning, DiskUnavailable
from daemon.host.state_dir import StateDir, is_held, state_dir_held
from daemon.journal.forgetting import begin
from daemon.journal.spool import FILE, Spool
from daemon.journal_start import journal_written, spool_opened
from daemon.offers.model import Offers
from daemon.settings.model import Database, Settings
from daemon.troubles import Troubles
from tests.integration.databases import PostgresServer, fresh_database
from tests.support.entries import hit
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import PATIENCE_S, until

HITS = "select count(*) from hits"
FORGOTTEN = "192.0.2.77"


class Disk:
    """Lets the spool be opened once it has room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True

        def opened(*args: Any) -> Spool:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            return Spool(*args)

        monkeypatch.setattr(journal_start, "Spool", opened)
        monkeypatch.setattr(journal_start, "RETRY_S", 0.1)


@pytest.mark.parametrize("shipped", [True, False], ids=["with PostgreSQL", "without PostgreSQL"])
async def test_hits_of_a_start_with_a_full_disk_arrive_once(
    shipped: bool,
    postgres: PostgresServer,
    tmp_path: Path,
    expected_errors: LoggedErrors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected_errors.expect("disk_refuses", "database_unavailable")
    disk, troubles, offers = Disk(monkeypatch), Troubles(), Offers()
    async with fresh_database(postgres) as rows:
        await rows.add_offer("summer-sale")
        await rows.database.work(begin, "visitor", FORGOTTEN)
        url = rows.url if shipped else "postgresql://127.0.0.1:1/none"
        settings = Settings(state_dir=tmp_path, database=Database(url=SecretStr(url)))
        with trio.fail_after(PATIENCE_S), state_dir_held(tmp_path) as state_dir:
            async with journal_written() as writer, trio.open_nursery() as nursery:
                spools: list[Spool] = []

                async def open_spool() -> None:
                    spools.append(await spool_opened(settings, state_dir, writer, offers, troubles))

                nursery.start_soon(open_spool)
                await until(troubles.lines)
                assert "database or disk is full. Next: free some space" in troubles.lines()[0]
                for visitor in (FORGOTTEN, "192.0.2.8", "192.0.2.9"):
                    assert not await writer.durable(hit(visitor_address=visitor)), "nothing is durable"
                if shipped:

                    async def are_there() -> bool:
                        return bool(await rows.one(HITS) == 3 and not writer.pending)

                    await until(are_there)
                    assert await rows.one("select count(*) from hits where visitor_address is null") == 1
                    assert offers.find("summer-sale") is not None, "the current offers"
                disk.full = False
                await until(lambda: spools)
                writer.record(hit())
                assert await writer.durable(hit())
                written = [entry.kind for entry in spools[0].read(0, 99)]
                assert written == ["hit"] * (2 if shipped else 5)
                assert not [line for line in troubles.lines() if "journal" in line]
        assert writer.dropped == 0


async def test_a_lock_file_that_the_disk_refuses_is_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses, really_open = True, os.open

    def refusing_open(path: Any, *args: Any, **more: Any) -> int:
        if refuses and str(path).endswith("daemon.lock"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really_open(path, *args, **more)

    monkeypatch.setattr(os, "open", refusing_open)
    with state_dir_held(tmp_path) as state_dir:
        with pytest.raises(DiskUnavailable, match="No space left on device"):
            state_dir.hold()
        refuses = False
        assert not is_held(tmp_path)
        state_dir.hold()
        state_dir.hold()
        assert is_held(tmp_path)
        with pytest.raises(AlreadyRunning):
            StateDir(tmp_path).hold()


async def test_the_control_socket_is_made_once_the_disk_takes_it(
    tmp_path: Path, expected_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("control_socket_refused")
    monkeypatch.setattr(control, "RETRY_S", 0.1)
    state_dir = tmp_path / "not yet there"

    async def status() -> dict[str, Any]:
        return {"is": "there"}

    async with trio.open_nursery() as nursery:
        await nursery.start(control.serve, state_dir, {"status": status})
        state_dir.mkdir()
        await until((state_dir / control.NAME).exists)
        assert await trio.to_thread.run_sync(control.ask, state_dir, "status") == {"is": "there"}
        nursery.cancel_scope.cancel()


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Spool(tmp_path / FILE)
