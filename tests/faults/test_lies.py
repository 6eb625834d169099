"""A daemon that breaks a promise is noticed: here some lies at some faults, with `python -m tests.faults --lies` all.

Each lie is told where it is hardest to notice: where little happens, or much else goes wrong.
"""

from dataclasses import replace

import pytest
import trio

from tests.faults.lies import LIES
from tests.faults.outcome import Outcome
from tests.faults.run import FAULTS, lies_of, run_all
from tests.faults.stage import Knobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]  # the first test waits for all lies

SEED = 1
LANES = 3
KNOBS = Knobs(outage_s=4.0, serving_within_s=10.0, late_s=2.0)
TOLD = [
    ("rest-0.9", "sessions-ended"),
    ("rest-0.9", "sigterm"),
    ("rest-0.5", "notifications"),
    ("lease-without-lock", "sessions-ended"),
    ("lease-without-lock", "postgres-frozen"),
    ("rest-forgotten", "daemon-killed"),
    ("rest-forgotten", "sigterm"),
    ("hit-lost", "disk-refuses"),
    ("hit-lost", "sighup"),
    ("hit-doubled", "sessions-ended"),
    ("trace-lost", "disk-refuses"),
    ("trace-lost", "sighup"),
]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[tuple[str | None, str], Outcome]:
    """Of the lies that this run of pytest selected."""
    ids = {item.name for item in request.session.items}
    told = [(lie, fault) for lie, fault in TOLD if any(name.endswith(f"[{lie}-{fault}]") for name in ids)]
    found: dict[tuple[str | None, str], Outcome] = {}

    def ended(outcome: Outcome) -> None:
        found[outcome.lie, outcome.fault] = outcome

    jobs = [(FAULTS[fault], 1, replace(KNOBS, lie=lie)) for lie, fault in told]
    trio.run(run_all, jobs, SEED, LANES, print, ended)
    return found


@pytest.mark.parametrize(("lie", "fault"), TOLD)
def test_a_lie_is_noticed(lie: str, fault: str, outcomes: dict[tuple[str | None, str], Outcome]) -> None:
    outcome = outcomes[lie, fault]
    print(outcome.lie_line(LIES[lie].seen_as))
    assert outcome.noticed(LIES[lie].seen_as)


def test_each_lie_is_told_at_a_fault_that_must_notice_it() -> None:
    assert {lie for lie, _ in TOLD} == set(LIES)
    assert all(LIES[lie] in lies_of(FAULTS[fault]) for lie, fault in TOLD)
