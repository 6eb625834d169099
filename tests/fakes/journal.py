"""A journal in memory, whose disk may be slow or refuse writes, and which may raise."""

import trio

from daemon.journal.entries import Entry


class MemoryJournal:
    """A journal. `entries`: durable entries in order. `dropped`: entries lost because the disk refused them.

    `delay_s`: duration of `durable`. `refuses`: the disk refuses entries. `raises`: the exception of a faulty journal.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.dropped: list[Entry] = []
        self.delay_s = 0.0
        self.refuses = False
        self.raises: Exception | None = None

    def record(self, *entries: Entry) -> None:
        if entries and self.raises is not None:
            raise self.raises
        (self.dropped if self.refuses else self.entries).extend(entries)

    async def durable(self, *entries: Entry) -> bool:
        await trio.sleep(self.delay_s)
        self.record(*entries)
        return not self.refuses
