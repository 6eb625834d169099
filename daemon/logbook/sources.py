"""The sources of a log: a file, which may be rotated while it is followed, standard input, or journald.

Each source is an iterator of pieces of bytes; an empty piece means that no more bytes are there for now.
"""

import io
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from daemon.errors import BadInput, TheirFault

PIECE_BYTES = 256 * 1024
POLL_S = 0.2
TAIL_LINES = 10
UNITS = ("tracepool.service", "tracepool@*.service")


def standard_input() -> Iterator[bytes]:
    """Its bytes as they arrive, until the end."""
    buffer = cast(io.BufferedReader, sys.stdin.buffer)
    while piece := buffer.read1(PIECE_BYTES):
        yield piece


def file(path: Path, *, follow: bool) -> Iterator[bytes]:
    """The file from its beginning; with `follow` without end. A file that replaces it is read from the beginning too.

    Raises BadInput if the file cannot be read.
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
            while (replacement := _replacement(path, opened.fileno())) is None:
                yield b""
                time.sleep(POLL_S)
                if os.fstat(opened.fileno()).st_size < os.lseek(opened.fileno(), 0, os.SEEK_CUR):
                    yield b"\n"
                    os.lseek(opened.fileno(), 0, os.SEEK_SET)  # the file was truncated
                yield from _read(opened.fileno())
            yield from _read(opened.fileno())  # written before the file was replaced
        yield b"\n"  # ends an unfinished line
        opened = replacement


def _replacement(path: Path, descriptor: int) -> io.FileIO | None:
    """Another file that has this name now; None while there is none."""
    with suppress(OSError):  # no file has the name just now
        if not os.path.samestat(path.stat(), os.fstat(descriptor)):
            return path.open("rb", buffering=0)
    return None


def _read(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, PIECE_BYTES):
        yield piece


def journald(*, follow: bool, since_s: float | None, pattern: str | None = None) -> Iterator[bytes]:
    """The log of tracepool's units, or its lines that match `pattern`. Raises TheirFault if journalctl fails."""
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
            complaint = reader.stderr.read(PIECE_BYTES).decode("utf-8", "replace").strip()
            if reader.wait() != 0 and complaint:
                raise TheirFault(f"journalctl: {complaint}")
        finally:
            reader.terminate()
