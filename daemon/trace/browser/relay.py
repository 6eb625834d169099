"""One connection of the browser to the forwarder: its requests to the leased IP, and the answers back."""

from dataclasses import dataclass
from typing import Protocol

import trio

from daemon.providers.answers import OwnAnswer
from daemon.trace.browser.messages import Answer, Asked, NotHttp, asked_in
from daemon.trace.walk.verdicts import Failure, Phase
from daemon.trace.wire.connection import Progress, Target
from daemon.trace.wire.failures import failure_of
from daemon.trace.wire.stream import Broken, HopError, TooManyBytes, WireStream

READ_BYTES = 16_384
HEAD_BYTES_MAX = 262_144  # of a request of the browser
BODY_BYTES_MAX = 4_194_304
HEAD_END = b"\r\n\r\n"
REFUSED_METHODS = frozenset({405, 501})  # by a proxy that knows no request but CONNECT

ENDS = (trio.BrokenResourceError, trio.ClosedResourceError, Broken, HopError, TooManyBytes)
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CHALLENGE = b'HTTP/1.1 407 Login Required\r\nProxy-Authenticate: Basic realm="tracepool"\r\nContent-Length: 0\r\n\r\n'
FORBIDDEN = b"HTTP/1.1 403 Not Public\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FAILED = b"HTTP/1.1 502 No Answer\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the leased IP gave no answer of a target, see HopFailure. `refusal`: the headers of its own 407."""

    phase: Phase
    failure: Failure
    status: int | None = None
    own: OwnAnswer | None = None
    refusal: tuple[tuple[bytes, bytes], ...] | None = None
    began: bool = False  # a part of an answer came


class LeasedIp(Protocol):
    """The leased IP of the trace. `only_tunnels`: it forwards no requests; `forwards`: it does, as an answer showed."""

    only_tunnels: bool
    forwards: bool

    def knows(self, authorization: bytes | None) -> bool:
        """Whether a request has the trace's password."""

    def refuses(self, target: Target) -> bool:
        """Whether nothing is sent to the target: it is not public."""

    async def open(self, target: Target, *, tunnel: bool) -> WireStream | Fault:
        """A connection to the IP, with a tunnel to `target` or without one."""

    def proxy_headers(self) -> bytes:
        """The lines that log in to the IP."""

    def note(self, target: Target, fault: Fault) -> None: ...

    def note_head(self, answer: Answer) -> Fault | None:
        """Reads the head of an answer over plain http. A fault: the answer must not reach the browser."""

    def is_own(self, answer: Answer) -> bool:
        """Whether a rule says that the IP gave the answer for itself."""

    def check_bytes(self) -> None:
        """After each read: raises HopError once too many bytes were received."""


class Relay:
    """Serves one connection of the browser. It has one connection to the leased IP at a time."""

    def __init__(self, ip: LeasedIp, client: trio.SocketStream) -> None:
        self._ip = ip
        self._client = client
        self._read = bytearray()  # from the client, not handled yet
        self._upstream: WireStream | None = None
        self._key: Target | None = None  # the end of the upstream's tunnel; None: it has none

    async def serve(self) -> None:
        """Raises what the streams raise, HopError, and NotHttp for what is no request."""
        ip = self._ip
        try:
            while (asked := await self._next_request()) is not None:
                if not ip.knows(asked.authorization):
                    await self._client.send_all(CHALLENGE)
                elif ip.refuses(asked.target):
                    return await self._client.send_all(FORBIDDEN)
                elif asked.method == b"CONNECT":
                    return await self._tunnel(asked.target)
                elif not await self._forward(asked, await self._body(asked)):
                    return None
        finally:
            self._close_upstream()

    async def _next_request(self) -> Asked | None:
        while (end := self._read.find(HEAD_END)) < 0:
            if not await self._more() or len(self._read) > HEAD_BYTES_MAX:
                return None
        head = bytes(self._read[:end])
        del self._read[: end + len(HEAD_END)]
        return asked_in(head)

    async def _body(self, asked: Asked) -> bytes:
        if asked.body_bytes > BODY_BYTES_MAX:
            raise NotHttp
        while len(self._read) < asked.body_bytes:
            if not await self._more():
                raise NotHttp
        body = bytes(self._read[: asked.body_bytes])
        del self._read[: asked.body_bytes]
        return body

    async def _more(self) -> bool:
        data = await self._client.receive_some(READ_BYTES)
        self._read += data
        return bool(data)

    # CONNECT

    async def _tunnel(self, target: Target) -> None:
        opened = await self._ip.open(target, tunnel=True)
        if isinstance(opened, Fault):
            self._ip.note(target, opened)
            return await self._client.send_all(FAILED)
        self._upstream = opened
        await self._client.send_all(OPENED)
        if self._read:
            await opened.write(bytes(self._read))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copy_up, opened, nursery.cancel_scope)
            try:
                while data := await self._received(opened):
                    await self._client.send_all(data)
            except ENDS:
                pass  # the browser sees the tunnel's end
            nursery.cancel_scope.cancel()
        return None

    async def _copy_up(self, upstream: WireStream, ended: trio.CancelScope) -> None:
        try:
            while data := await self._client.receive_some(READ_BYTES):
                await upstream.write(data)
        except ENDS:
            pass  # the leased IP sees the tunnel's end
        ended.cancel()

    # Plain http

    async def _forward(self, asked: Asked, body: bytes) -> bool:
        """One request and its answer. Whether the browser's connection can be used again."""
        progress = Progress(0)
        answer = await self._answered(asked, body, progress)
        if isinstance(answer, Answer) and self._may_only_tunnel(answer):
            opened = await self._ip.open(asked.target, tunnel=True)
            self._ip.only_tunnels = not isinstance(opened, Fault)
            if not isinstance(opened, Fault):
                self._close_upstream()
                self._upstream, self._key = opened, asked.target
                answer = await self._answered(asked, body, progress)
        if isinstance(answer, Fault):
            self._ip.note(asked.target, answer)
            await self._client.send_all(FAILED)
            return False
        return await self._deliver(answer)

    async def _answered(self, asked: Asked, body: bytes, progress: Progress) -> Answer | Fault:
        """An answer whose head is complete."""
        while True:
            tunnel = self._ip.only_tunnels
            is_new = not self._has_connection(asked.target if tunnel else None)
            if is_new and isinstance(fault := await self._connect(asked.target, tunnel=tunnel), Fault):
                return fault
            assert self._upstream is not None
            progress.phase = Phase.BEHIND if tunnel else Phase.FORWARD
            progress.stream, answer = self._upstream, Answer(asked.method)
            progress.bytes_read_before = self._upstream.bytes_read
            try:
                await self._upstream.write(asked.head(None if tunnel else self._ip.proxy_headers()) + body)
                while not answer.complete:
                    if not (data := await self._received(self._upstream)):
                        raise HopError(Failure.CLOSED)
                    answer.feed(data)
            except NotHttp:
                return Fault(progress.phase, Failure.NOT_HTTP)
            except Exception as error:
                self._close_upstream()
                if is_new or progress.began_to_answer:
                    return Fault(progress.phase, failure_of(error, progress), began=progress.began_to_answer)
            else:
                return (None if tunnel else self._ip.note_head(answer)) or answer

    def _may_only_tunnel(self, answer: Answer) -> bool:
        """Whether the answer may be that of a proxy which opens tunnels and forwards no request."""
        ip = self._ip
        if ip.only_tunnels or ip.forwards or ip.is_own(answer):
            return False
        ip.forwards = answer.status not in REFUSED_METHODS
        return not ip.forwards

    async def _deliver(self, answer: Answer) -> bool:
        """Passes the answer on as it comes. A break is passed on as one."""
        assert self._upstream is not None
        await self._client.send_all(bytes(answer.held))
        while not answer.whole:
            if not (data := await self._received(self._upstream)):
                return False
            answer.feed(data)
            await self._client.send_all(data)
        if not answer.kept:
            self._close_upstream()
        return answer.kept

    def _has_connection(self, key: Target | None) -> bool:
        """Whether the idle connection to the leased IP serves a request with this key."""
        if self._upstream is not None and (self._key != key or self._upstream.is_readable()):
            self._close_upstream()
        return self._upstream is not None

    async def _connect(self, target: Target, *, tunnel: bool) -> Fault | None:
        opened = await self._ip.open(target, tunnel=tunnel)
        if isinstance(opened, Fault):
            return opened
        self._upstream, self._key = opened, target if tunnel else None
        return None

    async def _received(self, upstream: WireStream) -> bytes:
        data = await upstream.read(READ_BYTES)
        self._ip.check_bytes()
        return data

    def _close_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
