"""The engine: a process that makes a process for each page, which runs the page and ends.

The engine evaluates page.js once. The process of a page is a fork with a copy of that context, made before its page
arrives: it enters the sandbox, reads one request from standard input, runs the page, writes its answer to a pipe of its
own. The engine passes the answer on once that process has ended. So no page sees another page or its answer.

The engine ends at the end of its standard input, which comes also if the daemon is killed. A page's process ends by its
limit of CPU time at the latest.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import time
from collections.abc import Callable

import _quickjs

from daemon.trace.engine.host import host_functions, warm_up
from daemon.trace.engine.limits import ANSWER_BYTES, ANSWER_HEAD, HEAP_BYTES, NUMBER, REQUEST_HEAD, STACK_BYTES
from daemon.trace.engine.sandbox import ANSWER, REQUEST, Sandbox

NICE = 10  # clicks have precedence over pages
_CPUS_MAX = 1024
_HEAP_END_BYTES = 140_000  # glibc extends the heap by as much (M_TOP_PAD)
_READ_BYTES = 1 << 16
NO_REQUEST = 3  # the exit status of a page's process whose standard input ended

# os.fork() would run handlers of modules that this process does not use: 170 page faults more for each page.
_libc = ctypes.PyDLL(None)
_fork = _libc.fork


def template() -> _quickjs.Context:
    """A context that has evaluated page.js. It runs one page."""
    context = _quickjs.Context()
    context.set_memory_limit(HEAP_BYTES)
    context.set_max_stack_size(STACK_BYTES)

    def run_jobs(_: str) -> str:
        """Runs the pending jobs of promises. Returns how many ran."""
        count = 0
        while context.execute_pending_job():
            count += 1
        return str(count)

    def run_script(text: str) -> str:
        """Runs a global script. Returns what it throws, as a text, or ""."""
        return _failure(context.eval, text)

    def run_module(text: str) -> str:
        return _failure(context.module, text)

    own = {"__jobs": run_jobs, "__script": run_script, "__module": run_module}
    for name, function in {**host_functions(), **own}.items():
        context.add_callable(name, function)
    with open(os.path.join(os.path.dirname(__file__), "page.js"), encoding="utf-8") as script:
        context.eval(script.read())
    # Garbage is collected once memory has grown by half since the last time. This is such a time, with 8 MB in use: a
    # collection costs a page that allocates 1 MB a fifth of its time.
    context.eval("{ const large = new ArrayBuffer(8 << 20); for (let i = 0; i < 100; i++) large[i] = []; }")
    return context


def _failure(run: Callable[[str], object], text: str) -> str:
    try:
        run(json.loads(text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    except _quickjs.JSException as error:
        return json.dumps(str(error) or "Error")
    except Exception:  # the script's result has no form in Python
        return '""'
    return '""'


def outcome_of(context: _quickjs.Context, request: bytes) -> bytes:
    """A PageOutcome in JSON, for a PageRequest in JSON."""
    try:
        answer: str = context.get("__run")(request.decode())
    except _quickjs.JSException as error:
        answer = json.dumps({"kind": "unresolved", "why": f"the engine failed: {str(error).partition(chr(10))[0]}"})
    return answer.encode()


class Engine:
    """Runs each page in a copy of `context`."""

    def __init__(self, context: _quickjs.Context) -> None:
        self._context = context
        self._sandbox = Sandbox()
        self._cpus = _cpus()

    def serve(self) -> None:
        """Serves pages until the end of standard input."""
        warm_up()
        gc.collect()
        gc.freeze()
        gc.disable()
        _use_up_free_memory()
        self._sandbox.enter_engine()
        _write_answer(*self._in_own_process(self._report_sandbox))
        while True:
            status, answer = self._in_own_process(self._serve_page)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == NO_REQUEST:
                return
            _write_answer(status, answer)

    def _in_own_process(self, run: Callable[[], int]) -> tuple[int, bytes]:
        """The status and the answer of a process that calls `run` and exits with its result."""
        reading, writing = os.pipe()
        if self._cpus:  # the process stays on this CPU, whose caches have its memory
            _run_on({_libc.sched_getcpu()})
        pid = _fork()
        if self._cpus and pid:
            _run_on(self._cpus)
        if pid == 0:
            status = 1
            try:
                os.dup2(writing, ANSWER, inheritable=False)
                for descriptor in (2, reading, writing):
                    os.close(descriptor)
                status = run()
            finally:
                os._exit(status)
        os.close(writing)
        if pid < 0:
            raise OSError("no further process or memory for the next page")
        answer = bytearray()
        while part := os.read(reading, _READ_BYTES):
            answer += part
            if len(answer) > ANSWER_BYTES:
                os.kill(pid, signal.SIGKILL)
                break
        os.close(reading)
        return os.waitpid(pid, 0)[1], bytes(answer)

    def _report_sandbox(self) -> int:
        self._sandbox.enter_page()
        _write(json.dumps({"in_force": self._sandbox.in_force, "missing": self._sandbox.missing}).encode())
        return 0

    def _serve_page(self) -> int:
        self._sandbox.enter_page()
        head = _read_exactly(REQUEST_HEAD.size)
        number, length = (0, 0) if head is None else REQUEST_HEAD.unpack(head)
        request = _read_exactly(length)
        if head is None or request is None:
            return NO_REQUEST
        _write(NUMBER.pack(number))
        _write(outcome_of(self._context, request))
        return 0


def _cpus() -> set[int]:
    """The CPUs of this process; none if it may not choose among them."""
    cpus = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return set()
    return cpus


def _run_on(cpus: set[int]) -> None:
    """Runs this process on these CPUs, or on all that its cpuset has by now if it has none of these any more."""
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, range(_CPUS_MAX))


def _use_up_free_memory() -> None:
    """Takes the free pieces of the heap, so that a page's process allocates in memory that it does not share.

    Each page of memory that a fork writes to is copied first: without this a page takes 80 copies more.
    """
    _libc.malloc.restype = _libc.sbrk.restype = ctypes.c_void_p
    for size in (65_536, 32_768, 16_384, 8_192, 4_096, 2_048, *range(1_040, 0, -16)):
        while (_libc.malloc(size) or 0) + size + _HEAP_END_BYTES < (_libc.sbrk(0) or 0):
            pass


def _read_exactly(count: int) -> bytes | None:
    """From standard input; None at its end."""
    parts = []
    while count:
        part = os.read(REQUEST, min(count, _READ_BYTES))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write_answer(status: int, answer: bytes) -> None:
    _write(ANSWER_HEAD.pack(status, len(answer)) + answer)


def _write(message: bytes) -> None:
    rest = memoryview(message)
    while rest:
        rest = rest[os.write(ANSWER, rest) :]


def main(make: Callable[[], _quickjs.Context] = template) -> None:
    """Entered by process.py, which passes the import path of the daemon."""
    with contextlib.suppress(OSError):  # systemd may forbid it
        os.nice(NICE)
    time.tzset()  # reads its file now, if TZ names one: a page's process cannot
    engine = Engine(make())
    try:
        engine.serve()
    except BrokenPipeError:
        pass  # the daemon has ended
    except Exception as error:  # a traceback would need the files of the source
        os.write(2, f"{type(error).__name__}: {error}".encode())
