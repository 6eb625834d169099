"""What the engine's processes may do: limits of the kernel, and filters of system calls (seccomp).

There are two filters, as lists of what is allowed; any other system call kills the process. The engine's filter allows
what a process for each page needs. A page's process gets a second filter beside it: memory, clocks, reading its
request, writing its answer, exit.
"""

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from daemon.trace.engine.limits import CPU_S, MEMORY_BYTES

REQUEST, ANSWER = 0, 1  # a page's only file descriptors

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_KILL, _ALLOW, _REFUSE = 0x8000_0000, 0x7FFF_0000, 0x0005_0001  # KILL_PROCESS, ALLOW, ERRNO with EPERM
_LOAD, _EQUALS, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of BPF, on 32-bit words
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x4000_0000  # the first number of the x32 ABI
_PROT_EXEC = 4


class Machine(NamedTuple):
    """`architecture` is its AUDIT_ARCH in seccomp; `calls` are the numbers of the system calls."""

    architecture: int
    calls: dict[str, int]


MACHINES = {
    "x86_64": Machine(
        0xC000_003E,
        {
            "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigreturn": 15,
            "mremap": 25, "madvise": 28, "setitimer": 38, "getpid": 39, "clone": 56, "fork": 57, "exit": 60,
            "wait4": 61, "kill": 62, "gettimeofday": 96, "getppid": 110, "prctl": 157, "gettid": 186, "time": 201,
            "sched_setaffinity": 203, "clock_gettime": 228, "exit_group": 231, "set_robust_list": 273, "dup3": 292,
            "pipe2": 293, "prlimit64": 302, "getrandom": 318, "rseq": 334,
        },
    ),
    "aarch64": Machine(
        0xC000_00B7,
        {
            "dup3": 24, "close": 57, "pipe2": 59, "read": 63, "write": 64, "exit": 93, "exit_group": 94,
            "set_robust_list": 99, "setitimer": 103, "clock_gettime": 113, "sched_setaffinity": 122, "kill": 129,
            "rt_sigreturn": 139, "prctl": 167, "gettimeofday": 169, "getpid": 172, "getppid": 173, "gettid": 178,
            "brk": 214, "munmap": 215, "mremap": 216, "clone": 220, "mmap": 222, "mprotect": 226, "madvise": 233,
            "wait4": 260, "prlimit64": 261, "getrandom": 278, "rseq": 293,
        },
    ),
}  # fmt: skip

# Names, with a function that raises OSError where the kernel refuses, and its arguments.
_Restrictions = tuple[tuple[str, Callable[..., object], tuple[Any, ...]], ...]

_prctl = ctypes.CDLL(None, use_errno=True).prctl
_prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def page_filter(machine: Machine) -> bytes:
    """Reads only the request, writes only the answer, maps no code. prctl is refused: Python may name its memory."""
    calls = machine.calls
    allowed = ["munmap", "mremap", "brk", "madvise", "exit", "exit_group", "clock_gettime", "gettimeofday", "time"]
    allowed += ["getrandom", "rt_sigreturn", "getpid", "gettid"]
    rules = [(number, [(_RETURN, 0, 0, _ALLOW)]) for name in allowed if (number := calls.get(name)) is not None]
    for name, descriptor in (("read", REQUEST), ("write", ANSWER)):
        only = [(_LOAD, 0, 0, _ARGUMENTS), (_EQUALS, 0, 1, descriptor), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _KILL)]
        rules.append((calls[name], only))
    for name in ("mmap", "mprotect"):
        no_code = [(_LOAD, 0, 0, _ARGUMENTS + 16), (_HAS_BIT, 1, 0, _PROT_EXEC)]
        rules.append((calls[name], [*no_code, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _KILL)]))
    rules.append((calls["prctl"], [(_RETURN, 0, 0, _REFUSE)]))
    return _program(machine, rules)


def engine_filter(machine: Machine) -> bytes:
    """No files, no network, no other program; a process for each page."""
    return _program(machine, [(number, [(_RETURN, 0, 0, _ALLOW)]) for number in machine.calls.values()])


def _program(machine: Machine, rules: Iterable[tuple[int, list[tuple[int, int, int, int]]]]) -> bytes:
    """A filter of instructions (code, jump if true, jump if false, k). The rule of a system call ends in a return."""
    instructions = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUALS, 1, 0, machine.architecture), (_RETURN, 0, 0, _KILL)]
    instructions += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for number, rule in rules:
        instructions += [(_EQUALS, 0, len(rule), number), *rule]
    instructions.append((_RETURN, 0, 0, _KILL))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


class Sandbox:
    """The restrictions, prepared before the engine enters its own, because it can open no file after that.

    A page's process inherits those of the engine, which cost nothing for each page.
    """

    def __init__(self) -> None:
        machine = MACHINES.get(os.uname().machine) if struct.calcsize("P") == 8 else None
        memory_bytes = _address_space_bytes() + MEMORY_BYTES
        self._engine: _Restrictions = (
            ("no_core", resource.setrlimit, (resource.RLIMIT_CORE, (0, 0))),
            ("no_file_growth", resource.setrlimit, (resource.RLIMIT_FSIZE, (0, 0))),
            ("memory", resource.setrlimit, (resource.RLIMIT_AS, (memory_bytes, memory_bytes))),
            ("no_new_privileges", _set, (_PR_SET_NO_NEW_PRIVS, 1)),
            ("engine_system_calls", _install, (machine and _Filter(engine_filter(machine)),)),
        )
        self._page: _Restrictions = (
            ("ends_with_engine", _end_with, (os.getpid(),)),
            ("no_files", resource.setrlimit, (resource.RLIMIT_NOFILE, (0, 0))),
            ("no_processes", resource.setrlimit, (resource.RLIMIT_NPROC, (0, 0))),
            ("cpu_time", signal.setitimer, (signal.ITIMER_PROF, CPU_S)),
            ("system_calls", _install, (machine and _Filter(page_filter(machine)),)),
        )
        self.missing: list[str] = []

    @property
    def in_force(self) -> list[str]:
        return [name for name, _, _ in (*self._engine, *self._page) if name not in self.missing]

    def enter_engine(self) -> None:
        """Restricts the engine. What the kernel refuses is noted as missing, here and in `enter_page`."""
        self._enter(self._engine)

    def enter_page(self) -> None:
        self._enter(self._page)

    def _enter(self, restrictions: "_Restrictions") -> None:
        for name, restrict, arguments in restrictions:
            try:
                restrict(*arguments)
            except (OSError, ValueError):
                self.missing.append(name)


class _Filter(ctypes.Structure):
    """struct sock_fprog of seccomp(2)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    def __init__(self, program: bytes) -> None:
        super().__init__(len(program) // 8, program)


def _install(program: _Filter | None) -> None:
    if program is None:
        raise OSError("no filter for this machine")
    _set(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _set(option: int, value: int, address: int = 0) -> None:
    """prctl(2), raising OSError."""
    if _prctl(option, value, address, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _end_with(engine: int) -> None:
    _set(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != engine:
        os._exit(0)  # the engine died before the signal was set


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()
