"""When advice is logged: at once, once, by one of several nodes, and again if it gets graver."""

from typing import Any, cast
from uuid import UUID

import pytest
import structlog

from daemon.clock import Moment
from daemon.host.clocks import read_clocks
from daemon.maintenance.advisor import HANDOVER_S, OVER_S, Advisor
from daemon.maintenance.attempts import AttemptTally
from daemon.nodes.peers import Peer
from daemon.offers.model import Offers
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from tests.fakes.ips import an_ip
from tests.fakes.pools import PlayedPools
from tests.fakes.reports import a_node, report_of

SMALLER, LARGER = UUID(int=0), UUID(int=2)  # than the id of this node


class Told:
    """An advisor without a database, its clock, and what it logs."""

    def __init__(self, *others: Peer) -> None:
        self.passed_s, self.began = 0.0, read_clocks()
        self.attempts = AttemptTally()
        pools = PlayedPools()
        pools.directory.open("us", [an_ip("a"), an_ip("b")])
        live = LiveSettings(Settings())
        report = report_of(live, pools.directory, *others)
        report.attempts = lambda: self.attempts.figures(self.passed_s)
        self.advisor = Advisor(cast(Any, None), live, report, self.now, Offers())

    def now(self) -> Moment:
        return Moment(self.began.tick_s + self.passed_s, self.began.wall_s + self.passed_s)

    def fail(self, succeeded: int = 0) -> None:
        for number in range(6):
            self.attempts.add(self.passed_s, "us", "luna", None if number < succeeded else "it is dead")

    def after(self, seconds: float) -> list[str]:
        """The events that are logged after this time."""
        self.passed_s += seconds
        with structlog.testing.capture_logs() as logs:
            self.advisor.note_changes()
        return [line["event"] for line in logs]


async def test_new_advice_is_logged_at_once_and_once() -> None:
    told = Told()
    assert told.after(0) == []
    told.fail()
    assert told.after(2) == ["advice"]
    assert told.after(2) == told.after(2) == []


async def test_advice_is_over_when_it_was_not_given_for_a_while() -> None:
    told = Told()
    told.fail()
    assert told.after(2) == ["advice"]
    told.attempts = AttemptTally()
    assert told.after(2) == []
    told.fail()
    assert told.after(2) == [], "it came back soon: the log does not repeat it"
    told.attempts = AttemptTally()
    assert told.after(2) == []
    assert told.after(OVER_S) == ["advice_over"]
    told.fail()
    assert told.after(2) == ["advice"]


async def test_graver_advice_is_logged_again() -> None:
    told = Told()
    told.fail(succeeded=2)
    assert told.after(2) == ["advice"]
    told.attempts = AttemptTally()
    told.fail()
    assert told.after(2) == ["advice"]
    told.attempts = AttemptTally()
    told.fail(succeeded=2)
    assert told.after(2) == []


@pytest.mark.parametrize(
    ("other", "logs"),
    [
        (a_node(LARGER), True),
        (a_node(SMALLER), False),
        (a_node(SMALLER, seen_s_ago=60.0), True),
        (a_node(SMALLER, state="left"), True),
    ],
    ids=["first", "second", "the first is not seen", "the first has left"],
)
async def test_of_several_nodes_the_first_one_logs(other: Peer, logs: bool) -> None:
    told = Told(other)
    told.fail()
    assert told.after(2) == (["advice"] if logs else [])


async def test_a_node_that_logs_for_all_from_now_on_repeats_no_old_advice() -> None:
    told = Told(a_node(SMALLER))
    told.fail()
    told.after(2)
    told.after(HANDOVER_S + 1)
    alone = Told()
    told.advisor.report = alone.advisor.report
    alone.attempts = told.attempts
    assert told.after(1) == []
    fresh = Told(a_node(SMALLER))
    fresh.fail()
    fresh.after(2)
    fresh.advisor.report = alone.advisor.report
    assert fresh.after(1) == ["advice"], "the first node may have ended before it logged this"
