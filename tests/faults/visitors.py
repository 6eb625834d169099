"""Visitors: clicks at random moments from a seed, each on its own connection, with a record of each answer."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

from tests.faults.records import Visit, cid_of
from tests.support.exchange import exchange

CLICKS_PER_S = 10.0
PATIENCE_S = 60.0
"""Far above the deadline: a click without an answer after this time counts as unanswered."""


@dataclass(slots=True)
class Visitors:
    """Clicks for some offers at a port. `visits`: every click that has ended. `sent`: number of the last click."""

    port: int
    offers: Sequence[str]
    rng: random.Random
    visits: list[Visit] = field(default_factory=list)
    sent: int = 0
    under_way: int = 0
    stop: trio.Event = field(default_factory=trio.Event)
    clicks_per_s: float = CLICKS_PER_S

    async def run(self) -> None:
        """Send `clicks_per_s` on average, as a Poisson process, until `stop` is set and all clicks have ended."""
        next_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            while not self.stop.is_set():
                next_s += self.rng.expovariate(self.clicks_per_s)
                await trio.sleep_until(next_s)
                nursery.start_soon(self.click)

    async def click(self, offer: str = "") -> None:
        """Send one click and record its answer; for a random offer unless one is given."""
        self.sent += 1
        number, offer = self.sent, offer or self.rng.choice(self.offers)
        self.under_way += 1
        visit = Visit(number, offer, time.monotonic(), 0.0, failure="unanswered", port=self.port)
        try:
            with trio.move_on_after(PATIENCE_S):
                answer = await exchange(self.port, f"/track-hit?offer={offer}&gclid=g{number}")
                visit = replace(visit, failure="cut")
                if answer is not None:
                    status, headers = answer
                    visit = replace(
                        visit,
                        status=status,
                        request_id=headers.get("x-request-id"),
                        location=headers.get("location"),
                        failure=None,
                    )
        except OSError:
            visit = replace(visit, failure="refused")
        self.visits.append(replace(visit, ended_s=time.monotonic()))
        self.under_way -= 1

    def counts(self) -> Counter[str]:
        """Count the clicks so far by how they ended."""
        found: Counter[str] = Counter(sent=len(self.visits))
        for visit in self.visits:
            if not visit.answered:
                found[visit.failure or f"status {visit.status}"] += 1
            else:
                found["answered"] += 1
                found["fallback" if cid_of(visit.location) is None else "resolved"] += 1
        return found
