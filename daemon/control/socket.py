"""The private Unix socket in the state directory: commands send the running daemon a JSON line and get one back.

Each of several processes has one in its directory.
"""

import errno
import inspect
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from daemon.errors import BadInput, DatabaseUnavailable, TheirFault, TracepoolError
from daemon.host.state_dir import DISK_ERRORS, directories_of, is_held
from daemon.logs import masked

NAME = "control.sock"
LINE_BYTES_MAX = 65_536
RETRY_S = 2.0
ANSWER_S = 120.0
BACKLOG = 128

Commands = dict[str, Callable[..., Awaitable[dict[str, Any]]]]  # by name; called with the client's keyword arguments
log = structlog.get_logger("daemon.control")


@contextmanager
def _address(state_dir: Path) -> Iterator[str]:
    """A path of the socket within the kernel's limit of 107 bytes, however long the directory's path is."""
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)


def ask(
    state_dir: Path, command: str, timeout_s: float = 5.0, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The daemon's answer to the command; None if no daemon runs with this state directory. Raises as `ask_process`.

    Of several processes, the first one that can answer does.
    """
    fault: TheirFault | None = None
    for directory in directories_of(state_dir):
        try:
            answer = ask_process(directory, command, timeout_s, arguments)
        except TheirFault as e:
            fault = fault or e
        else:
            if answer is not None:
                return answer
    if fault is not None:
        raise fault
    return None


def ask_process(
    state_dir: Path, command: str, timeout_s: float = 5.0, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The answer of the process with this directory; None if there is none.

    Raises TheirFault if there is no answer within `timeout_s`, DatabaseUnavailable if the answer is an error, BadInput
    without permission to connect.
    """
    try:
        with _address(state_dir) as address, socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout_s)
            client.connect(address)
            client.sendall(json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n")
            answer = b"".join(iter(lambda: client.recv(65_536), b""))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        if is_held(state_dir):
            raise TheirFault(
                f"the daemon runs without {state_dir / NAME}: it begins or ends, or its disk is full"
            ) from None
        return None
    except PermissionError:
        raise BadInput(f"{state_dir / NAME}: no permission: run this as the daemon's user or as root") from None
    except (ConnectionResetError, BrokenPipeError):
        raise TheirFault("the daemon stopped before it answered: try again") from None
    except TimeoutError:
        raise TheirFault(f"the daemon did not answer within {timeout_s:g} s: see its log") from None
    try:
        result: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise TheirFault("the daemon stopped before it answered, or took too long: see its log") from None
    if "error" in result:
        raise DatabaseUnavailable(result["error"], result.get("remedy") or "see the daemon's log")
    return result


async def serve(
    state_dir: Path, commands: Commands, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answers until cancelled. Only the daemon's own user and root can connect.

    Reports that it has started after the first attempt to listen. While the disk refuses the socket, it tries again.
    """
    has_started = False
    while True:
        try:
            listening = await _listening(state_dir)
            break
        except OSError as e:
            if e.errno not in (*DISK_ERRORS, errno.ENOENT):
                raise
            if not has_started:
                log.error("control_socket_refused", why=f"{state_dir / NAME}: {e.strerror}", retry_in_s=RETRY_S,
                          effect="tracepool status and other commands cannot ask the daemon")  # fmt: skip
                task_status.started()
                has_started = True
            await trio.sleep(RETRY_S)
    try:

        async def answer(stream: trio.SocketStream) -> None:
            await _answer(stream, commands)

        serving = partial(trio.serve_listeners, answer, [trio.SocketListener(listening)])
        await (serving() if has_started else serving(task_status=task_status))  # type: ignore[arg-type]
    finally:
        with suppress(OSError):
            (state_dir / NAME).unlink()


async def _listening(state_dir: Path) -> trio.socket.SocketType:
    with suppress(FileNotFoundError):
        (state_dir / NAME).unlink()  # left by a killed daemon; daemon.lock ensures that no other daemon runs
    with _address(state_dir) as address:
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            await listening.bind(address)
        except BaseException:
            listening.close()
            raise
        finally:
            os.umask(previous)
    listening.listen(BACKLOG)
    return listening


async def _answer(stream: trio.SocketStream, commands: Commands) -> None:
    try:
        with trio.move_on_after(ANSWER_S):
            async with stream:
                line = b""
                while b"\n" not in line and len(line) < LINE_BYTES_MAX:
                    piece = await stream.receive_some(LINE_BYTES_MAX)
                    if not piece:
                        return
                    line += piece
                await stream.send_all(masked(json.dumps(await _run(line, commands), default=str)).encode())
    except trio.BrokenResourceError:
        log.debug("asker_left")


async def _run(line: bytes, commands: Commands) -> dict[str, Any]:
    try:
        request = json.loads(line)
        command, arguments = commands[request["command"]], request.get("arguments", {})
        inspect.signature(command).bind(**arguments)
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"error": f"unknown command or arguments; known commands: {', '.join(commands)}"}
    try:
        return await command(**arguments)
    except DatabaseUnavailable as e:
        return {"error": str(e), "remedy": e.remedy}
    except TracepoolError as e:
        return {"error": str(e)}
    except Exception:
        log.exception("command_failed", line=line.decode("utf-8", "replace"))
        return {"error": "the command failed inside the daemon: see its log"}
