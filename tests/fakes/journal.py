"""A Recorder in memory, whose disk may be slow, fail, or raise."""

import trio

from daemon.journal.entries import Entry


class MemoryJournal:
    """`entries`: durable ones, in order; `dropped`: lost by a failing disk.

    `delay_s`: how long `durable` takes. `refuses`: the disk fails. `raises`: a bug in the journal.
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
