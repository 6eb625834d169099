"""The engine's process: runs pages, each in a process of its own, by requests of the daemon.

Each request and each answer is a frame: its length in four bytes, then the record in MessagePack.
"""

import gc
import os
import sys
from importlib.resources import files

import _quickjs
import msgspec

from daemon.trace.engine.frames import LENGTH, read_frame
from daemon.trace.engine.host import host_functions
from daemon.trace.engine.records import PageOutcome, PageRequest

MEMORY_BYTES_MAX = 32 << 20
STACK_BYTES_MAX = 1 << 20


def template() -> _quickjs.Context:
    """A context that has evaluated page.js. A page's process has a copy of it."""
    context = _quickjs.Context()
    context.set_memory_limit(MEMORY_BYTES_MAX)
    context.set_max_stack_size(STACK_BYTES_MAX)
    for name, function in host_functions().items():
        context.add_callable(name, function)
    context.eval(files("daemon.trace.engine").joinpath("page.js").read_text())
    return context


def outcome_of(context: _quickjs.Context, request: bytes) -> bytes:
    page = msgspec.msgpack.decode(request, type=PageRequest)
    try:
        text = context.get("__run")(msgspec.json.encode(page).decode())
        outcome = msgspec.json.decode(text, type=PageOutcome)
    except (_quickjs.JSException, msgspec.MsgspecError, TypeError) as error:
        outcome = PageOutcome("unresolved", why=f"the engine failed: {error}")
    return msgspec.msgpack.encode(outcome)


def main() -> None:
    context = template()
    gc.freeze()
    while (request := read_frame(0)) is not None:
        ours, pages = os.pipe()
        pid = os.fork()
        if not pid:
            answer = outcome_of(context, request)
            os.write(pages, LENGTH.pack(len(answer)) + answer)
            os._exit(0)
        os.close(pages)
        answer = read_frame(ours) or msgspec.msgpack.encode(PageOutcome("unresolved", why="the engine crashed"))
        os.close(ours)
        os.waitpid(pid, 0)
        sys.stdout.buffer.write(LENGTH.pack(len(answer)) + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
