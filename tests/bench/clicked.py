"""Journal entries as real clicks leave them, for benchmarks: chains of five hops, a browser's headers."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
from msgspec.structs import replace

from daemon.journal.entries import Entry, Hit, IpChanged, TraceFinished, TracePending, TraceProcessing, Traffic, encode
from daemon.journal.spool import Spool

HOPS = 5
COMMIT_ENTRIES = 5_000
OFFER_ID = uuid.UUID(int=1)
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
TRACKING_URL = "http://track.example/c/200/4/0/0"


def ids_of_ips(url: str, country: str) -> list[uuid.UUID]:
    async def read() -> list[uuid.UUID]:
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch("select id from ip_rotation_pool where country = $1", country)
        finally:
            await connection.close()
        return [row["id"] for row in rows]

    return asyncio.run(read())


def pending(request_id: uuid.UUID, at_s: float) -> TracePending:
    params = {"gclid": request_id.hex, "utm_source": "search", "utm_campaign": "summer sale", "sub": ["a", "b"]}
    return TracePending(request_id, OFFER_ID, TRACKING_URL, "us", params, at_s, at_s + 85)  # type: ignore[arg-type]


def finished(request_id: uuid.UUID, at_s: float, ip_id: uuid.UUID) -> TraceFinished:
    query = f"cid=123456&gclid={request_id.hex}&utm_source=search"
    chain = tuple(
        {"url": f"http://track.example/c/200/4/0/{hop}?{query}", "status": 302 if hop < HOPS - 1 else 200,
         "kind": "http", "ms": 201.3, "bytes_received": 150, "bytes_sent": 320}
        for hop in range(HOPS)
    )  # fmt: skip
    params: dict[str, str | list[str]] = {"cid": "123456", "gclid": request_id.hex, "utm_source": "search"}
    url = str(chain[-1]["url"])
    traffic = Traffic("luna", 1_234, 1_600, 0.0000142)
    finished = TraceFinished(request_id, "completed", at_s, url, params, chain, None, 1_006, 1_010, 0, 1_234)
    of = {"bytes_sent": 1_600, "verdict": "ok", "offer_id": OFFER_ID, "offer_name": "plain"}
    return replace(finished, **of, cost=traffic.cost, traffic=(traffic,))


def hit(request_id: uuid.UUID, at_s: float) -> Hit:
    location = f"{TRACKING_URL}?cid=123456&gclid={request_id.hex}&utm_source=search&utm_campaign=summer%20sale"
    return Hit(request_id, OFFER_ID, "plain", "resolved", None, location, "192.0.2.7", USER_AGENT,
               "https://search.example/", 1_010, at_s)  # fmt: skip


def entries_of(ip_ids: Sequence[uuid.UUID], count: int) -> Iterator[Entry]:
    """`count` entries of successive clicks, each through the next IP."""
    return itertools.islice(
        itertools.chain.from_iterable(map(_click, itertools.count(), itertools.cycle(ip_ids))), count
    )


def fill_spool(path: Path, entries: Iterator[Entry]) -> None:
    spool = Spool(path)
    while batch := [encode(entry) for entry in itertools.islice(entries, COMMIT_ENTRIES)]:
        spool.append(batch)
    spool.close()


def _click(number: int, ip_id: uuid.UUID) -> list[Entry]:
    request_id, at_s = uuid.uuid4(), time.time()
    return [
        pending(request_id, at_s),
        _changed(ip_id, number, "lease", "locked", at_s + 90, request_id),
        TraceProcessing(request_id, "127.64.0.1", at_s, 2),
        _changed(ip_id, number, "released_ok", "cooldown", at_s + 60, None),
        finished(request_id, at_s, ip_id),
        hit(request_id, at_s),
        _changed(ip_id, number, "cooldown_over", "available", None, None),
    ]


def _changed(
    ip_id: uuid.UUID, number: int, event: str, status: str, until_s: float | None, locked_by: uuid.UUID | None
) -> IpChanged:
    return IpChanged(ip_id, event, status, until_s, locked_by, time.time(), 0, True, 1_006.0, None, number + 1, 2**40,
                     uses=int(event == "lease"), successes=int(event == "released_ok"))  # fmt: skip
