"""What the pool decided, for its actor to journal and to answer. Pure."""

from dataclasses import dataclass, field

from daemon.journal.entries import Entry
from daemon.pool.messages import Acquire, Lease, NoIPAvailable


@dataclass(slots=True)
class Decision:
    """What one or more events led to. `answers` go out once `entries` are durable; `remarks` are for the log.

    `spared`: the provider of each IP that should have failed, and rests instead. `may_lease`: False refuses requests.
    """

    may_lease: bool = True
    entries: list[Entry] = field(default_factory=list)
    answers: list[tuple[Acquire, Lease | NoIPAvailable]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)

    @property
    def grants(self) -> bool:
        return any(isinstance(answer, Lease) for _, answer in self.answers)
