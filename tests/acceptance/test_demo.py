"""`tracepool demo` as a process: its output, two demos at the same time, and that nothing of them remains."""

import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import trio

from daemon.demo.showcase import ADDRESSES
from tests.support.forked import Forked
from tests.support.processes import end_of, processes_in, start_command
from tests.support.waiting import PATIENCE_S, until

KEYS = ["offer", "country", "gclid", "ip", "hops", "wait_ms", "outcome", "reason", "location"]
CLICKS = 5
DEMO_S = 60.0
"""Enough for two demos at once, each of which waits for the 10 s deadline, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Demo:
    process: trio.Process | Forked
    output: Path
    errors: Path

    async def said(self, pattern: str) -> str:
        """Wait for the pattern on standard error; return its first group."""

        def find() -> str | None:
            found = re.search(pattern, self.errors.read_text())
            return found[1] if found else None

        return str(await until(find, f"it says {pattern!r}", DEMO_S))

    async def state_dir(self) -> Path:
        return Path(await self.said(r"files are in (\S+),"))

    async def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await end_of(self.process)

    def results(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@asynccontextmanager
async def demo(place: Path, name: str, *options: str, **env: str) -> AsyncIterator[Demo]:
    output, errors = place / f"{name}.out", place / f"{name}.err"
    process = await start_command(["demo", "--json", *options], output, errors, **env)
    try:
        yield Demo(process, output, errors)
    finally:
        if process.poll() is None:  # after a failed test: let the demo clean up
            process.send_signal(signal.SIGTERM)
            with trio.move_on_after(PATIENCE_S, shield=True):
                await process.wait()


def assert_nothing_is_left(state_dir: Path) -> None:
    assert processes_in(state_dir) == []
    assert not state_dir.exists()


def assert_each_click_got_what_its_offer_promises(results: list[dict[str, object]]) -> None:
    assert [list(result) for result in results] == [KEYS] * CLICKS
    assert [result["country"] for result in results] == ["us", "us", "us", "uk", "us"]
    assert all(result["ip"] in ADDRESSES[str(result["country"])] for result in results)
    assert len({result["ip"] for result in results}) == CLICKS
    assert len({result["gclid"] for result in results}) == CLICKS
    *resolved, slow = results
    assert [(result["outcome"], result["reason"]) for result in resolved] == [("resolved", None)] * 4
    assert [result["hops"] for result in resolved] == [5, 5, 5, 4]
    landings = [urlsplit(str(result["location"])) for result in resolved]
    assert [landing.hostname for landing in landings] == ["www.shop.example"] * 3 + ["www.tea.example"]
    assert [parse_qs(landing.query)["gclid"] for landing in landings] == [[result["gclid"]] for result in resolved]
    assert len({parse_qs(landing.query)["cid"][0] for landing in landings}) == len(landings)
    assert (slow["outcome"], slow["reason"]) == ("fallback", "deadline")
    location = str(slow["location"])
    assert location.startswith("http://track.slow-boat.example/c/")
    assert location.endswith(f"?gclid={slow['gclid']}")
    assert 0 < int(str(slow["hops"])) < 6


async def test_two_demos_at_once_keep_their_promises_and_leave_nothing(tmp_path: Path) -> None:
    # A setting of the tester's own must not lead the demo's daemon to another database.
    foreign = {"TRACEPOOL_DATABASE__URL": "postgresql://nobody@127.0.0.1:1/none"}
    async with demo(tmp_path, "once", "--once", **foreign) as once, demo(tmp_path, "stays") as stays:
        first_dir, second_dir = await once.state_dir(), await stays.state_dir()
        assert await end_of(once.process, DEMO_S) == 0, once.errors.read_text()
        assert_each_click_got_what_its_offer_promises(once.results())
        assert_nothing_is_left(first_dir)

        url = await stays.said(r"curl -si '(\S+)'")
        assert_each_click_got_what_its_offer_promises(stays.results())
        async with httpx.AsyncClient(trust_env=False) as visitor:
            answer = await visitor.get(url, timeout=PATIENCE_S)
        assert answer.status_code == 302
        assert parse_qs(urlsplit(answer.headers["location"]).query)["gclid"] == ["try-me"]
        await stays.said(r"(summer-sale .* resolved .*gclid=try-me)")
        assert await stays.stop(signal.SIGTERM) == 0
        assert len(stays.results()) == CLICKS, "later clicks are no part of the five objects"
        assert_nothing_is_left(second_dir)
    ports = {re.search(r"port (\d+)\n", text)[1] for text in (once.errors.read_text(), stays.errors.read_text())}  # type: ignore[index]
    assert len(ports) == 2
    assert re.search(r"port \d+ is busy.* take \d+ instead", once.errors.read_text() + stays.errors.read_text())


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        (r"(files are in)", signal.SIGINT, 130),
        (r"(database) ", signal.SIGTERM, 143),
        (r"(clicks at once)", signal.SIGINT, 130),
        (r"(clicks at once)", signal.SIGHUP, 129),
    ],
    ids=[
        "Ctrl-C while the database starts",
        "SIGTERM while the daemon starts",
        "Ctrl-C while clicks wait",
        "a closed terminal",
    ],
)
async def test_a_signal_at_any_moment_cleans_up(
    tmp_path: Path, moment: str, number: signal.Signals, status: int
) -> None:
    async with demo(tmp_path, "demo") as running:
        state_dir = await running.state_dir()
        await running.said(moment)
        assert await running.stop(number) == status, running.errors.read_text()
        assert running.output.read_text() == ""
        assert "Traceback" not in running.errors.read_text()
        assert_nothing_is_left(state_dir)


async def test_the_dashboard_is_there_and_a_daemon_that_dies_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    async with demo(tmp_path, "demo") as running:
        state_dir = await running.state_dir()
        pid = await running.said(r"daemon .* process (\d+)")
        page = await running.said(r"dashboard +(http://\S+)")
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert "<title>tracepool" in (await browser.get(page)).text
        await running.said(r"(clicks at once)")
        os.kill(int(pid), signal.SIGKILL)
        assert await end_of(running.process) == 1
        said = running.errors.read_text()
        assert "the daemon ended with status -9" in said
        assert '"event":"ready"' in said
        assert "Traceback" not in said
        assert_nothing_is_left(state_dir)
