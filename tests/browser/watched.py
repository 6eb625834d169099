"""A daemon for a whole file of tests, in a thread of its own: the browser's driver blocks, which trio must not."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from tests.support.processes import (
    Serving,
    click,
    control_request,
    database_of,
    network_of,
    offer,
    provision,
    psql,
    serving,
)
from tests.support.state_dirs import open_state_dir
from tests.support.waiting import POLL_S, until

ADDRESSES = tuple(f"127.2.14.{number}" for number in range(1, 9))
SICK = tuple(f"198.51.100.{number}" for number in (77, 78))
START_S = 60.0


@dataclass(slots=True)
class Gate:
    """A TCP forwarder to a daemon's control face.

    `state`, which a test's thread sets: open; frozen: no byte passes; shut: connections are refused.
    """

    target: int
    port: int = 0
    state: str = "open"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def run(self) -> None:
        while True:
            if self.state == "shut":
                await trio.sleep(POLL_S)
                continue
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._forward, listeners)
                while self.state != "shut":  # noqa: ASYNC110 another thread sets it
                    await trio.sleep(POLL_S)
                nursery.cancel_scope.cancel()

    async def _forward(self, client: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with (
                client,
                await trio.open_tcp_stream("127.0.0.1", self.target) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._copy, client, server, nursery.cancel_scope)
                nursery.start_soon(self._copy, server, client, nursery.cancel_scope)

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream, connection: trio.CancelScope) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async for piece in source:
                while self.state == "frozen":  # noqa: ASYNC110 another thread sets it
                    await trio.sleep(POLL_S)
                await target.send_all(piece)
        connection.cancel()


@dataclass(slots=True)
class Watched:
    """`serving` may be used only by `do`. `other`: a second daemon of the same database; `gate`: before the first."""

    serving: Serving
    _token: trio.lowlevel.TrioToken
    _over: trio.Event
    other: Serving | None = None
    gate: Gate | None = None

    def do(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        return trio.from_thread.run(work, self.serving, *arguments, trio_token=self._token)

    def end(self) -> None:
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)


@dataclass(slots=True)
class _Begun:
    """The state of the thread: ready, or its error."""

    known: threading.Event = field(default_factory=threading.Event)
    watched: Watched | None = None
    error: BaseException | None = None


@contextmanager
def watched_daemon() -> Iterator[Watched]:
    """A daemon with IPs of two countries, two of them unhealthy, and three clicks; one trace is always in flight."""
    with _in_a_thread(_serve) as watched:
        yield watched


@contextmanager
def editable_daemon() -> Iterator[Watched]:
    """A daemon without offers and IPs."""
    with _in_a_thread(_serve_open) as watched:
        yield watched


@contextmanager
def watched_nodes() -> Iterator[Watched]:
    """Two daemons, tracer-1 and tracer-2, that share a database, five IPs of us and three of uk."""
    with _in_a_thread(_serve_two) as watched:
        yield watched


@contextmanager
def watched_empty(token: str) -> Iterator[Watched]:
    """A new installation behind a gate: no IPs, no offers, no clicks. `token` is control.token."""
    with _in_a_thread(partial(_serve_empty, token)) as watched:
        yield watched


@contextmanager
def _in_a_thread(serve: Callable[[_Begun], Awaitable[None]]) -> Iterator[Watched]:
    begun = _Begun()

    def run() -> None:
        try:
            trio.run(serve, begun)
        except BaseException as error:
            begun.error = error
        finally:
            begun.known.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.known.wait(START_S), "the daemon did not start"
        if begun.watched is None:
            raise AssertionError("the daemon did not start") from begun.error
        yield begun.watched
    finally:
        if begun.watched is not None and thread.is_alive():
            begun.watched.end()
        thread.join()
    if begun.error is not None:
        raise begun.error


async def _serve(begun: _Begun) -> None:
    settings: dict[str, dict[str, object]] = {
        "trace": {"allow_private": True},
        "pool": {"cooldown_s": 1},
        "providers.luna": {"price_per_gb": 4.0},
    }
    with open_state_dir() as state_dir:
        async with network_of(ADDRESSES) as network, serving(state_dir, settings) as daemon:
            await provision(daemon, network, ADDRESSES[:5], "us")
            await provision(daemon, network, ADDRESSES[5:], "uk")
            rows = ", ".join(f"('{address}', 'us', 'soax', 'failed', false, 5)" for address in SICK)
            await daemon.psql(
                "insert into ip_rotation_pool (ip_address, country, provider, status, is_healthy, consecutive_failures)"
                f" values {rows}"
            )
            await offer(daemon, "sale", network.chain_url(2, 20))
            await offer(daemon, "slow", network.chain_url(1, 5_000), "uk")
            for number in range(3):
                assert (await click(daemon, "sale", f"g{number}")).redirected
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_always_one, daemon)
                begun.watched = Watched(daemon, trio.lowlevel.current_trio_token(), trio.Event())
                begun.known.set()
                await begun.watched._over.wait()
                nursery.cancel_scope.cancel()
            assert daemon.faults() == [], f"the log has errors: {daemon.faults()}"
            await daemon.stop()


async def _serve_open(begun: _Begun) -> None:
    with open_state_dir() as state_dir:
        async with serving(state_dir, {"pool": {"cooldown_s": 1}}) as daemon:
            begun.watched = Watched(daemon, trio.lowlevel.current_trio_token(), trio.Event())
            begun.known.set()
            await begun.watched._over.wait()
            assert daemon.faults() == [], f"the log has errors: {daemon.faults()}"
            await daemon.stop()


async def _serve_two(begun: _Begun) -> None:
    with open_state_dir() as rows, open_state_dir() as one, open_state_dir() as two:
        async with (
            network_of(ADDRESSES) as network,
            database_of(rows) as url,
            serving(one, _node("tracer-1", url)) as first,
            serving(two, _node("tracer-2", url)) as second,
        ):
            ips = [(address, "us" if at < 5 else "uk") for at, address in enumerate(ADDRESSES)]
            values = ", ".join(f"('{address}', '{network.proxy_port}', '{country}')" for address, country in ips)
            await psql(url, f"insert into ip_rotation_pool (ip_address, ip_port, country) values {values}")
            await psql(
                url,
                "insert into offers (offer_name, final_url, target_country)"
                f" values ('sale', '{network.chain_url(2, 20)}', 'us')",
            )
            for daemon in (first, second):
                await until(partial(_leases, daemon), "each node has offers and IPs of us", START_S)
            begun.watched = Watched(first, trio.lowlevel.current_trio_token(), trio.Event(), second)
            begun.known.set()
            await begun.watched._over.wait()
            assert first.faults() == [], f"the log has errors: {first.faults()}"
            await first.stop()


async def _serve_empty(token: str, begun: _Begun) -> None:
    with open_state_dir() as state_dir:
        settings = {"control": {"token": token}}
        async with serving(state_dir, settings, ready=False) as daemon, trio.open_nursery() as nursery:
            await until(lambda: daemon.log("ready"), "the daemon is ready", START_S)
            gate = Gate(int(daemon.control_url.rpartition(":")[2]))
            nursery.start_soon(gate.run)
            await until(lambda: gate.port, "the gate is open")
            begun.watched = Watched(daemon, trio.lowlevel.current_trio_token(), trio.Event(), gate=gate)
            begun.known.set()
            await begun.watched._over.wait()
            nursery.cancel_scope.cancel()
        assert token not in daemon.log_file.read_text()


def _node(name: str, url: str) -> dict[str, dict[str, object]]:
    return {
        "trace": {"allow_private": True},
        "pool": {"cooldown_s": 1},
        "node": {"name": name},
        "database": {"url": url},
    }


def _leases(daemon: Serving) -> bool:
    status = control_request(daemon).json()
    return bool(status["node"]["countries"].get("us", {}).get("total") and daemon.log("offers_adopted"))


async def _always_one(daemon: Serving) -> None:
    async with trio.open_nursery() as nursery:
        while True:  # each click begins before the previous one has ended
            nursery.start_soon(click, daemon, "slow")
            await trio.sleep(4)
