"""The journal's writer with a disk that fails or is not there yet: entries stay in memory, up to a bound."""

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
import trio
import trio.testing

from daemon.journal import writer as journal_writer
from daemon.journal.entries import encode
from daemon.journal.spool import Spool
from daemon.journal.spool_files import Remade
from daemon.journal.writer import JournalWriter
from daemon.journal_start import journal_written
from tests.support.entries import hit, leased
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until


class Disk:
    """In place of a spool: keeps what it is given, or fails."""

    path = Path("/state/journal.sqlite")

    def __init__(self) -> None:
        self.remade: list[Remade] = []
        self.entries: list[tuple[str, str]] = []
        self.full = False
        self.attempts = 0

    def check_files(self) -> None:
        pass

    def append(self, entries: Sequence[tuple[str, str]], forget_seq: int = 0, applied_seq: int = 0) -> int:
        self.attempts += 1
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self.entries += entries
        return 0


@asynccontextmanager
async def running(spool: Disk | None) -> AsyncIterator[JournalWriter]:
    written = JournalWriter(cast(Spool, spool) if spool else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(written.run)
        yield written
        nursery.cancel_scope.cancel()


async def test_before_the_spool_is_open_entries_wait_and_nothing_is_durable() -> None:
    disk = Disk()
    async with running(None) as writer:
        entries = [hit(), hit()]
        writer.record(entries[0])
        assert not await writer.durable(entries[1])
        assert (writer.pending, writer.dropped) == (2, 0)
        writer.attach(cast(Spool, disk))
        await until(lambda: disk.entries == [*map(encode, entries)])
        assert await writer.durable(hit())


async def test_what_a_full_disk_refuses_is_written_in_order_once_there_is_room(
    expected_errors: LoggedErrors, mock_clock: trio.testing.MockClock
) -> None:
    expected_errors.expect("journal_refused")
    disk = Disk()
    async with running(disk) as writer:
        disk.full = True  # and the clock stands still
        entries = [hit() for _ in range(5)]
        for entry in entries[:4]:
            assert not await writer.durable(entry)
        attempts = disk.attempts
        for _ in range(100):
            assert not await writer.durable()
        assert disk.attempts <= attempts + 1, "a failing disk is not asked each time"
        disk.full = False
        mock_clock.rate = 1
        writer.record(entries[4])
        await until(lambda: not writer.pending)
        assert await writer.durable()
        assert disk.entries == [*map(encode, entries)]
        assert writer.dropped == 0


async def test_beyond_the_bound_entries_are_dropped_and_counted(
    expected_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("journal_refused")
    monkeypatch.setattr(journal_writer, "PENDING_MAX", 10)
    async with running(None) as writer:
        writer.record(*(hit() for _ in range(8)))
        writer.record(*(hit() for _ in range(4)))
        assert (writer.pending, writer.dropped) == (8, 4)
        writer.attach(cast(Spool, Disk()))
        await until(lambda: not writer.pending)


async def test_hits_that_reached_postgresql_without_the_disk_are_not_written_again() -> None:
    disk = Disk()
    async with running(None) as writer:
        writer.record(hit(), leased(uuid4(), 1), hit(), hit())
        first = writer.pending_hits(2)
        assert [kind for kind, _ in first] == ["hit", "hit"]
        writer.forget(first)
        writer.attach(cast(Spool, disk))
        assert await writer.durable()
        assert [kind for kind, _ in disk.entries] == ["ip_changed", "hit"]


async def test_a_stop_with_a_disk_that_still_fails_ends_and_counts_the_lost_entries(
    expected_errors: LoggedErrors,
) -> None:
    expected_errors.expect("journal_refused")
    disk = Disk()
    disk.full = True
    with trio.fail_after(20):
        async with running(disk) as writer:
            writer.record(hit(), hit())
    assert writer.dropped == 2


async def test_a_spool_that_was_opened_during_the_stop_is_closed_after_its_commit() -> None:
    class Slow(Disk):
        done = closed = False

        def append(self, entries: Sequence[tuple[str, str]], forget_seq: int = 0, applied_seq: int = 0) -> int:
            time.sleep(0.1)
            self.done = True
            return 0

        def close(self) -> None:
            assert self.done
            self.closed = True

    disk = Slow()
    with trio.CancelScope() as stop:
        async with journal_written() as writer:
            stop.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()  # run has ended
            writer.attach(cast(Spool, disk))
    assert disk.closed
