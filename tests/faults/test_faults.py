"""tracepool is killed, starved and frozen under load, and keeps its promises: the short form of `tests.faults`.

The long form has as many rounds as one wishes and leaves PostgreSQL away for 32 s, not 8: `python -m tests.faults
--rounds N`. Times are not what is proven here: the machine may be slow, so their bounds are wide.
"""

import pytest
import trio

from tests.faults.disks import tmpfs_refused
from tests.faults.outcome import Outcome
from tests.faults.run import FAULTS, run_all
from tests.faults.stage import Knobs
from tests.support.needs import need, program_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]  # the first test waits for all faults

SEED = 1
KNOBS = Knobs(outage_s=8.0, serving_within_s=20.0, slow_s=10.0)
LANES = 3
"""Scenes beside each other: most of a fault's time is waiting."""
LONG_ONES_FIRST = (
    "node-paused",
    "node-lost",
    "node-killed-or-stopped",
    "sigterm",
    "daemon-killed",
    "foreign-schema",
    "postgres-killed",
    "silent-link",
    "both-killed",
)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Of the faults that this run of pytest selected."""
    wanted = {name for name in FAULTS for item in request.session.items if item.name.endswith(f"[{name}]")}
    names = sorted(wanted, key=lambda name: (name not in LONG_ONES_FIRST, list(FAULTS).index(name)))
    if tmpfs_refused():
        names = [name for name in names if not FAULTS[name].on_tmpfs]
    names = [name for name in names if all(map(program_path, FAULTS[name].needs))]
    found: dict[str, Outcome] = {}

    def ended(outcome: Outcome) -> None:
        found[outcome.fault] = outcome

    trio.run(run_all, [(FAULTS[name], FAULTS[name].rounds, KNOBS) for name in names], SEED, LANES, print, ended)
    return found


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.root) if fault.on_tmpfs else name
        for name, fault in FAULTS.items()
        if not fault.long_form_only
    ],
)
def test_every_promise_holds_through(name: str, outcomes: dict[str, Outcome]) -> None:
    if FAULTS[name].on_tmpfs and (why := tmpfs_refused()):
        pytest.skip(why)
    for package in FAULTS[name].needs:
        need(package)
    outcome = outcomes[name]
    print("\n".join([outcome.line(), *outcome.details()]))
    assert outcome.breaches == [], f"the evidence is in {outcome.evidence}"
    assert outcome.clicks["resolved"] > 0
