"""The faults notice a daemon that breaks a promise. `python -m tests.faults --mutants` tries all mutants in all faults.

Here each mutant is tried where it is hardest to notice: where little happens, or much else goes wrong.
"""

from dataclasses import replace

import pytest
import trio

from tests.faults.mutants import MUTANTS
from tests.faults.outcome import Outcome
from tests.faults.run import FAULTS, mutants_of, run_all
from tests.faults.stage import Knobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]  # the first test waits for all mutants

SEED = 1
LANES = 4
KNOBS = Knobs(outage_s=4.0)
TRIED = [
    ("rest-0.9", "sessions-ended"),
    ("rest-0.5", "notifications"),
    ("lease-without-lock", "postgres-frozen"),
    ("rest-forgotten", "sigterm"),
    ("hit-lost", "disk-refuses"),
    ("hit-doubled", "sessions-ended"),
    ("trace-lost", "sighup"),
    ("freed-without-quiet", "node-lost"),
    ("trust-without-end", "node-cut-off"),
]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[tuple[str | None, str], Outcome]:
    """Of the mutants that this run of pytest selected."""
    ids = {item.name for item in request.session.items}
    tried = [(mutant, fault) for mutant, fault in TRIED if any(name.endswith(f"[{mutant}-{fault}]") for name in ids)]
    found: dict[tuple[str | None, str], Outcome] = {}

    def ended(outcome: Outcome) -> None:
        found[outcome.mutant, outcome.fault] = outcome

    jobs = [(FAULTS[fault], 1, replace(KNOBS, mutant=mutant)) for mutant, fault in tried]
    trio.run(run_all, jobs, SEED, LANES, print, ended)
    return found


@pytest.mark.parametrize(("mutant", "fault"), TRIED)
def test_a_mutant_is_noticed(mutant: str, fault: str, outcomes: dict[tuple[str | None, str], Outcome]) -> None:
    outcome = outcomes[mutant, fault]
    print(outcome.mutant_line(MUTANTS[mutant].noticed_as))
    assert outcome.noticed(MUTANTS[mutant].noticed_as)


def test_each_mutant_is_tried_in_a_fault_that_must_notice_it() -> None:
    assert {mutant for mutant, _ in TRIED} == set(MUTANTS)
    assert all(MUTANTS[mutant] in mutants_of(FAULTS[fault]) for mutant, fault in TRIED)
