"""The ids of clicks and traces.

They are UUIDs of version 7 (RFC 9562, 5.7): the milliseconds since 1970, then 74 random bits. So the ids of a time lie
together in the indexes of `hits` and `active_trace_requests`. With random ids each row would change another page of an
index of 14 GB, and PostgreSQL would write three times the WAL (`python -m tests.bench growth`).
"""

import os
from uuid import UUID

_VERSION, _VARIANT = 7 << 76, 2 << 62
_RANDOM_BITS = (1 << 76) - 1 ^ 3 << 62  # all of the last 76 bits but those of the variant
_MS_MAX = (1 << 48) - 1


def new_request_id(wall_s: float) -> UUID:
    """`wall_s`: the wall clock now."""
    ms = min(max(0, int(wall_s * 1000)), _MS_MAX)
    return UUID(int=ms << 80 | _VERSION | _VARIANT | int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS)
