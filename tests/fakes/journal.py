"""A journal in memory, whose disk may be slow, refuse, or raise."""

import trio

from daemon.journal.entries import Entry


class MemoryJournal:
    """`entries`: what is durable, in order; `dropped`: what a refusing disk lost.

    `delay_s`: how long `durable` takes. `refuses`: the disk takes nothing. `raises`: a bug in the journal.
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
