"""Open-loop load in a separate process: requests start as a Poisson process, even if earlier ones have no answer yet.

    python -m tests.bench.load clicks URL RATE SECONDS
    python -m tests.bench.load click URL
    python -m tests.bench.load curl URL RATE SECONDS PROXY,PROXY,…
    python -m tests.bench.load walk URL RATE SECONDS PROXY,PROXY,…

`clicks` sends clicks to the daemon, `click` only one; `curl` and `walk` follow the chain at URL through each proxy in
turn, by `curl -L` and by sockets. Prints one JSON object: `waits_ms` in the order of the answers, `outcomes` by kind,
`clicks` as [sent_s, wait_ms, outcome], and for loads `began_s` and `ended_s`. It uses sockets directly, because it
shares the machine with the service that it measures.
"""

import itertools
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import trio

ANSWER_S_MAX = 65.0
HEAD_BYTES_MAX = 64 * 1024
HOPS_MAX = 50
SEED = 20


@dataclass
class Found:
    waits_ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    clicks: list[tuple[float, float, str]] = field(default_factory=list)


async def exchange(host: str, port: int, request: bytes) -> bytes:
    """Send one request on a new connection; return the response's head. Raises OSError, trio.TooSlowError."""
    with trio.fail_after(ANSWER_S_MAX), trio.socket.socket() as sock:
        await sock.connect((host, port))
        await sock.send(request)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
            data = await sock.recv(HEAD_BYTES_MAX)
            if not data:
                break
            head += data
    return head


def location_of(head: bytes) -> str | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"location":
            return value.strip().decode("latin-1")
    return None


async def click(url: str, number: int, found: Found) -> None:
    """Send one click. A landing URL has a `cid`, a fallback has none."""
    parts = urlsplit(url)
    gclid = f"g{os.getpid()}x{number}"  # no repeat of an earlier load's click
    target = f"{parts.path}?{parts.query}&gclid={gclid}"
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n"
    began_s = time.monotonic()
    head = await exchange(parts.hostname or "", parts.port or 80, request.encode())
    wait_ms = (time.monotonic() - began_s) * 1000
    location = location_of(head) or ""
    answered = head.startswith(b"HTTP/1.1 302 ") and f"gclid={gclid}" in location
    outcome = "resolved" if answered and "cid=" in location else "fallback" if answered else "lost"
    found.waits_ms.append(wait_ms)
    found.outcomes[outcome] += 1
    found.clicks.append((began_s, wait_ms, outcome))


async def walk(url: str, proxy: str, found: Found) -> None:
    """Follow the chain through a proxy, on one connection."""
    host, _, port = proxy.rpartition(":")
    began_s = time.perf_counter()
    with trio.fail_after(ANSWER_S_MAX), trio.socket.socket() as sock:
        await sock.connect((host, int(port)))
        for _ in range(HOPS_MAX):
            await sock.send(f"GET {url} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode())
            head = await sock.recv(HEAD_BYTES_MAX)  # the network's answers are small and arrive whole
            location = location_of(head)
            if location is None:
                break
            url = urljoin(url, location)
    found.waits_ms.append((time.perf_counter() - began_s) * 1000)
    found.outcomes["resolved" if head.startswith(b"HTTP/1.1 200 ") else "lost"] += 1


async def curl(url: str, proxy: str, found: Found) -> None:
    """Run `curl -L`; its own time leaves out the start of its process."""
    command = ["curl", "-q", "-sSL", "-o", "/dev/null", "--noproxy", "", "-x", f"http://{proxy}"]
    command += ["-w", "%{time_total} %{http_code}", url]
    said = (await trio.run_process(command, capture_stdout=True, check=False)).stdout.split()
    found.waits_ms.append(float(said[0]) * 1000)
    found.outcomes["resolved" if said[1] == b"200" else "lost"] += 1


async def open_loop(rate: float, seconds: float, one: Callable[[int], Awaitable[None]], found: Found) -> None:
    """Start `rate` requests per second for `seconds`, then wait for the remaining answers."""

    async def contained(number: int) -> None:
        try:
            await one(number)
        except (OSError, trio.TooSlowError) as error:
            found.outcomes["lost"] += 1
            found.outcomes[type(error).__name__] += 1

    arrivals = random.Random(SEED)
    next_s, ends_s = trio.current_time(), trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        for number in itertools.count():
            next_s += arrivals.expovariate(rate)
            if next_s >= ends_s:
                break
            await trio.sleep_until(next_s)
            nursery.start_soon(contained, number)


def main(words: list[str]) -> None:
    kind, url = words[0], words[1]
    found = Found()
    if kind == "click":
        trio.run(click, url, 0, found)
        sys.stdout.write(json.dumps(vars(found)) + "\n")
        return
    rate, seconds = float(words[2]), float(words[3])
    proxies = itertools.cycle(words[4].split(",") if len(words) > 4 else [])
    ways: dict[str, Callable[[int], Awaitable[None]]] = {
        "clicks": lambda number: click(url, number, found),
        "curl": lambda _: curl(url, next(proxies), found),
        "walk": lambda _: walk(url, next(proxies), found),
    }
    began_s = time.monotonic()
    trio.run(open_loop, rate, seconds, ways[kind], found)
    said = {**vars(found), "began_s": began_s, "ended_s": time.monotonic()}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
