"""A number of seconds in a file that another process changes while this one reads it: by how much a clock is wrong.

The file has one double in the machine's byte order. It is mapped, so that a reading costs no system call.
"""

import mmap
import struct
from pathlib import Path

DOUBLE = struct.Struct("d")


class Shift:
    """Makes the file, with 0, if it is missing."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(DOUBLE.pack(0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), DOUBLE.size)

    def read_s(self) -> float:
        return float(DOUBLE.unpack_from(self._map)[0])

    def set(self, seconds: float) -> None:
        DOUBLE.pack_into(self._map, 0, seconds)
