"""Milliseconds per KiB that each parser of untrusted bytes takes for its worst input; the event loop waits meanwhile.

The inputs are those of tests/fakes/hostile_inputs.py, as large as the daemon reads by default. An encoded input, which
is smaller, counts with its decoded size, because the time that one page holds the loop matters.
"""

import time
from collections.abc import Callable

from tests.bench.figures import Figure, shown
from tests.bench.scene import Scene
from tests.fakes.hostile_inputs import PARSERS, Make, Parser

TARGET_MS = 1.0
TIMES = 5


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    figures = []
    for parser in PARSERS:
        say(parser.name)
        took_ms, shape = max((_took_ms(parser, make, quick), name) for name, make in parser.shapes.items())
        figures.append(
            Figure(
                f"{parser.name}, for each KiB",
                took_ms / (parser.bytes_max / 1024),
                "ms",
                TARGET_MS,
                note=f"{shape}: {shown(took_ms, 'ms')} for {parser.bytes_max:,} bytes",
            )
        )
    return figures


def _took_ms(parser: Parser, make: Make, quick: bool) -> float:
    """The shortest CPU time of several tries."""
    data = make(parser.bytes_max)
    took_s = []
    for _ in range(1 if quick else TIMES):
        began_s = time.thread_time()
        parser.read(data)
        took_s.append(time.thread_time() - began_s)
    return min(took_s) * 1000
