"""The filters of system calls, run by an interpreter of their instructions, for both kinds of machines."""

import struct

import pytest

from daemon.trace.engine.sandbox import MACHINES, Machine, engine_filter, page_filter

ALLOWED, KILLED, REFUSED = 0x7FFF_0000, 0x8000_0000, 0x0005_0001
BOTH = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
FORBIDDEN = {"x86_64": (2, 41, 59, 101, 257, 322, 435, 437), "aarch64": (56, 117, 198, 221, 281, 435, 437)}
"""open, socket, execve, ptrace, openat, execveat, clone3, openat2."""


def verdict(program: bytes, machine: Machine, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel does with a system call (seccomp(2))."""
    call = struct.pack(
        "=IIQ6Q", number, architecture or machine.architecture, 0, *arguments, *[0] * (6 - len(arguments))
    )
    instructions = list(struct.iter_unpack("=HBBI", program))
    value, at = 0, 0
    while True:
        code, if_true, if_false, k = instructions[at]
        at += 1
        if code == 0x20:
            [value] = struct.unpack_from("=I", call, k)
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += if_true if holds else if_false


@BOTH
def test_a_page_reads_its_request_and_writes_its_answer_only(machine: Machine) -> None:
    program, calls = page_filter(machine), machine.calls
    assert [verdict(program, machine, calls["read"], fd) for fd in (0, 1, 2, 5)] == [ALLOWED, KILLED, KILLED, KILLED]
    assert [verdict(program, machine, calls["write"], fd) for fd in (0, 1, 2, 5)] == [KILLED, ALLOWED, KILLED, KILLED]


@BOTH
def test_a_page_may_use_memory_but_not_run_it(machine: Machine) -> None:
    program, calls = page_filter(machine), machine.calls
    for name in ("mmap", "mprotect"):
        assert verdict(program, machine, calls[name], 0, 4096, 3) == ALLOWED
        assert verdict(program, machine, calls[name], 0, 4096, 7) == KILLED
    assert verdict(program, machine, calls["brk"], 0) == ALLOWED


@BOTH
def test_a_page_forks_nothing_signals_nothing_and_changes_no_limit(machine: Machine) -> None:
    program, calls = page_filter(machine), machine.calls
    forbidden = {"clone", "fork", "kill", "wait4", "pipe2", "dup3", "close", "setitimer", "prlimit64"} & calls.keys()
    assert {name: verdict(program, machine, calls[name]) for name in forbidden} == dict.fromkeys(forbidden, KILLED)
    assert verdict(program, machine, calls["prctl"], 22, 2) == REFUSED


@pytest.mark.parametrize("name", MACHINES)
def test_neither_the_engine_nor_a_page_opens_connects_or_starts_a_program(name: str) -> None:
    machine = MACHINES[name]
    for program in (engine_filter(machine), page_filter(machine)):
        assert {number: verdict(program, machine, number) for number in FORBIDDEN[name]} == dict.fromkeys(
            FORBIDDEN[name], KILLED
        )


@BOTH
def test_calls_of_another_architecture_are_killed_whatever_their_number(machine: Machine) -> None:
    """On x86_64 a 32-bit system call has other numbers: 4 is write there, and stat here."""
    for program in (engine_filter(machine), page_filter(machine)):
        assert verdict(program, machine, machine.calls["exit_group"], architecture=0x4000_0003) == KILLED
        assert verdict(program, machine, machine.calls["exit_group"] | 0x4000_0000) == KILLED
        assert verdict(program, machine, machine.calls["exit_group"]) == ALLOWED
