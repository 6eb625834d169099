"""Links to the click face as advertisers, people and programs write them, and requests for them over real sockets.

A browser that gets no redirect for a prefetch asks again when the visitor clicks; `Links` does so too.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import trio

NAMES = (
    *("summer-sale", "Summer-Sale", "summer_sale", "sumer-sale", "summer-sale.", "paused", "PAUSED", "broken", ""),
    *("%C3%89t%C3%A9+2", "%E9t%E9%202", "{offer}", "%7Boffer%7D", "%00", "%", "a%2", "x" * 300),
)
KEYS = ("offer", "offer", "offer", "Offer", "OFFER", "ofer", "offer%20", "%6Fffer", "amp;offer", "offer[]")
EXTRAS = (
    *("gclid=Cj0", "gclid={gclid}", "gclid=%7Bgclid%7D", "gclid", "=", "", "utm_source=a+b", "x=%F0%9F%98%80"),
    *("x=\xff", "url=https://a.example/?b=c", "a=1#b", "x=%0d%0aset-cookie:%20a=b", "fbclid=" + "Iw" * 90),
)
PATHS = ("/track-hit", "/track-hit/", "//track-hit", "/Track-Hit", "/TRACK-HIT/.", "/track-hit),")
MISSPELT_PATHS = ("/track-hits?offer=summer-sale", "/trackhit?offer=", "/track-hit%3Foffer=summer-sale", "/?offer=x")
PREFETCHES = ("Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch")
ROBOTS = ("facebookexternalhit/1.1", "WhatsApp/2.23", "Twitterbot/1.0", "Slackbot-LinkExpanding 1.0")
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36"
HEAD_BYTES_MAX = 65_536
ANSWER_S = 60.0


def query_of(draw: random.Random) -> bytes:
    pieces = [f"{draw.choice(KEYS)}={draw.choice(NAMES)}" for _ in range(draw.choice((0, 1, 1, 1, 1, 2)))]
    pieces += draw.choices(EXTRAS, k=draw.randrange(4))
    pieces += pieces[-1:] * draw.randrange(2)
    draw.shuffle(pieces)
    return "&".join(pieces).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `headers`: lines without their ends."""

    method: str
    target: bytes
    headers: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        body = b"beacon" if self.method == "POST" else b""
        lines = [*self.headers, "Host: ads.example", f"Content-Length: {len(body)}"]
        head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        return self.method.encode() + b" " + self.target + b" HTTP/1.1\r\n" + head + b"\r\n" + body


def fuzzed(draw: random.Random) -> Asked:
    """A request for a link that an advertiser may have written."""
    if draw.random() < 0.05:
        target = draw.choice(MISSPELT_PATHS).encode()
    else:
        query = query_of(draw).partition(b"#")[0]
        target = draw.choice(PATHS).encode() + (b"?" + query if query or draw.random() < 0.5 else b"")
    headers = [f"User-Agent: {draw.choice((BROWSER, BROWSER, *ROBOTS))}"]
    headers.append(f"X-Forwarded-For: 203.0.113.{draw.randrange(256)}")
    if draw.random() < 0.2:
        headers.append(draw.choice(PREFETCHES))
    return Asked(draw.choice(("GET", "GET", "GET", "POST", "HEAD")), target, tuple(headers))


@dataclass(frozen=True, slots=True)
class Answered:
    """`location`: None if the answer is no redirect."""

    status: int
    location: str | None


class Client:
    """Sends requests one after the other on one connection, as a browser does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: trio.SocketStream | None = None
        self._received = b""

    async def ask(self, asked: Asked) -> Answered:
        with trio.fail_after(ANSWER_S):
            if self._stream is None:
                self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            await self._stream.send_all(asked.encoded())
            head = await self._until(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            if asked.method != "HEAD":
                await self._take(int(fields.get("content-length", "0")))
            if fields.get("connection") == "close":
                await self.aclose()
            locations = [line.partition(": ")[2] for line in lines if line.lower().startswith("location: ")]
            return Answered(int(lines[0].split(" ")[1]), locations[0] if locations else None)

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._received and len(self._received) < HEAD_BYTES_MAX:
            await self._receive()
        found, _, self._received = self._received.partition(mark)
        return found

    async def _take(self, count: int) -> None:
        while len(self._received) < count:
            await self._receive()
        self._received = self._received[count:]

    async def _receive(self) -> None:
        assert self._stream is not None
        data = await self._stream.receive_some()
        if not data:
            raise ConnectionError("the daemon closed the connection before its answer")
        self._received += data

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()
        self._stream, self._received = None, b""


@dataclass(slots=True)
class Links:
    """What came of fuzzed requests: `statuses`, and `dead_ends`: requests without a redirect, with their status."""

    statuses: Counter[int] = field(default_factory=Counter)
    dead_ends: list[tuple[Asked, int]] = field(default_factory=list)
    prefetches_refused: int = 0

    async def send(self, port: int, count: int, seed: int, lanes: int = 20) -> None:
        draw = random.Random(seed)
        requests = iter([fuzzed(draw) for _ in range(count)])
        async with trio.open_nursery() as nursery:
            for _ in range(lanes):
                nursery.start_soon(self._lane, port, requests)

    async def _lane(self, port: int, requests: Iterator[Asked]) -> None:
        client = Client(port)
        for asked in requests:
            answer = await client.ask(asked)
            self.statuses[answer.status] += 1
            if answer.status == 503 and _is_prefetch(asked):
                self.prefetches_refused += 1  # a browser drops it; then the visitor clicks
                answer = await client.ask(Asked(asked.method, asked.target, asked.headers[:-1]))
                self.statuses[answer.status] += 1
            if not 300 <= answer.status < 400 or not (answer.location or "").startswith(("https://", "http://")):
                self.dead_ends.append((asked, answer.status))
        await client.aclose()


def _is_prefetch(asked: Asked) -> bool:
    return bool(asked.headers) and asked.headers[-1] in PREFETCHES


def repeats_of(offer: str, clicks: int, requests: int, seed: int) -> list[list[Asked]]:
    """For each of `clicks` different clicks its requests, `requests` in all, in an order of their own.

    One at least is the visitor's own. The others are the same click again, prefetches, HEAD and previews. Half of the
    clicks have a click id, the others differ by visitor and parameters.
    """
    draw = random.Random(seed)
    found = []
    for number in range(clicks):
        tail = f"gclid=id-{seed}-{number}" if number % 2 else f"sub={seed}-{number}"
        target = f"/track-hit?offer={offer}&{tail}".encode()
        visitor = f"X-Forwarded-For: 198.51.{number // 250}.{number % 250 + 1}"
        browser = (f"User-Agent: {BROWSER}", visitor)
        mine = [Asked("GET", target, browser)]
        for _ in range(requests // clicks + (number < requests % clicks) - 1):
            mine.append(
                draw.choice(
                    (
                        *(Asked("GET", target, browser), Asked("GET", target, browser), Asked("POST", target, browser)),
                        Asked("GET", target, (*browser, draw.choice(PREFETCHES))),
                        Asked("HEAD", target, browser),
                        Asked("GET", target, (f"User-Agent: {draw.choice(ROBOTS)}", visitor)),
                    )
                )
            )
        draw.shuffle(mine)
        found.append(mine)
    return found


@dataclass(slots=True)
class Repeated:
    """What came of the requests of `repeats_of`. `unequal`: clicks whose visitors did not all get one landing URL."""

    answers: Counter[int] = field(default_factory=Counter)
    unequal: list[set[str | None]] = field(default_factory=list)

    async def send(self, port: int, clicks: Sequence[Sequence[Asked]], lanes: int = 20) -> None:
        limiter = trio.CapacityLimiter(lanes)
        async with trio.open_nursery() as nursery:
            for requests in clicks:
                nursery.start_soon(self._send_click, port, requests, limiter)

    async def _send_click(self, port: int, requests: Sequence[Asked], limiter: trio.CapacityLimiter) -> None:
        """All requests of a click at the same time."""
        landings: set[str | None] = set()

        async def one(asked: Asked) -> None:
            client = Client(port)
            answer = await client.ask(asked)
            await client.aclose()
            self.answers[answer.status] += 1
            if asked.method != "HEAD" and BROWSER in asked.headers[0] and not _is_prefetch(asked):
                landings.add(answer.location)

        async with limiter, trio.open_nursery() as nursery:
            for asked in requests:
                nursery.start_soon(one, asked)
        if len(landings) != 1 or None in landings:
            self.unequal.append(landings)
