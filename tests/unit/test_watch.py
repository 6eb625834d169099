"""When another node is lost: by the observer's own clock, whatever PostgreSQL's clock says."""

from dataclasses import replace
from uuid import uuid4

from daemon.nodes.membership import STEADY_S, Sighting, Watch

PEER = Sighting(uuid4(), "peer", beat=1, epoch=1, state="active", lasts_s=100.0, free_in_s=100.0)


def lost_at(watch: Watch, peer: Sighting, from_s: int, to_s: int) -> list[int]:
    """The seconds at which `peer` is lost, with a renewal in each second."""
    return [at_s for at_s in range(from_s, to_s) if watch.lost([peer], at_s)]


def test_a_silent_node_is_lost_when_its_trust_and_its_quiet_have_passed() -> None:
    watch = Watch()
    assert lost_at(watch, PEER, 0, 110)[0] == 100


def test_a_node_that_renews_is_not_lost() -> None:
    watch = Watch()
    assert not any(watch.lost([replace(PEER, beat=at_s)], at_s) for at_s in range(300))


def test_a_renewal_before_a_jump_of_the_databases_clock_counts_in_full() -> None:
    watch, late = Watch(), replace(PEER, beat=2, free_in_s=-3500.0)
    assert not lost_at(watch, PEER, 0, 50)
    assert lost_at(watch, late, 50, 200)[0] == 150


def test_a_node_that_was_found_by_a_clock_that_is_late_is_lost_in_time() -> None:
    assert lost_at(Watch(), replace(PEER, free_in_s=3700.0), 0, 200)[0] == 100


def test_a_jump_of_the_databases_clock_loses_nobody_and_delays_nothing() -> None:
    for jump_s in (-3600, 3600):
        watch = Watch()
        assert not lost_at(watch, PEER, 0, 50)
        assert lost_at(watch, replace(PEER, free_in_s=50.0 - jump_s), 50, 110)[0] == 100


def test_a_node_that_starts_sees_whether_the_others_still_renew() -> None:
    watch, late = Watch(), replace(PEER, free_in_s=-3000.0)
    assert lost_at(watch, late, 0, 20)[0] == STEADY_S


def test_after_an_outage_the_others_can_renew_first() -> None:
    watch = Watch()
    assert not lost_at(watch, PEER, 0, 50)
    assert lost_at(watch, PEER, 200, 220)[0] == 200 + STEADY_S


def test_a_removed_node_is_lost_after_its_quiet() -> None:
    watch = Watch()
    assert not lost_at(watch, PEER, 0, 20)
    assert lost_at(watch, replace(PEER, state="removed", epoch=2, lasts_s=30.0, free_in_s=30.0), 20, 60)[0] == 50


def test_a_lost_node_is_not_lost_again() -> None:
    watch = Watch()
    assert not lost_at(watch, replace(PEER, state="lost", free_in_s=-1.0), 0, 60)
