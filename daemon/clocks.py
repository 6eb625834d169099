"""Reads the clocks. Decisions never do: they are given a Moment."""

import time

import trio

from daemon.moment import Moment


def read_clocks() -> Moment:
    return Moment(trio.current_time(), time.time())
