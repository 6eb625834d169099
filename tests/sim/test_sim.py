"""The short form of `python -m tests.sim`: a world for each fault, and mutants of the protocol that it must notice."""

from functools import cache

import pytest

from tests.sim.__main__ import main
from tests.sim.faults import SCRIPTS
from tests.sim.mutants import MUTANTS
from tests.sim.scenes import Result, kind_of, run

# For each mutant a fault that shows it, and a seed that does; others are tried after it.
SHOWN_BY = {
    "free_without_quiet": ("cut_off", 8),
    "lost_by_database_clock": ("clocks_jump", 20),
    "give_leased": ("load_turns", 0),
    "stale_adopt": ("operators_edit", 6),
    "unowned_states": ("stopped", 9),
    "endless_trust": ("cut_off", 12),
    "no_beat_check": ("restored", 3),
    "epoch_reused": ("restored", 2),
    "take_departed": ("operators_edit", 0),
    "confirm_at_once": ("operators_edit", 1),
}
TRIED_MAX = 30


@cache
def shown(mutant: str) -> Result | None:
    """The first world with a breach."""
    fault, first = SHOWN_BY[mutant]
    results = (run(seed, "small", fault, mutant) for seed in (first, *range(TRIED_MAX)))
    return next((result for result in results if result.breaches), None)


def breaches_of(result: Result) -> list[str]:
    return [f"{breach.kind} at {breach.at_s:.3f}: {breach.what}; {result.command}" for breach in result.breaches]


@pytest.mark.parametrize("fault", SCRIPTS)
def test_the_invariants_hold_under_each_fault(fault: str) -> None:
    assert breaches_of(run(2, "small", fault)) == []


# 20, 37: an epoch of a restored database was used a second time. 3138: a node read a restored database that had lost
# its claim, and leased an IP that a former gift, applied again, had given to it.
@pytest.mark.parametrize("seed", [20, 37, 3138])
def test_the_invariants_hold_under_two_faults(seed: int) -> None:
    assert breaches_of(run(seed, "small")) == []


def test_a_seed_has_one_history() -> None:
    first, again = run(4, "small"), run(4, "small")
    assert (first.events, first.attempts, first.moves) == (again.events, again.attempts, again.moves)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checker_notices_a_fault_of_the_protocol(mutant: str) -> None:
    assert shown(mutant) is not None


def test_the_seeds_are_of_all_kinds() -> None:
    assert {kind_of(seed) for seed in range(500)} == {"small", "turned", "flapping", "large"}


def test_a_breach_is_shown_with_the_command_that_reproduces_it(capsys: pytest.CaptureFixture[str]) -> None:
    result = shown("take_departed")
    assert result is not None
    assert main(result.command.split()[3:]) == 1
    printed = capsys.readouterr().out
    assert "BREACH" in printed
    assert result.command in printed
