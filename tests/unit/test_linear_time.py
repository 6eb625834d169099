"""No untrusted input costs a parser more than linear time.

Times are compared with the time of a loop over as many bytes in the same run, so that the machine's speed does not
matter. They are CPU times, the shortest of several tries, without garbage collections, whose time grows with the heap
of the whole test run. A machine under load shares its caches and clock speed, so a parser counts as slow only if it is
slow in three rounds with pauses between them; a parser that is not linear is slow in all three. The figures themselves:
`python -m tests.bench parsers`.
"""

import gc
import time
from collections.abc import Callable

import pytest

from tests.fakes.hostile_inputs import COMPOSED, PARSERS, Make, Parser, composed

LOOPS_MAX = 250  # of an empty loop; 1 ms per KiB are about 170
GROWTH_MAX, GROWTH_LOOPS = 3, 20  # for twice the input; differences below so many loops are noise
TRIES = 5
ROUNDS, PAUSE_S = 3, 0.5
SEEDS = range(40)

SHAPES = [
    pytest.param(parser, make, id=f"{parser.name}: {name}")
    for parser in PARSERS
    for name, make in parser.shapes.items()
]


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread; other threads and programs do not count."""
    gc.disable()
    try:
        began_s = time.thread_time()
        work()
        return time.thread_time() - began_s
    finally:
        gc.enable()


def loop(size: int) -> None:
    for _ in bytes(size):
        continue


def too_slow(parser: Parser, make: Make) -> str | None:
    """What is too slow in each round; None if one round is fast enough."""
    for number in range(ROUNDS):
        if number:
            time.sleep(PAUSE_S)
        if (slow := too_slow_once(parser, make)) is None:
            return None
    return slow


def too_slow_once(parser: Parser, make: Make) -> str | None:
    """What is too slow in the shortest of several tries."""
    whole, half = make(parser.bytes_max), make(parser.bytes_max // 2)
    whole_s = half_s = loop_s = float("inf")
    for _ in range(TRIES):
        loop_s = min(loop_s, seconds(lambda: loop(parser.bytes_max)))
        whole_s = min(whole_s, seconds(lambda: parser.read(whole)))
        half_s = min(half_s, seconds(lambda: parser.read(half)))
        slow = None
        if whole_s > LOOPS_MAX * loop_s:
            slow = f"{len(whole):,} bytes take as long as {whole_s / loop_s:,.0f} loops"
        elif whole_s > GROWTH_MAX * half_s + GROWTH_LOOPS * loop_s:
            slow = f"twice the input takes {whole_s / half_s:.1f} times as long"
        if slow is None or whole_s > 100 * LOOPS_MAX * loop_s:
            return slow
    return slow


@pytest.mark.parametrize(("parser", "make"), SHAPES)
def test_a_parser_reads_its_worst_input_in_linear_time(parser: Parser, make: Make) -> None:
    assert too_slow(parser, make) is None


@pytest.mark.parametrize("parser", COMPOSED, ids=lambda parser: parser.name)
def test_a_parser_reads_input_by_chance_in_linear_time(parser: Parser) -> None:
    slow = {seed: why for seed in SEEDS if (why := too_slow(parser, composed(parser, seed))) is not None}
    assert not slow
