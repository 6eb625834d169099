"""An engine whose page does in Python what its text names, in order to show what a page's process may not do.

It stands for a page that has taken over its process.
"""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable

import _quickjs

from daemon.trace.engine import child

_state = {"pages": 0}


def _count() -> str:
    _state["pages"] += 1
    return str(_state["pages"])


def _allocate() -> str:
    return str(len([bytes(1 << 20) for _ in range(500)]))


def _kill() -> str:
    os.kill(os.getppid(), signal.SIGKILL)
    return ""


def _sleep() -> str:
    time.sleep(60)
    return ""


def _loop() -> str:
    while True:
        pass


ACTIONS: dict[str, Callable[[], str]] = {
    "say": lambda: "hello",
    "pid": lambda: str(os.getpid()),
    "count": _count,
    "open": lambda: str(os.open("/etc/hostname", os.O_RDONLY)),
    "write a file": lambda: str(os.open("/tmp/page", os.O_CREAT | os.O_WRONLY)),
    "socket": lambda: str(socket.socket()),
    "fork": lambda: str(os.fork()),
    "libc's fork": lambda: str(ctypes.CDLL(None).fork()),
    "exec": lambda: str(os.execv("/bin/true", ["true"])),
    "kill": _kill,
    "trace": lambda: str(ctypes.CDLL(None).ptrace(0, 0, 0, 0)),
    "write to the daemon": lambda: str(os.write(3, b"forged")),
    "read another descriptor": lambda: str(os.read(5, 1)),
    "sleep": _sleep,
    "more time": lambda: str(signal.setitimer(signal.ITIMER_PROF, 60)),
    "map code": lambda: str(ctypes.CDLL(None).mmap(0, 4096, 7, 0x22, -1, 0)),
    "crash": lambda: str(ctypes.string_at(8)),
    "allocate": _allocate,
    "loop": _loop,
    "long answer": lambda: "x" * (2 << 20),
    "nonsense": lambda: "",
}


def context() -> _quickjs.Context:
    made = _quickjs.Context()
    made.add_callable("__do", lambda action: ACTIONS[action]())
    made.eval(
        """function __run(json) {
            var why = __do(JSON.parse(json).html);
            return why && JSON.stringify({kind: "stays", why: why});
        }"""
    )
    return made


def main() -> None:
    child.main(context)
