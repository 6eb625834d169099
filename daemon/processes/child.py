"""One child process of the parent: started, watched, restarted and stopped.

A child reports as to systemd: READY=1, WATCHDOG=1, STATUS=, STOPPING=1. A child without a report in its time is killed.
Restarts follow the rules of actors (pauses.py).
"""

import signal
import subprocess
from collections.abc import Callable, Sequence

import structlog
import trio

from daemon.pauses import PAUSE_MAX_S, Pauses

START_S = 90.0  # as TimeoutStartSec= of the unit; a start that goes on reports so
STOP_S = 110.0  # below TimeoutStopSec= of the unit
ABORT_S = 1.0  # for the traceback that PYTHONFAULTHANDLER writes at SIGABRT
BAD_SETTINGS = 78

log = structlog.get_logger("daemon.processes")


class Child:
    """`run` starts the process until `stop`. The parent forwards `report`, and calls `look` often."""

    def __init__(self, name: str, start: Callable[[], "subprocess.Popen[bytes]"], watchdog_s: float) -> None:
        self.name = name
        self._popen = start
        self._watchdog_s = watchdog_s
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = trio.Event()
        self._stop = trio.Event()
        self._pauses = Pauses()
        self.ready = trio.Event()
        self.ended_once = trio.Event()
        self.was_started = False
        self.reloaded = trio.Event()
        self.is_unfit = False  # its last run ended with BAD_SETTINGS
        self.line = "starting"
        self._forget_run()

    def __repr__(self) -> str:
        return f"<Child {self.name} {self.pid}, {self.line}>"

    def _forget_run(self) -> None:
        self._heard_s = trio.current_time() if self._process is not None else 0.0
        self._has_reported = False  # from then on it handles signals
        self._hangs_up = False  # a SIGHUP is due
        self._stop_asked_s: float | None = None
        self._is_stopping = False
        self._aborted_s: float | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def run(self, note_end: Callable[[], None]) -> None:
        """Return when the process has ended after `stop`. `note_end` is called after each end before it."""
        while not self._stop.is_set():
            try:
                self._begin()
            except OSError as e:
                ended: dict[str, object] = {"why": f"cannot be started: {e.strerror}"}
            else:
                await self._ended.wait()
                ended = self._how_it_ended()
            self.line, self.ready = "restarting", trio.Event()
            self.reloaded.set()
            self.ended_once.set()
            if self._stop.is_set():
                break
            pause_s = PAUSE_MAX_S if self.is_unfit else self._pauses.after_crash(trio.current_time())
            log.error("process_ended", process=self.name, **ended, restart_in_s=pause_s,
                      effect="its clicks in flight are cut")  # fmt: skip
            note_end()
            with trio.move_on_after(pause_s):
                await self._stop.wait()
        self.line = "stopped"

    def _begin(self) -> None:
        self._ended, self.line, self.is_unfit = trio.Event(), "starting", False
        self.was_started = True
        self._process = self._popen()
        self._forget_run()
        log.info("process_started", process=self.name, pid=self._process.pid)

    def reap(self) -> None:
        """To be called after each SIGCHLD."""
        if self._process is not None and self._process.poll() is not None:
            self._ended.set()

    def _how_it_ended(self) -> dict[str, object]:
        assert self._process is not None
        status = self._process.returncode
        self.is_unfit = status == BAD_SETTINGS
        if status >= 0:
            return {"pid": self._process.pid, "status": status}
        return {"pid": self._process.pid, "signal": signal.Signals(-status).name}

    def report(self, assignments: Sequence[str]) -> None:
        now_s = trio.current_time()
        if not self._has_reported:
            self._has_reported, self._heard_s = True, now_s
            if self._hangs_up:
                self._send(signal.SIGHUP)
        for assignment in assignments:
            name, _, value = assignment.partition("=")
            if assignment == "READY=1":
                self._heard_s = now_s
                self.ready.set()
                self.reloaded.set()
            elif name in ("WATCHDOG", "EXTEND_TIMEOUT_USEC"):
                self._heard_s = now_s
            elif assignment == "STOPPING=1":
                self._is_stopping = True
            elif name == "STATUS":
                self.line = value

    def look(self) -> None:
        """Kill the process if it has been silent for too long."""
        now_s = trio.current_time()
        if not self.is_running:
            return
        if self._aborted_s is not None:
            if now_s > self._aborted_s + ABORT_S:
                self._send(signal.SIGKILL)
            return
        since_s, limit_s = self._limit()
        if now_s > since_s + limit_s:
            log.error("process_hangs", process=self.name, pid=self.pid, silent_s=round(now_s - since_s, 1),
                      effect="it is killed")  # fmt: skip
            self._aborted_s = now_s
            self._send(signal.SIGABRT)

    def _limit(self) -> tuple[float, float]:
        """Since when the process has owed a report or its end, and for how long it may."""
        if self._stop_asked_s is not None:
            return self._stop_asked_s, STOP_S if self._is_stopping else self._watchdog_s
        return self._heard_s, self._watchdog_s if self.ready.is_set() else max(START_S, self._watchdog_s)

    def hang_up(self) -> bool:
        """Send SIGHUP, or do so when the process handles it. Returns whether it will report the reload's end."""
        self.reloaded = trio.Event()
        self._hangs_up = not self._has_reported
        if self._has_reported:
            self._send(signal.SIGHUP)
        return self.is_running and self.ready.is_set()

    def stop(self) -> None:
        """Let the process answer its clicks and end. A second call ends it at once."""
        self._stop.set()
        if self._stop_asked_s is None:
            self._stop_asked_s = trio.current_time()
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._stop.set()
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(number)
