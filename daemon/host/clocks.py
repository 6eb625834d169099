"""Reads the clocks. Decisions never do: they are given a Moment."""

import time

import trio

from daemon.clock import Moment


def read_boot_clock() -> float:
    """Seconds since the machine started, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_clocks() -> Moment:
    return Moment(trio.current_time(), time.time(), read_boot_clock())
