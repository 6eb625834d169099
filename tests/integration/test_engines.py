"""The engines and the processes of pages: what these may do, and what is left of them. script_host.py is the engine."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest
import structlog
import trio

from daemon.trace.engine import child, process
from daemon.trace.engine.engines import WAITING_MAX, Engines, engines_running
from daemon.trace.engine.records import PageOutcome, PageRequest
from tests.support.logged_errors import LoggedErrors
from tests.support.processes import REPOSITORY, engines_of, is_alive
from tests.support.waiting import until, wait_until

HOST = "tests.support.script_host"
FORBIDDEN = [
    "open", "write a file", "socket", "fork", "libc's fork", "exec", "kill", "trace", "write to the daemon",
    "read another descriptor", "sleep", "more time", "map code",
]  # fmt: skip
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
RUN = f"""
import trio
from daemon.trace.engine.engines import engines_running
from daemon.trace.engine.records import PageRequest

async def main():
    async with engines_running(2, "{HOST}") as engines:
        await engines.run(PageRequest("https://page.example/", "say", "utf-8", True))
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def engines(workers_max: int = 1, module: str = HOST) -> AbstractAsyncContextManager[Engines]:
    return engines_running(workers_max, module)


def page(text: str) -> PageRequest:
    return PageRequest("https://page.example/", text, "utf-8", True)


def processes(pid: int | None = None) -> list[psutil.Process]:
    return engines_of(pid or os.getpid(), HOST)


async def test_a_page_that_does_what_it_may_not_is_killed_and_the_next_one_runs() -> None:
    async with engines() as pages:
        assert (await pages.run(page("say"))).why == "hello"
        engine = processes()[0]
        for action in FORBIDDEN:
            assert await pages.run(page(action)) == PageOutcome("unresolved", why="a forbidden system call"), action
        assert (await pages.run(page("say"))).why == "hello"
        assert processes()[0] == engine


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("loop", "50 ms of CPU"),
        ("allocate", "the engine failed"),
        ("crash", "the engine crashed"),
        ("long answer", "an outcome of more than 1 MB"),
        ("nonsense", "the engine's answer is invalid"),
    ],
)
async def test_a_page_beyond_its_limits_is_unresolved_and_the_next_one_runs(action: str, why: str) -> None:
    async with engines() as pages:
        outcome = await pages.run(page(action))
        assert outcome.kind == "unresolved"
        assert outcome.why.startswith(why)
        assert (await pages.run(page("say"))).why == "hello"


async def test_no_page_sees_another_page() -> None:
    async with engines() as pages:
        assert [(await pages.run(page("count"))).why for _ in range(3)] == ["1", "1", "1"]
        assert len({(await pages.run(page("pid"))).why for _ in range(3)}) == 3


async def test_an_engine_starts_with_the_first_page_and_further_ones_when_all_are_busy() -> None:
    async with engines(3) as pages:
        assert pages.workers == 0
        await pages.run(page("say"))
        await pages.run(page("say"))
        assert pages.workers == 1
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(pages.run, page("loop"))
        assert pages.workers == 3


async def test_pages_beyond_the_queue_are_unresolved_at_once() -> None:
    outcomes: list[PageOutcome] = []

    async def run() -> None:
        outcomes.append(await pages.run(page("say")))

    async with engines() as pages, trio.open_nursery() as nursery:
        for _ in range(WAITING_MAX + 5):
            nursery.start_soon(run)
    refused = [outcome for outcome in outcomes if outcome.why != "hello"]
    assert len(refused) == 5
    assert set(refused) == {PageOutcome("unresolved", why=f"{WAITING_MAX} pages wait for an engine")}


async def test_an_engine_that_was_killed_is_replaced(expected_errors: LoggedErrors) -> None:
    expected_errors.expect("engine_failed")
    async with engines() as pages:
        await pages.run(page("say"))
        processes()[0].kill()
        await until(lambda: expected_errors.named("engine_failed"))
        assert (await pages.run(page("say"))).why == "hello"


async def test_no_zombie_is_left_of_a_killed_engine_in_a_container(expected_errors: LoggedErrors) -> None:
    """Process 1 of a container is the parent of all processes whose own parent has ended."""
    expected_errors.expect("engine_failed")
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        async with engines() as pages:
            await pages.run(page("say"))
            killed = processes()
            killed[0].kill()
            await until(lambda: expected_errors.named("engine_failed"))
            await until(lambda: not any(map(psutil.pid_exists, (one.pid for one in killed))), "both are reaped", 5)
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


async def test_an_engine_that_does_not_answer_is_replaced(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors
) -> None:
    monkeypatch.setattr(process, "ANSWER_S_MAX", 0.5)
    expected_errors.expect("engine_failed")
    async with engines(1, HOST + "_without_filters") as pages:
        failed = PageOutcome("unresolved", why="the engine failed: see engine_failed in the log")
        assert await pages.run(page("sleep")) == failed
        assert (await pages.run(page("say"))).why == "hello"
    [error] = expected_errors.named("engine_failed")
    assert error["why"] == "the engine did not answer within 0.5 s"


async def test_a_page_on_a_busy_machine_is_unresolved_and_its_engine_goes_on() -> None:
    async with engines() as pages:
        await pages.run(page("say"))
        await until(lambda: len(processes()) == 2, "the next page's process is there")
        [engine, next_page] = processes()
        next_page.suspend()
        try:
            outcome = await pages.run(page("say"))
        finally:
            next_page.resume()
        assert outcome == PageOutcome("unresolved", why="the engine did not answer within 3 s")
        assert (await pages.run(page("say"))).why == "hello"
        assert processes()[0] == engine


async def test_an_answer_that_came_while_the_daemon_was_stopped_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler holds this process in the system call in which it waits for events, as SIGSTOP does."""
    monkeypatch.setattr(process, "ANSWER_S_MAX", 0.8)
    monkeypatch.setattr("daemon.trace.engine.engines.PAGE_S_MAX", 0.8)
    before = signal.signal(signal.SIGALRM, lambda *_: time.sleep(1))
    try:
        async with engines() as pages:
            await pages.run(page("say"))
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            assert (await pages.run(page("loop"))).why == "50 ms of CPU"
    finally:
        signal.signal(signal.SIGALRM, before)


async def test_a_page_whose_trace_was_cancelled_leaves_the_engine_as_it_was() -> None:
    async with engines() as pages:
        await pages.run(page("say"))
        engine = processes()[0]
        with trio.move_on_after(0):
            await pages.run(page("loop"))
        assert (await pages.run(page("say"))).why == "hello"
        assert processes()[0] == engine


async def test_an_engine_that_does_not_start_says_why(expected_errors: LoggedErrors) -> None:
    expected_errors.expect("engine_failed")
    async with engines(3, "tests.support.no_such_module") as pages:
        [error, *_] = await until(lambda: expected_errors.named("engine_failed"))
        assert (await pages.run(page("say"))).why == "no engine starts: see engine_failed in the log"
    assert "No module named 'tests.support.no_such_module'" in error["why"]


async def test_an_engine_whose_process_cannot_be_created_says_why(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("engine_failed")
    python = sys.executable
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    async with engines() as pages:
        await pages.run(page("say"))
        [error, *_] = await until(lambda: expected_errors.named("engine_failed"))
        assert error["why"].startswith("the engine's process could not be created: [Errno 2]")
        assert (await pages.run(page("say"))).why == "no engine starts: see engine_failed in the log"
        monkeypatch.setattr(sys, "executable", python)
        await until(lambda: processes(), "it is tried again")


async def test_an_engine_that_can_create_no_process_for_a_page_says_so(
    expected_errors: LoggedErrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_errors.expect("engine_failed")
    (tmp_path / "without_forks.py").write_text(
        "from daemon.trace.engine import child\n"
        "from tests.support.script_host import main\n"
        "fork = child._fork\n"
        "calls = []\n"
        "child._fork = lambda: calls.append(1) or (fork() if len(calls) < 3 else -1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with engines(1, "without_forks") as pages:
        await pages.run(page("say"))
        [error, *_] = await until(lambda: expected_errors.named("engine_failed"))
        assert error["why"] == "the engine ended: OSError: no further process or memory for the next page"


async def test_an_engine_whose_pages_cannot_run_here_says_why(
    monkeypatch: pytest.MonkeyPatch, expected_errors: LoggedErrors, tmp_path: Path
) -> None:
    expected_errors.expect("engine_failed")
    (tmp_path / "without_system_calls.py").write_text(
        "from daemon.trace.engine import sandbox\n"
        "from tests.support.script_host import main\n"
        "sandbox.page_filter = lambda machine: sandbox._program(machine, [])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with engines(1, "without_system_calls") as pages:
        [error, *_] = await until(lambda: expected_errors.named("engine_failed"))
        assert error["why"] == "the sandbox does not work here: a forbidden system call"
        assert (await pages.run(page("say"))).why == "no engine starts: see engine_failed in the log"


def test_an_engine_that_has_lost_its_cpus_runs_on_those_that_it_may_use() -> None:
    cpus = os.sched_getaffinity(0)
    try:
        child._run_on({1023})
        assert os.sched_getaffinity(0) >= cpus
    finally:
        os.sched_setaffinity(0, cpus)


async def test_the_log_says_which_restrictions_are_in_force_and_which_are_missing() -> None:
    async def log_of(module: str) -> list[structlog.typing.EventDict]:
        with structlog.testing.capture_logs() as lines:
            async with engines(1, module) as pages:
                assert (await pages.run(page("say"))).why == "hello"
        return list(lines)

    [complete] = await log_of(HOST)
    assert complete["event"] == "engine_ready"
    assert {"system_calls", "memory", "cpu_time"} < set(complete["sandbox"])
    [ready, warning] = await log_of(HOST + "_without_filters")
    assert "system_calls" not in ready["sandbox"]
    assert warning["event"] == "engine_sandbox_incomplete"
    assert warning["missing"] == ("engine_system_calls", "system_calls")


async def test_no_process_is_left_after_the_block() -> None:
    async with engines(2) as pages:
        await pages.run(page("say"))
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(pages.run, page("loop"))
            found = await until(lambda: all_four if len(all_four := processes()) == 4 else None)
    await until(lambda: not any(map(is_alive, found)), "the pages' processes, which are killed, have ended")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_is_left_when_the_daemon_is_killed(ending: signal.Signals) -> None:
    daemon = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    with daemon:
        try:
            assert daemon.stdout is not None
            while daemon.stdout.readline() != "ready\n":
                assert daemon.poll() is None
            found = wait_until(lambda: both if len(both := processes(daemon.pid)) == 2 else None)
        finally:
            daemon.send_signal(ending)
        daemon.wait()
    wait_until(lambda: not [process for process in found if is_alive(process)], "the engine has ended")
