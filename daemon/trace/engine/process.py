"""One engine as the daemon sees it: a process of child.py that runs one page at a time."""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import msgspec
import trio

import daemon
from daemon.trace.engine.limits import ANSWER_HEAD, CPU_S, NUMBER, REQUEST_HEAD
from daemon.trace.engine.records import PageOutcome

ANSWER_S_MAX = 2.0
START_S_MAX = 15.0

# The engine has no variable of the daemon's environment, which may have secrets, except where its libraries are.
# LD_BIND_NOW: else the process of each page would look up the functions that it calls.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
_ENVIRONMENT |= {"TZ": "UTC0", "LD_BIND_NOW": "1"}
CHILD = "daemon.trace.engine.child"
_PACKAGE = str(Path(daemon.__file__).parents[1])  # an editable installation may not have it in sys.path
_START = "import sys, importlib; sys.path[:] = sys.argv[2:]; importlib.import_module(sys.argv[1]).main()"
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
        self._number = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> Sandbox:
        """Returns once the engine is ready for pages."""
        with _at_most(START_S_MAX, "start"):
            _, report = await self._read_answer()
        return msgspec.json.decode(report, type=Sandbox)

    async def run(self, request: bytes) -> PageOutcome:
        """`request` is a PageRequest in JSON. After an EngineFault the engine cannot be used."""
        self._number = (self._number + 1) & 0xFFFF_FFFF
        with _at_most(ANSWER_S_MAX, "answer"):
            try:
                await self._stdin.send_all(REQUEST_HEAD.pack(self._number, len(request)) + request)
            except trio.BrokenResourceError:
                raise EngineFault("the engine ended") from None
            status, answer = await self._read_answer()
        if answer[: NUMBER.size] != NUMBER.pack(self._number):
            raise EngineFault("the engine ended before it had read a page")
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

    async def _read_answer(self) -> tuple[int, bytes]:
        """The status of the page's process, and its answer."""
        received = bytearray()
        expected = ANSWER_HEAD.size
        while len(received) < expected:
            part = await self._stdout.receive_some(_READ_BYTES)
            if not part:
                raise EngineFault("the engine ended")
            received += part
            if len(received) >= ANSWER_HEAD.size:
                expected = ANSWER_HEAD.size + ANSWER_HEAD.unpack_from(received)[1]
        return ANSWER_HEAD.unpack_from(received)[0], bytes(received[ANSWER_HEAD.size : expected])


def outcome_of(status: int, answer: bytes) -> PageOutcome:
    """The outcome of a page whose process ended with `status` (wait(2)) after this answer."""
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    if ended_by == signal.SIGPROF:
        return PageOutcome("unresolved", why=f"{CPU_S * 1000:.0f} ms of CPU")
    if ended_by == signal.SIGSYS:
        return PageOutcome("unresolved", why="a forbidden system call")
    if status:
        return PageOutcome("unresolved", why="the engine crashed")
    try:
        return msgspec.json.decode(answer, type=PageOutcome)
    except msgspec.MsgspecError as error:
        return PageOutcome("unresolved", why=f"the engine's answer is invalid: {error}")


@asynccontextmanager
async def engine_process(module: str = CHILD) -> AsyncIterator[EngineProcess]:
    """A process that calls `main` of a module. After the block neither it nor the process of a page is left."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", "-c", _START, module, _PACKAGE, *sys.path],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=_ENVIRONMENT,
        process_group=0,  # of the daemon's session: nice counts only inside one where the kernel groups them (sched(7))
    )
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


@contextlib.contextmanager
def _at_most(limit_s: float, what: str) -> Iterator[None]:
    with trio.move_on_after(limit_s) as scope:
        yield
    if scope.cancelled_caught:
        raise EngineFault(f"the engine did not {what} within {limit_s:g} s")
