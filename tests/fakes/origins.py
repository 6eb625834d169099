"""Origins of redirect chains: replies by host and path, correct and faulty ones."""

import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import trio

from daemon.demo.wire import Connection, Request, answer
from tests.fakes.wire import listening, reset


@dataclass(frozen=True, slots=True)
class Reply:
    """Parts that are written `pause_s` apart, and what follows (`end`): keep, close, reset or hang."""

    parts: tuple[bytes, ...] = ()
    end: str = "keep"
    pause_s: float = 0.0
    repeat: bytes = b""  # repeated after the parts until the peer disconnects


def reply(status: int, *headers: tuple[str, str | bytes], body: bytes = b"") -> Reply:
    """A reply with a Content-Length."""
    return Reply((answer(status, body, *headers, kind=None, reason="Some Reason"),))


def page(body: bytes = b"<p>landed</p>") -> Reply:
    return reply(200, ("Content-Type", "text/html"), body=body)


def redirect(location: str | bytes, *headers: tuple[str, str | bytes], status: int = 302, body: bytes = b"") -> Reply:
    return reply(status, ("Location", location), *headers, body=body)


SILENT = Reply(end="hang")
RESETS = Reply(end="reset")
CLOSES = Reply(end="close")
CLOSES_IN_HEAD = Reply((b"HTTP/1.1 302 Found\r\nLocation: http://ne",), end="close")
GARBAGE = Reply((b"\x00\xffSSH-2.0-who are you\r\n\r\n" * 3,), end="close")
DRIPS = Reply((b"HTTP/1.1 200 OK\r\n",), repeat=b"X", pause_s=0.02)
CONTINUES_FOREVER = Reply(repeat=b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
ENDLESS_BODY = Reply((b"HTTP/1.1 200 OK\r\n\r\n",), repeat=b"z" * 16_384)
ENDLESS_REDIRECT_BODY = Reply(
    (b"HTTP/1.1 302 Found\r\nLocation: /after\r\nTransfer-Encoding: chunked\r\n\r\n",),
    repeat=b"1000\r\n" + b"z" * 4096 + b"\r\n",
)
BODY_THAT_NEVER_COMES = Reply((b"HTTP/1.1 302 Found\r\nLocation: /after\r\nContent-Length: 100\r\n\r\n",), end="hang")
LARGE_HEAD = Reply(
    (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1_000) for n in range(100)), b"\r\n")
)
MANY_HEADERS = Reply((b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(9_000)), b"\r\n"))
MANY_SHORT_HEADERS = Reply((b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 9_000, b"\r\n"))  # 36 KB, yet slow to parse
LARGE_LOCATION = redirect(b"/" + b"a" * 1_048_576)


@dataclass(slots=True)
class Origin:
    """`replies` by `host/path?query`, with the host of the Host header; of a list each in turn, the last for ever."""

    replies: dict[str, Reply | list[Reply]]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    _turns: dict[str, Iterator[Reply]] = field(default_factory=dict)

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1

        async def answer_one(request: Request) -> bool:
            self.requests.append(request)
            return await self._write(stream, self._reply(request))

        await Connection(stream).serve(answer_one)

    def _reply(self, request: Request) -> Reply:
        key = f"{request.value('host')}{request.target}"
        found = self.replies.get(key, reply(404))
        if isinstance(found, Reply):
            return found
        turns = self._turns.setdefault(key, itertools.chain(found, itertools.repeat(found[-1])))
        return next(turns)

    async def _write(self, stream: trio.abc.Stream, chosen: Reply) -> bool:
        for part in chosen.parts:
            await stream.send_all(part)
            await trio.sleep(chosen.pause_s)
        while chosen.repeat:
            await stream.send_all(chosen.repeat)
            await trio.sleep(chosen.pause_s)
        if chosen.end == "hang":
            await stream.receive_some(1)  # until the peer disconnects
        elif chosen.end == "reset":
            reset(stream)
        return chosen.end == "keep"


@contextlib.asynccontextmanager
async def origin(
    replies: dict[str, Reply | list[Reply]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Origin, int]]:
    """Run an Origin; yield it and its port."""
    served = Origin(replies)
    async with listening(served.serve, tls=tls) as port:
        yield served, port
