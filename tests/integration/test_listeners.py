"""The addresses that a face listens on, from an operator's settings."""

import socket
from pathlib import Path

import pytest
import trio

from daemon.errors import BadSettings, TheirFault
from daemon.http.listeners import open_listeners
from daemon.http.server import click_server
from tests.integration.faces import ClickApp, click, limits_with, read_answers


async def test_a_busy_port_is_named_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TheirFault, match=f"{bind}.*another port"):
            await open_listeners(["127.0.0.1:0", bind], backlog=8)


@pytest.mark.parametrize(
    "bind",
    ["8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "::1:8080", "[::1]", "unix:", "unix:run/x.sock", "", ":80"],
)
async def test_a_bind_that_is_not_an_address_is_a_bad_setting(bind: str) -> None:
    with pytest.raises(BadSettings, match="cannot listen on"):
        await open_listeners([bind], backlog=8)


async def test_an_address_of_another_machine_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match=r"192\.0\.2\.1:8080: this machine has no such address"):
        await open_listeners(["192.0.2.1:8080"], backlog=8)


async def test_no_address_at_all_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match="at least one"):
        await open_listeners([], backlog=8)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_ipv6_loopback_is_an_address() -> None:
    (listener,) = await open_listeners(["[::1]:0"], backlog=8)
    assert listener.socket.getsockname()[0] == "::1"
    listener.socket.close()


async def test_a_unix_socket_replaces_its_own_stale_file_and_serves(tmp_path: Path) -> None:
    path = str(tmp_path / "face.sock")
    (stale,) = await open_listeners([f"unix:{path}"], backlog=8)
    with pytest.raises(TheirFault, match="another program listens there"):
        await open_listeners([f"unix:{path}"], backlog=8)
    stale.socket.close()
    listeners = await open_listeners([f"unix:{path}"], backlog=8)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            limits = limits_with(connections_per_address_max=1)
            await click_server(ClickApp().handle, limits).serve(listeners, stop=stop, task_status=task_status)

        await nursery.start(serve)
        first, second = await trio.open_unix_socket(path), await trio.open_unix_socket(path)
        for client in (first, second):
            await client.send_all(click())
            assert (await read_answers(client, 1)).startswith(b"HTTP/1.1 302")
            await client.aclose()
        stop.set()


async def test_a_file_that_is_not_a_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("keep me")
    with pytest.raises(BadSettings, match="not a socket"):
        await open_listeners([f"unix:{path}"], backlog=8)
    assert path.read_text() == "keep me"


async def test_a_socket_in_a_folder_that_does_not_exist_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(TheirFault, match="folder does not exist"):
        await open_listeners([f"unix:{tmp_path}/none/face.sock"], backlog=8)
