"""The visitors: clicks at seeded moments, each on a connection of its own, and the record of what each was answered."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

from tests.faults.records import Visit, cid_of

CLICKS_PER_S = 20.0
HEAD_BYTES_MAX = 64 * 1024
PATIENCE_S = 60.0
"""Beyond any deadline: a visitor who has no answer by then has none at all."""


async def exchange(port: int, target: str) -> tuple[int, dict[str, str]] | None:
    """Status and headers of one GET; None where the connection ended without a whole head. Raises OSError."""
    with trio.socket.socket() as client:
        await client.connect(("127.0.0.1", port))
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        try:
            await client.send(request)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
                piece = await client.recv(HEAD_BYTES_MAX)
                if not piece:
                    return None
                head += piece
        except OSError:
            return None
    status_line, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(status_line.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


@dataclass(slots=True)
class Visitors:
    """`visits` has every click that ended; numbers never repeat."""

    port: int
    offers: Sequence[str]
    rng: random.Random
    visits: list[Visit] = field(default_factory=list)
    sent: int = 0
    under_way: int = 0
    stop: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        """CLICKS_PER_S on average, as strangers come, until `stop` is set; returns when each has ended."""
        next_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            while not self.stop.is_set():
                next_s += self.rng.expovariate(CLICKS_PER_S)
                await trio.sleep_until(next_s)
                nursery.start_soon(self.click)

    async def click(self) -> None:
        self.sent += 1
        number, offer = self.sent, self.rng.choice(self.offers)
        self.under_way += 1
        visit = Visit(number, offer, time.monotonic(), 0.0, failure="unanswered")
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
        """What became of the clicks so far."""
        found: Counter[str] = Counter(sent=len(self.visits))
        for visit in self.visits:
            if not visit.answered:
                found[visit.failure or f"status {visit.status}"] += 1
            else:
                found["answered"] += 1
                found["fallback" if cid_of(visit.location) is None else "resolved"] += 1
        return found
