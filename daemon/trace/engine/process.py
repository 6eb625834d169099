"""One engine as the daemon sees it: a process of child.py that runs one page at a time."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import TypeVar

import msgspec
import trio

import daemon
from daemon.trace.engine.limits import ANSWER_BYTES, ANSWER_HEAD, CPU_S, NUMBER, REQUEST_HEAD
from daemon.trace.engine.records import PageOutcome

# A page has 50 ms of CPU, and an engine starts with 300 ms; this is for a busy machine.
ANSWER_S_MAX = 10.0
START_S_MAX = 15.0
_WAITS = 4
_REAPS_MAX, _REAP_PAUSE_S = 100, 0.02

# The engine has no variable of the daemon's environment, which may have secrets, except where its libraries are.
# LD_BIND_NOW: else the process of each page would look up the functions that it calls.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
_ENVIRONMENT |= {"TZ": "UTC0", "LD_BIND_NOW": "1"}
CHILD = "daemon.trace.engine.child"
_PACKAGE = str(Path(daemon.__file__).parents[1])  # an editable installation may not have it in sys.path
_START = "import sys, importlib; sys.path[:] = sys.argv[2:]; importlib.import_module(sys.argv[1]).main()"
_T = TypeVar("_T")
_READ_BYTES = 1 << 16
_LAST_WORDS_CHARACTERS = 300


class EngineFault(Exception):
    """The engine did not start, ended, or did not answer: it is to be replaced."""


class Sandbox(msgspec.Struct, frozen=True):
    """Which restrictions of a page's process are in force, and which are missing. sandbox.py names them."""

    in_force: tuple[str, ...]
    missing: tuple[str, ...]


class EngineProcess:
    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._received = bytearray()
        self._number = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> Sandbox:
        """Returns once the engine is ready for pages."""
        status, report = await self._answer("start", START_S_MAX)
        try:
            return msgspec.json.decode(report, type=Sandbox)
        except msgspec.MsgspecError:
            raise EngineFault(f"the sandbox does not work here: {_fault_of(status) or 'no report'}") from None

    async def run(self, request: bytes) -> PageOutcome:
        """`request` is a PageRequest in JSON. After an EngineFault the engine cannot be used."""
        self._number = (self._number + 1) & 0xFFFF_FFFF
        with trio.move_on_after(ANSWER_S_MAX) as sending:
            try:
                await self._stdin.send_all(REQUEST_HEAD.pack(self._number, len(request)) + request)
            except trio.BrokenResourceError:
                raise EngineFault("the engine ended") from None
        if sending.cancelled_caught:
            raise EngineFault(f"the engine did not read its page within {ANSWER_S_MAX:g} s")
        status, answer = await self._answer("answer", ANSWER_S_MAX)
        if answer[: NUMBER.size] != NUMBER.pack(self._number):
            raise EngineFault("the engine ended before it had read a page")
        if len(answer) > ANSWER_BYTES:
            return PageOutcome("unresolved", why=f"an outcome of more than {ANSWER_BYTES >> 20} MB")
        return outcome_of(status, answer[NUMBER.size :])

    async def ended(self) -> None:
        """Returns when the process has ended."""
        await self._process.wait()

    async def last_words(self) -> str:
        """The end of its standard error."""
        if self._process.stderr is None:
            return ""
        with trio.move_on_after(1):
            text = await self._process.stderr.receive_some(_READ_BYTES)
            return text.decode(errors="replace").strip()[-_LAST_WORDS_CHARACTERS:]
        return ""

    async def _answer(self, what: str, limit_s: float) -> tuple[int, bytes]:
        """The status of the page's process, and its answer."""
        if (answer := await in_several_waits(self._read_answer, limit_s)) is None:
            raise EngineFault(f"the engine did not {what} within {limit_s:g} s")
        return answer

    async def _read_answer(self) -> tuple[int, bytes]:
        """Can be cancelled and called again."""
        received = self._received
        end = ANSWER_HEAD.size
        while True:
            if len(received) >= ANSWER_HEAD.size:
                status, length = ANSWER_HEAD.unpack_from(received)
                end = ANSWER_HEAD.size + length
                if len(received) >= end:
                    break
            part = await self._stdout.receive_some(_READ_BYTES)
            if not part:
                raise EngineFault("the engine ended")
            received += part
        self._received = received[end:]
        return status, bytes(received[ANSWER_HEAD.size : end])


async def in_several_waits(awaited: Callable[[], Awaitable[_T]], limit_s: float) -> _T | None:
    """What `awaited` returns, or None after `limit_s`. It can be cancelled and called again.

    A daemon that was stopped (SIGSTOP, Ctrl-Z) finds a time limit exceeded when it continues, although the answer has
    arrived. So the limit consists of several waits, and a stop costs one of them.
    """
    for _ in range(_WAITS):
        with trio.move_on_after(limit_s / _WAITS):
            return await awaited()
    return None


def outcome_of(status: int, answer: bytes) -> PageOutcome:
    """The outcome of a page whose process ended with `status` (wait(2)) after this answer."""
    if fault := _fault_of(status):
        return PageOutcome("unresolved", why=fault)
    try:
        return msgspec.json.decode(answer, type=PageOutcome)
    except msgspec.MsgspecError as error:
        return PageOutcome("unresolved", why=f"the engine's answer is invalid: {error}")


def _fault_of(status: int) -> str:
    """Why a page's process ended, from its status; "" if it ended as it should."""
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    if ended_by == signal.SIGPROF:
        return f"{CPU_S * 1000:.0f} ms of CPU"
    if ended_by == signal.SIGSYS:
        return "a forbidden system call"
    return "the engine crashed" if status else ""


@asynccontextmanager
async def engine_process(module: str = CHILD) -> AsyncIterator[EngineProcess]:
    """A process that calls `main` of a module. After the block neither it nor the process of a page is left.

    Raises EngineFault if the process cannot be created.
    """
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", "-c", _START, module, _PACKAGE, *sys.path],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=_ENVIRONMENT,
            # Of the daemon's session: nice counts only inside one where the kernel groups them (sched(7)).
            process_group=0,
        )
    except (OSError, RuntimeError) as error:  # no descriptor, process or thread is left, or Python has been removed
        raise EngineFault(f"the engine's process could not be created: {error}") from None
    try:
        yield EngineProcess(process)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()
            await _reap_page_of(process.pid)


async def _reap_page_of(engine: int) -> None:
    """Reaps the process of a page whose engine has ended, if this process, as process 1 of a container, adopts it."""
    with suppress(ChildProcessError):
        for _ in range(_REAPS_MAX):
            if os.waitpid(-engine, os.WNOHANG) != (0, 0):  # noqa: ASYNC222 - it does not block
                break
            await trio.sleep(_REAP_PAUSE_S)
