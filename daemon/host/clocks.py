"""Reads the clocks. Functions that decide do not read clocks: they take a Moment as an argument."""

import time

import trio

from daemon.clock import Moment


def read_boot_clock() -> float:
    """Seconds since the machine started, including the time in which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_clocks() -> Moment:
    return Moment(trio.current_time(), time.time(), read_boot_clock())
