"""Clicks at an even pace, while a test does something else to the daemon."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tests.support.processes import Clicked, Serving, click
from tests.support.waiting import until


@dataclass(slots=True)
class Load:
    """Clicks at an even pace until `stop` is set. `clicks` are those that have ended."""

    daemon: Serving
    offer_name: str
    clicks_per_s: float
    clicks: list[Clicked]
    stop: trio.Event

    async def run(self) -> None:
        async def one(number: int) -> None:
            self.clicks.append(await click(self.daemon, self.offer_name, f"g{number}"))

        async with trio.open_nursery() as nursery:
            began_s, number = trio.current_time(), 0
            while not self.stop.is_set():
                nursery.start_soon(one, number)
                number += 1
                await trio.sleep_until(began_s + number / self.clicks_per_s)

    def redirected(self) -> list[Clicked]:
        return [clicked for clicked in self.clicks if clicked.redirected]


@asynccontextmanager
async def under_load(daemon: Serving, offer_name: str, clicks_per_s: float, at_least: int) -> AsyncIterator[Load]:
    """Run a load during the block, which begins after so many redirects; wait for the last clicks at its end."""
    load = Load(daemon, offer_name, clicks_per_s, [], trio.Event())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await until(lambda: len(load.redirected()) >= at_least, f"{at_least} clicks are redirected")
        yield load
        load.stop.set()
