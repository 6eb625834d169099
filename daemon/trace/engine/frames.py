"""The frames between the daemon and the engine's processes: a length of four bytes, then a record in MessagePack."""

import os
import struct

LENGTH = struct.Struct("<I")


def read_exactly(descriptor: int, count: int) -> bytes | None:
    """None at the end of the stream."""
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 16))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_frame(descriptor: int) -> bytes | None:
    head = read_exactly(descriptor, LENGTH.size)
    return None if head is None else read_exactly(descriptor, LENGTH.unpack(head)[0])
