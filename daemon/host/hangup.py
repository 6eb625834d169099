"""SIGHUP before the daemon can act on it. Imports nothing slow: until `record` has run, SIGHUP ends the process.

`tracepool serve` calls `record` first of all. Once the daemon runs, it reads the settings anew if a SIGHUP has come.
"""

import signal

_came = False


def record() -> None:
    """From now on SIGHUP is recorded, except while trio receives it."""
    signal.signal(signal.SIGHUP, _note)


def taken() -> bool:
    """Whether a SIGHUP has come since the last call."""
    global _came
    came, _came = _came, False
    return came


def ignore() -> None:
    """From now on SIGHUP does nothing: the process is about to end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _note(number: int, frame: object) -> None:
    global _came
    _came = True
