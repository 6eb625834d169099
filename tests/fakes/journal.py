"""A journal in memory, for actors on a virtual clock."""

import trio

from daemon.journal.entries import Entry


class MemoryJournal:
    """`entries` in order. `refuses`: the disk is full; `delay_s`: how long durability takes."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.entries: list[Entry] = []
        self.delay_s = delay_s
        self.refuses = False

    def record(self, *entries: Entry) -> None:
        if not self.refuses:
            self.entries += entries

    async def durable(self, *entries: Entry) -> bool:
        """As the real one: what is asked for is recorded at once and durable later."""
        self.record(*entries)
        durable = not self.refuses
        await trio.sleep(self.delay_s)
        return durable

    def of(self, kind: type[Entry]) -> list[Entry]:
        return [entry for entry in self.entries if isinstance(entry, kind)]
