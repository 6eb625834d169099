"""The health of a provider: what makes it suspected or its credentials refused, and what ends that."""

import pytest

from daemon.maintenance.provider_figures import provider_figures, provider_statuses, refusals, suspects
from daemon.nodes.figures import ProviderFigures
from daemon.trace.provider_health import SUSPECTED_S, Health, ProviderHealth, ProviderRecord, ProviderStatus
from daemon.trace.walk.verdicts import Verdict
from tests.fakes.ips import at


class Said:
    def __init__(self) -> None:
        self.health = ProviderHealth(self.hear)
        self.heard: list[tuple[str, Health]] = []

    def hear(self, provider: str, record: ProviderRecord) -> None:
        self.heard.append((provider, record.status.state))

    def figures(self) -> dict[str, ProviderFigures]:
        return provider_figures(self.health, at(100).tick_s)

    def state(self, provider: str = "luna") -> str:
        return str(self.figures()[provider].state)


def test_a_refused_login_is_reported_once_and_ends_with_the_first_success() -> None:
    said = Said()
    said.health.trace("luna", Verdict.OK, at(0))
    for second in (1, 2, 3):
        said.health.trace("luna", Verdict.CREDENTIALS, at(second))
    assert said.heard == [("luna", Health.CREDENTIALS_REFUSED)]
    assert provider_statuses(said.figures()) == {
        "luna": ProviderStatus(
            state=Health.CREDENTIALS_REFUSED,
            since="2023-11-14T22:13:21+00:00",
            traces=3,
            credentials_refused=3,
            ips_spared=0,
        )
    }
    assert refusals(said.figures()) == {"luna": 3}
    said.health.trace("luna", Verdict.OK, at(4))
    assert said.heard[1:] == [("luna", Health.OK)]
    assert refusals(said.figures()) == {"luna": 0}


@pytest.mark.parametrize("verdict", sorted(set(Verdict) - {Verdict.OK, Verdict.CREDENTIALS}))
def test_other_verdicts_do_not_change_the_login(verdict: Verdict) -> None:
    said = Said()
    said.health.trace("luna", verdict, at(0))
    assert (said.state(), refusals(said.figures()), said.heard) == ("ok", {}, [])
    said.health.trace("luna", Verdict.CREDENTIALS, at(1))
    said.health.trace("luna", verdict, at(2))
    assert said.state() == "credentials_refused"


def test_providers_are_independent() -> None:
    said = Said()
    said.health.trace("luna", Verdict.CREDENTIALS, at(0))
    said.health.trace("soax", Verdict.OK, at(1))
    assert (said.state("luna"), said.state("soax")) == ("credentials_refused", "ok")


def test_a_suspicion_lasts_while_ips_go_on_failing_despite_successes() -> None:
    said = Said()
    said.health.spared("luna", "us", at(0))
    said.health.spared("luna", "gb", at(100))
    said.health.trace("luna", Verdict.OK, at(99 + SUSPECTED_S))
    assert said.heard == [("luna", Health.SUSPECTED)]
    assert "IPs of gb" in suspects(said.figures())["luna"].why
    assert provider_statuses(said.figures())["luna"].ips_spared == 2
    said.health.trace("luna", Verdict.IP, at(100 + SUSPECTED_S))
    assert said.state() == "suspected"
    said.health.trace("luna", Verdict.OK, at(100 + SUSPECTED_S))
    assert (said.state(), suspects(said.figures())) == ("ok", {})


def test_refused_credentials_have_precedence_over_a_suspicion() -> None:
    said = Said()
    said.health.spared("luna", "us", at(0))
    said.health.trace("luna", Verdict.CREDENTIALS, at(1))
    said.health.spared("luna", "us", at(2))
    assert said.heard == [("luna", Health.SUSPECTED), ("luna", Health.CREDENTIALS_REFUSED)]
    assert suspects(said.figures()) == {}
