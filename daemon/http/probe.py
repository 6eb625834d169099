"""Requests /livez from the daemon's own listeners, through the whole server, as a visitor would."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from daemon.http.listeners import name_of
from daemon.http.server import Server

REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
READYZ = REQUEST.replace(b"/livez", b"/readyz")
ANOTHER_S = 1.0
LIVE = b"HTTP/1.1 200"
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how to reach a wildcard address

Probe = Callable[[], Awaitable[str | None]]
"""Returns None for a good answer, else the fault."""


def listener_probes(
    server: Server, listeners: Sequence[trio.SocketListener], *, passed: bool, shared: bool = False
) -> dict[str, Probe]:
    """A probe for each listener, by name. `passed`: systemd opened the listeners.

    `shared`: other processes accept from the same listeners, so any of them may answer, or close the connection.
    """
    probe = partial(_probe, server, passed=passed, shared=shared)
    return {f"listener {name_of(listener)}": partial(probe, listener) for listener in listeners}


async def is_served_by_another(listeners: Sequence[trio.SocketListener]) -> bool:
    """Whether another process that shares these listeners is ready. This process must not accept from them now."""
    answer = b""
    with trio.move_on_after(ANOTHER_S), suppress(OSError):
        async with await _connected(listeners[0]) as client:
            answer = await _answer_of(client, READYZ)
    return answer.startswith(LIVE)


async def _probe(server: Server, listener: trio.SocketListener, *, passed: bool, shared: bool) -> str | None:
    turned_away = server.turned_away
    try:
        client = await _connected(listener)
    except OSError as e:
        # A socket unit may forbid connections from this host; a restart of the daemon would change nothing.
        return None if passed else f"cannot be connected to: {e}"
    async with client:
        answer = await _answer_of(client)
    if answer.startswith(LIVE) or (not answer and (shared or server.turned_away > turned_away)):
        return None  # the server is full, but alive: it refuses connections
    return f"/livez answers {answer[: len(LIVE)]!r}" if answer else "closes the connection without an answer"


async def _connected(listener: trio.SocketListener) -> trio.SocketStream:
    address = listener.socket.getsockname()
    client = trio.socket.socket(listener.socket.family, trio.socket.SOCK_STREAM)
    try:
        if isinstance(address, tuple):
            address = (LOOPBACK.get(address[0], address[0]), *address[1:])
        await client.connect(address)
        return trio.SocketStream(client)
    except BaseException:
        client.close()
        raise


async def _answer_of(client: trio.SocketStream, request: bytes = REQUEST) -> bytes:
    """The beginning of the answer; b"" if the server closes without one."""
    answer = b""
    try:
        await client.send_all(request)
        while len(answer) < len(LIVE) and (piece := await client.receive_some(1024)):
            answer += piece
    except trio.BrokenResourceError:
        return b""
    return answer
