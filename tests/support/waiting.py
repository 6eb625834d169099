"""Waiting for a condition with a time limit, with trio and without."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import trio

PATIENCE_S = 20.0
"""No test waits longer for something that must happen, and no test passes by waiting."""
POLL_S = 0.01


async def until(
    holds: Callable[[], Any],
    what: str = "the condition",
    patience_s: float = PATIENCE_S,
    *,
    failure: type[Exception] = AssertionError,
) -> Any:
    """Wait for the first true value of `holds` and return it. Raises `failure` after `patience_s`.

    `holds` is called in a thread, so it may block. If it returns an awaitable, trio awaits it.
    """
    value = None
    with trio.move_on_after(patience_s):
        while True:
            [value] = await trio.to_thread.run_sync(lambda: [holds()])  # in a list: trio refuses awaitables
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await trio.sleep(POLL_S)
    raise failure(_missed(what, patience_s, value))


def wait_until(holds: Callable[[], Any], what: str = "the condition", patience_s: float = PATIENCE_S) -> Any:
    """As `until`, but without trio: blocks the thread."""
    ends_s = time.monotonic() + patience_s
    while not (value := holds()):
        assert time.monotonic() < ends_s, _missed(what, patience_s, value)
        time.sleep(POLL_S)
    return value


def _missed(what: str, patience_s: float, value: object) -> str:
    return f"within {patience_s:g} s this did not happen: {what}; last seen: {value!r}"
