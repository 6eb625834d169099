"""tracepool is killed, starved and frozen under load, and keeps its promises: the short form of `tests.faults`.

The long form has as many rounds as one wishes and leaves PostgreSQL away for 30 s: `python -m tests.faults --rounds N`.
Times are not what is proven here: the machine may be slow, so their bounds are wide.
"""

import pytest

from tests.faults.disks import tmpfs_refused
from tests.faults.run import FAULTS, run
from tests.faults.stage import Knobs

SEED = 1
KNOBS = Knobs(outage_s=8.0, serving_within_s=10.0, late_s=2.0)


@pytest.mark.parametrize("name", FAULTS)
async def test_every_promise_holds_through(name: str) -> None:
    fault = FAULTS[name]
    if fault.on_tmpfs and (why := tmpfs_refused()):
        pytest.skip(why)
    outcome = await run(fault, fault.rounds, SEED, KNOBS, print)
    assert outcome.breaches == [], f"the evidence is in {outcome.evidence}"
    assert outcome.clicks["resolved"] > 0
