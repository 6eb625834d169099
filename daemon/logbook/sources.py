"""Where the log comes from: a file, which may be rotated while it is followed, standard input, or journald.

Each source is an iterator of pieces of bytes; an empty piece says that there is nothing more just now.
"""

import io
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from daemon.errors import BadInput, TheirFault

PIECE_BYTES = 256 * 1024
LOOK_EVERY_S = 0.2
TAIL_LINES = 10
UNITS = ("tracepool.service", "tracepool@*.service")


def standard_input() -> Iterator[bytes]:
    """As it comes, until its end."""
    buffer = cast(io.BufferedReader, sys.stdin.buffer)
    while piece := buffer.read1(PIECE_BYTES):
        yield piece


def file(path: Path, *, follow: bool) -> Iterator[bytes]:
    """From its beginning; with `follow` without an end. What takes its place is read from its beginning as well.

    Raises BadInput where it cannot be read.
    """
    try:
        opened = path.open("rb", buffering=0)
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror}") from None
    while True:
        with opened:
            yield from _read(opened.fileno())
            if not follow or not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return
            while (next_one := _replacement(path, opened.fileno())) is None:
                yield b""
                time.sleep(LOOK_EVERY_S)
                if os.fstat(opened.fileno()).st_size < os.lseek(opened.fileno(), 0, os.SEEK_CUR):
                    yield b"\n"
                    os.lseek(opened.fileno(), 0, os.SEEK_SET)  # it was truncated
                yield from _read(opened.fileno())
            yield from _read(opened.fileno())  # what was written to it before it went
        yield b"\n"  # a line that was never ended ends here
        opened = next_one


def _replacement(path: Path, descriptor: int) -> io.FileIO | None:
    """Another file that is there by that name now. None at all is not another one: it will come."""
    ours = os.fstat(descriptor)
    try:
        there = path.stat()
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            return path.open("rb", buffering=0)
    except OSError:
        return None
    return None


def _read(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE_BYTES):
        yield piece


def journald(*, follow: bool, since_s: float | None, pattern: str | None = None) -> Iterator[bytes]:
    """What tracepool's units logged, or what of it holds `pattern`. Raises TheirFault where journalctl cannot say."""
    command = ["journalctl", "--output=cat", "--all", "--no-pager", "--quiet"]
    command += [f"--unit={unit}" for unit in UNITS]
    if since_s is not None:
        command.append(f"--since=@{since_s:.0f}")
    if pattern is not None:
        command.append(f"--grep={pattern}")
    if follow:
        command += ["--follow", "--no-tail" if since_s is not None else f"--lines={TAIL_LINES}"]
    try:
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - no shell
    except FileNotFoundError:
        raise TheirFault("journalctl is not on this machine: name the log's file, or - for standard input") from None
    with reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        try:
            while piece := os.read(reader.stdout.fileno(), PIECE_BYTES):
                yield piece
            said = reader.stderr.read(PIECE_BYTES).decode("utf-8", "replace").strip()
            if reader.wait() != 0 and said:
                raise TheirFault(f"journalctl: {said}")
        finally:
            reader.terminate()
