"""Attempts of the last minutes by country and provider, and IPs that fail by provider."""

from daemon.maintenance.attempts import ATTEMPTS_MAX, WINDOW_S, AttemptTally, error_in
from daemon.nodes.cluster import cluster_of, counted
from daemon.nodes.figures import DECODER, ENCODER, LISTED_MAX, AttemptFigures, CountryFigures, NodeFigures
from daemon.nodes.peers import Peers
from daemon.pool.failing import Failing
from daemon.pool.states import Status
from tests.fakes.ips import an_ip
from tests.fakes.reports import ME, a_node

REFUSES, RESETS = "the proxy's port refuses connections", "the proxy broke the connection during CONNECT"


def test_errors_of_different_hops_and_hosts_are_one_error() -> None:
    assert error_in(f"hop 2 (ads.example): {REFUSES}") == error_in(f"hop 1 (shop.example:81): {REFUSES}") == REFUSES
    assert error_in("no hop: x") == "no hop: x"


def test_failures_are_counted_with_the_most_common_error() -> None:
    tally = AttemptTally()
    for message in (REFUSES, f"hop 1 (a.example): {REFUSES}", RESETS, None):
        tally.add(1.0, "us", "luna", message)
    tally.add(1.0, "de", "soax", None)
    assert tally.figures(2.0) == (AttemptFigures("us", "luna", 4, 3, REFUSES, 2),)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    tally = AttemptTally()
    tally.add(0.0, "us", "luna", REFUSES)
    tally.add(10.0, "us", "luna", RESETS)
    assert tally.figures(WINDOW_S + 1) == (AttemptFigures("us", "luna", 1, 1, RESETS, 1),)
    assert tally.figures(WINDOW_S + 11) == ()
    for _ in range(ATTEMPTS_MAX + 5):
        tally.add(200.0, "us", "luna", REFUSES)
    assert tally.figures(200.0)[0].attempts == ATTEMPTS_MAX


def test_the_places_with_the_most_failures_are_kept() -> None:
    tally = AttemptTally()
    for number in range(30):
        for _ in range(number + 1):
            tally.add(0.0, "us", f"p{number}", REFUSES)
    found = tally.figures(1.0)
    assert len(found) == LISTED_MAX
    assert found[0].provider == "p29"


def test_the_attempts_and_the_failing_ips_of_all_nodes_are_added_up() -> None:
    here = NodeFigures(
        {"us": CountryFigures(available=3, failed=1, out={"luna": (1, 2)})},
        attempts=(AttemptFigures("us", "luna", 10, 5, RESETS, 5),),
    )
    there = NodeFigures(
        {"us": CountryFigures(available=9, out={"luna": (0, 4), "soax": (0, 1)})},
        attempts=(AttemptFigures("us", "luna", 20, 20, REFUSES, 20), AttemptFigures("de", "luna", 1, 1, RESETS, 1)),
    )
    other = a_node(ME.__class__(int=2), DECODER.decode(ENCODER.encode(there)))
    found = cluster_of(counted(Peers(ME, 0.0, {other.node_id: other}), a_node(ME, here), 1.0))
    assert found.countries["us"].out == {"luna": (1, 6), "soax": (0, 1)}
    assert set(found.attempts) == {
        AttemptFigures("us", "luna", 30, 25, REFUSES, 20),
        AttemptFigures("de", "luna", 1, 1, RESETS, 1),
    }


def test_an_ip_fails_from_its_first_failure_until_it_works_or_goes() -> None:
    failing, ip, other = Failing(), an_ip("a"), an_ip("b")
    provider = ip.provider
    for one in (ip, other):
        failing.note(one)
    assert failing.by_provider == {}
    ip.consecutive_failures = other.consecutive_failures = 1
    for one in (ip, other, ip):
        failing.note(one)
    assert failing.by_provider == {provider: (0, 2)}
    ip.is_healthy, ip.status = False, Status.FAILED
    failing.note(ip)
    assert failing.by_provider == {provider: (1, 1)}
    other.provider = "soax"
    failing.note(other)
    assert failing.by_provider == {provider: (1, 0), "soax": (0, 1)}
    other.status = Status.GONE
    failing.note(other)
    ip.is_healthy, ip.status, ip.consecutive_failures = True, Status.AVAILABLE, 0
    failing.note(ip)
    assert failing.by_provider == {}
