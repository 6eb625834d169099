"""Starts `tracepool` by a fork of a process that has imported it: imports are most of the CPU time of a start.

The process is multiprocessing's fork server. A started command has its own session, files, directory and environment,
as one in a new interpreter has. It differs in its command line, which is the fork server's.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NoReturn

import trio

PRELOADED = "tests.support.preloaded"

_one_at_a_time = threading.Lock()  # a start looks after the processes that have ended
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([PRELOADED])


class Forked:
    """A process, with the methods of trio.Process that tests use."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with _one_at_a_time:
            return self._process.exitcode

    async def wait(self) -> int:
        while (status := self.poll()) is None:
            await trio.lowlevel.wait_readable(self._process.sentinel)
        return status

    def wait_in_thread(self, patience_s: float) -> int | None:
        """The exit status; None if it still runs after `patience_s`."""
        multiprocessing.connection.wait([self._process.sentinel], patience_s)
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(
    module: str, arguments: Sequence[str], directory: Path, environment: Mapping[str, str], output: Path, errors: Path
) -> Forked:
    """Start `python -m MODULE ARGUMENT…`, with its output appended to files. In a thread: the first start takes 2 s."""
    words = (module, list(arguments), str(directory), dict(environment), str(output), str(errors))
    for path in (output, errors):
        path.touch()  # so that it is there at once
    process = _context.Process(target=_run, args=words, daemon=True)
    with _one_at_a_time:
        process.start()
    return Forked(process)


def _run(
    module: str, arguments: list[str], directory: str, environment: dict[str, str], output: str, errors: str
) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where nohup has started the tests
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, errors, os.O_WRONLY)):
        opened = os.open(path, flags | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)
