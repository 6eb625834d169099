"""Waiting for a condition, with a bound: on trio, and without it."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import trio

PATIENCE_S = 20.0
"""No test waits longer for what must happen; none passes by waiting."""
POLL_S = 0.01


async def until(
    holds: Callable[[], Any],
    what: str = "the condition",
    patience_s: float = PATIENCE_S,
    *,
    failure: type[Exception] = AssertionError,
) -> Any:
    """The first true value of `holds`. Raises `failure` where none came within `patience_s`.

    `holds` is called in a thread, so it may block. An awaitable that it gives is awaited on trio.
    """
    value = None
    with trio.move_on_after(patience_s):
        while True:
            [value] = await trio.to_thread.run_sync(lambda: [holds()])  # in a list: trio takes no awaitable
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await trio.sleep(POLL_S)
    raise failure(_missed(what, patience_s, value))


def wait_until(holds: Callable[[], Any], what: str = "the condition", patience_s: float = PATIENCE_S) -> Any:
    """As `until`, without trio: blocks the thread."""
    ends_s = time.monotonic() + patience_s
    while not (value := holds()):
        assert time.monotonic() < ends_s, _missed(what, patience_s, value)
        time.sleep(POLL_S)
    return value


def _missed(what: str, patience_s: float, value: object) -> str:
    return f"within {patience_s:g} s this did not happen: {what}; last seen: {value!r}"
