"""Reads the clocks. Functions that decide do not read clocks: they take a Moment as an argument."""

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import trio

from daemon.clock import Moment


def read_boot_clock() -> float:
    """Seconds since the machine started, including the time in which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot_id() -> str:
    """Identifies the boot clock: the machine's start (random(4)), and the time namespace (time_namespaces(7)).

    Empty where the machine's start has no identifier.
    """
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    with suppress(OSError):  # a kernel without time namespaces
        return f"{started} {os.readlink('/proc/self/ns/time')}"
    return started


def read_clocks() -> Moment:
    return Moment(trio.current_time(), time.time(), read_boot_clock(), boot_id())
