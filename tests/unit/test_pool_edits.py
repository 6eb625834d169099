"""How the pool takes over operators' edits: no edit breaks a lease or shortens a rest."""

from typing import Any
from uuid import uuid4

import pytest

from daemon.journal.entries import IpChanged
from daemon.pool.messages import Adopt, Decision, Lease, Message, Release, Remove
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.pool.states import Endpoint, Event, Ip, Rules, Status
from daemon.providers.proxies import Login
from tests.fakes.ips import a_request, an_ip, granted, row_of, say, state

RULES = Rules(lock_s=90, cooldown_s=60, failures_max=5)
RESET = {"status": Status.AVAILABLE, "is_healthy": True, "consecutive_failures": 0}
MARKED = {"status": Status.FAILED, "is_healthy": False}


class Country:
    """A pool and its clock."""

    def __init__(self, *ips: Ip, departed: dict[Endpoint, float] | None = None) -> None:
        self.pool = Pool("us", RULES, Rests(departed))
        self.pool.load(ips)

    def say(self, tick_s: float, *messages: Message) -> Decision:
        return say(self.pool, tick_s, *messages)

    def lease(self, tick_s: float) -> Lease | None:
        """None if no IP is available; then no request is left waiting."""
        request = a_request(deadline_s=tick_s + 1e-6)
        answer = granted(self.say(tick_s, request)).get(request.request_id)
        self.say(tick_s + 2e-6)
        return answer

    def becomes_available_at(self, tick_s: float) -> None:
        assert self.lease(tick_s - 0.001) is None
        assert self.lease(tick_s)

    def edit(self, tick_s: float, ip: Ip, **changes: Any) -> Decision:
        return self.say(tick_s, Adopt((row_of(ip, **changes),)))


def in_use(address: str = "192.0.2.1") -> tuple[Country, Ip, Lease]:
    """A country with one IP, leased at 0."""
    ip = an_ip(address)
    country = Country(ip)
    lease = country.lease(0)
    assert lease
    return country, ip, lease


def events(decision: Decision) -> list[tuple[str, str]]:
    return [(entry.event, entry.status) for entry in decision.entries if isinstance(entry, IpChanged)]


def test_a_new_row_joins_and_is_not_written_again() -> None:
    country = Country()
    assert country.say(0, Adopt((an_ip(),))).entries == []
    assert country.lease(1)


def test_a_row_that_is_adopted_twice_is_one_ip() -> None:
    ip = an_ip()
    country = Country(ip)
    assert country.say(0, Adopt((ip, row_of(ip)))).entries != []
    assert country.pool.counts().total == country.pool.counts().available == 1


def test_a_row_that_was_not_edited_since_changes_nothing() -> None:
    ip = an_ip(edit_no=5)
    country = Country(ip)
    country.lease(0)
    before = state(ip)
    for edit_no in (4, 5):
        decision = country.say(1, Adopt((row_of(ip, edit_no=edit_no, address="192.0.2.77", **MARKED),)))
        assert (decision.entries, state(ip)) == ([], before)


def test_an_edit_takes_over_where_it_is_and_answers_with_what_holds() -> None:
    ip = an_ip(total_uses=3)
    country = Country(ip)
    decision = country.edit(0, ip, address="192.0.2.77", port="7009", provider="sol", country="USA", total_uses=0)
    (entry,) = decision.entries
    assert isinstance(entry, IpChanged)
    assert (entry.event, entry.edit_no, entry.uses, ip.total_uses) == ("edited", 1, 0, 3)
    lease = country.lease(1)
    assert lease
    assert (lease.address, lease.port, lease.provider) == ("192.0.2.77", "7009", "sol")


@pytest.mark.parametrize("changes", [MARKED, {"status": Status.FAILED}, {"is_healthy": False}])
def test_each_way_to_mark_takes_it_out_of_use(changes: dict[str, Any]) -> None:
    ip = an_ip()
    country = Country(ip)
    assert events(country.edit(0, ip, **changes)) == [("marked_failed", "failed")]
    assert country.lease(1) is None


@pytest.mark.parametrize("changes", [RESET, {"is_healthy": True}, {"status": Status.AVAILABLE}])
def test_each_way_to_reset_makes_a_failed_one_available(changes: dict[str, Any]) -> None:
    ip = an_ip(status=Status.FAILED, is_healthy=False, consecutive_failures=5)
    country = Country(ip)
    assert events(country.edit(0, ip, **changes)) == [("reset", "available")]
    assert ip.consecutive_failures == 0
    assert country.lease(1)


def test_a_reset_serves_who_waits() -> None:
    ip = an_ip(status=Status.FAILED, is_healthy=False)
    country = Country(ip, an_ip("in use", status=Status.LOCKED, locked_until_s=90.0))
    request = a_request()
    country.say(0, request)
    assert list(granted(country.edit(5, ip, **RESET))) == [request.request_id]


def test_an_edit_of_a_failed_one_that_is_no_reset_leaves_it_failed() -> None:
    ip = an_ip(status=Status.FAILED, is_healthy=False)
    country = Country(ip)
    assert events(country.edit(0, ip, provider="sol")) == [("edited", "failed")]


def test_a_reset_of_a_healthy_one_clears_its_failures_only() -> None:
    ip = an_ip(consecutive_failures=4)
    country = Country(ip)
    assert country.lease(0)
    country.edit(1, ip, **RESET)
    assert (ip.status, ip.consecutive_failures, ip.lease_no) == (Status.LOCKED, 0, 1)


@pytest.mark.parametrize("changes", [RESET, MARKED, {"status": Status.COOLDOWN}, {"locked_until_s": None}])
def test_no_edit_breaks_a_lease(changes: dict[str, Any]) -> None:
    country, ip, lease = in_use()
    country.edit(1, ip, **changes)
    assert (ip.status, ip.lease_no, ip.locked_until_s, ip.locked_by) == (Status.LOCKED, 1, 90.0, lease.request_id)
    assert country.lease(2) is None
    assert country.say(3, Release(ip.id, lease.lease_no, Event.RELEASED_OK)).remarks == []


def test_one_that_is_marked_in_use_fails_when_its_lease_ends() -> None:
    country, ip, _ = in_use()
    country.edit(1, ip, **MARKED)
    assert events(country.say(5, Release(ip.id, 1, Event.RELEASED_OK))) == [("released_ok", "failed")]
    country.edit(10, ip, **RESET)
    country.becomes_available_at(65)


def test_one_that_is_marked_and_reset_in_use_goes_on() -> None:
    country, ip, _ = in_use()
    country.edit(1, ip, **MARKED)
    country.edit(2, ip, **RESET)
    assert events(country.say(5, Release(ip.id, 1, Event.RELEASED_OK))) == [("released_ok", "cooldown")]


@pytest.mark.parametrize("changes", [RESET, {"status": Status.AVAILABLE, "locked_until_s": None}])
def test_no_edit_cuts_a_rest_short(changes: dict[str, Any]) -> None:
    ip = an_ip(status=Status.COOLDOWN, locked_until_s=50.0)
    country = Country(ip)
    assert events(country.edit(1, ip, **changes)) == [("edited", "cooldown")]
    country.becomes_available_at(50)


def test_a_mark_and_a_reset_do_not_cut_a_rest_short() -> None:
    ip = an_ip(status=Status.COOLDOWN, locked_until_s=50.0)
    country = Country(ip)
    country.edit(1, ip, **MARKED)
    assert country.pool.next_due_s() is None
    assert events(country.edit(2, ip, **RESET)) == [("reset", "cooldown")]
    country.becomes_available_at(50)


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.COOLDOWN, Status.FAILED])
def test_a_deleted_row_that_is_not_in_use_leaves_at_once(status: Status) -> None:
    ip = an_ip(status=status, locked_until_s=50.0 if status is Status.COOLDOWN else None)
    country = Country(ip)
    assert country.say(1, Remove((ip.id, uuid4()))).entries == []  # there is no row to write to
    assert (country.pool.counts().total, country.pool.ips) == (0, {})
    assert country.lease(100) is None


def test_a_row_deleted_while_in_use_leaves_when_the_lease_ends() -> None:
    country, ip, lease = in_use()
    country.say(1, Remove((ip.id,)))
    country.say(1.5, Remove((ip.id,)))
    assert (country.pool.counts().locked, ip.locked_until_s, lease.locked_until_s) == (1, 90.0, 90.0)
    assert country.say(2, Release(ip.id, 1, Event.RELEASED_OK)).remarks == []
    assert (country.pool.ips, country.pool.next_due_s()) == ({}, None)


def test_a_row_deleted_while_in_use_leaves_when_the_lock_ends() -> None:
    country, ip, _ = in_use()
    country.say(1, Remove((ip.id,)))
    country.say(90)
    assert country.pool.ips == {}


def test_a_row_that_comes_back_under_its_id_while_in_use_stays() -> None:
    country, ip, _ = in_use()
    country.say(1, Remove((ip.id,)))
    country.edit(2, ip)
    country.say(3, Release(ip.id, 1, Event.RELEASED_OK))
    assert (ip.status, ip.locked_until_s) == (Status.COOLDOWN, 150.0)  # the rest of what left goes on


def put_back(*, moved: bool, **changes: Any) -> tuple[Country, Ip, Country]:
    """An endpoint leased at 0, deleted at 10 and inserted at 20 with a new id, in another country if `moved`."""
    country, ip, _ = in_use("192.0.2.5")
    country.say(10, Remove((ip.id,)))
    after = Country(departed=country.pool.rests.departed) if moved else country
    after.say(20, Adopt((an_ip("192.0.2.6"), an_ip("192.0.2.5", **changes))))
    lease = after.lease(20)
    assert lease
    assert lease.address == "192.0.2.6"
    return country, ip, after


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": Status.COOLDOWN, "locked_until_s": 21.0},  # its row was behind
        {"status": Status.LOCKED, "locked_until_s": 22.0},
    ],
)
def test_an_endpoint_deleted_in_use_and_put_back_rests_first(moved: bool, changes: dict[str, Any]) -> None:
    country, ip, after = put_back(moved=moved, **changes)
    country.say(30, Release(ip.id, 1, Event.RELEASED_OK))
    assert after.lease(149.999) is None  # until its lock would have ended, and the rest after it
    lease = after.lease(150)
    assert lease
    assert lease.address == "192.0.2.5"


def test_one_put_back_as_failed_and_then_reset_rests_first() -> None:
    _, _, after = put_back(moved=False, **MARKED)
    (failed,) = (ip for ip in after.pool.ips.values() if ip.status is Status.FAILED)
    after.edit(30, failed, **RESET)
    after.becomes_available_at(150)


def test_one_put_back_says_in_its_row_that_it_rests() -> None:
    country, ip, _ = in_use()
    country.say(5, Release(ip.id, 1, Event.RELEASED_OK))
    country.say(10, Remove((ip.id,)))
    decision = country.say(20, Adopt((an_ip(),)))
    assert events(decision) == [("joined", "cooldown")]
    country.becomes_available_at(65)


def test_a_new_country_loads_with_the_rests_of_what_departed_elsewhere() -> None:
    departed = {("192.0.2.1", "7000", ""): 150.0}
    country = Country(an_ip(), departed=departed)
    country.becomes_available_at(150)


def test_an_endpoint_that_an_edit_leaves_still_rests() -> None:
    country, ip, _ = in_use("192.0.2.5")
    country.edit(1, ip, address="192.0.2.6")
    country.say(2, Adopt((an_ip("192.0.2.5"),)))
    assert country.lease(149.999) is None
    assert events(country.say(150))[-1] == ("cooldown_over", "available")


def test_an_endpoint_that_an_edit_brings_still_rests() -> None:
    country = Country(departed={("192.0.2.5", "7000", ""): 150.0})
    ip = an_ip("192.0.2.4")
    country.say(0, Adopt((ip,)))
    country.edit(1, ip, address="192.0.2.5")
    assert (country.pool.counts().available, country.pool.counts().total) == (0, 1)
    country.becomes_available_at(150)


def test_an_edit_that_brings_a_resting_endpoint_to_one_in_use_adds_its_rest_to_the_lease() -> None:
    ip = an_ip("192.0.2.4")
    country = Country(ip, departed={("192.0.2.5", "7000", ""): 150.0})
    country.lease(0)
    country.edit(1, ip, address="192.0.2.5")
    country.say(2, Release(ip.id, 1, Event.RELEASED_OK))
    country.becomes_available_at(150)


def test_what_departed_is_forgotten_when_its_rest_is_over() -> None:
    country = Country(*(an_ip(str(n), status=Status.COOLDOWN, locked_until_s=50.0) for n in range(9)))
    country.say(1, Remove(tuple(country.pool.ips)))
    assert len(country.pool.rests.departed) == 9
    country.say(50, Adopt(()))
    assert country.pool.rests.departed == {}


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.COOLDOWN])
def test_a_row_that_its_operator_half_marked_is_failed_until_a_reset(status: Status) -> None:
    ip = an_ip(status=status, is_healthy=False, locked_until_s=50.0 if status is Status.COOLDOWN else None)
    country = Country(ip)
    assert country.lease(100) is None
    assert country.pool.counts().failed == 1
    country.edit(101, ip, **RESET)
    assert country.lease(102)


def test_one_address_with_two_usernames_is_two_ips() -> None:
    ips = [an_ip("gate.example", login=Login(name, "secret")) for name in ("session-1", "session-2")]
    country = Country(*ips)
    leases = [country.lease(0), country.lease(0)]
    assert {lease and lease.login for lease in leases} == {ip.login for ip in ips}
    country.say(1, Remove((ips[0].id,)))
    country.say(2, Release(ips[1].id, 1, Event.RELEASED_OK))
    country.becomes_available_at(62)


def test_an_edit_of_the_username_makes_another_endpoint_and_one_of_the_password_does_not() -> None:
    ip = an_ip("gate.example", login=Login("session-1", "old"))
    country = Country(ip)
    country.lease(0)
    country.edit(1, ip, login=Login("session-1", "new"))
    assert ip.login == Login("session-1", "new")
    country.edit(2, ip, login=Login("session-2", "new"))
    country.say(3, Adopt((an_ip("gate.example", login=Login("session-1", "new")),)))
    assert country.lease(149) is None, "the endpoint that the lease uses has departed"


def test_no_repr_shows_a_login() -> None:
    ip = an_ip("gate.example", login=Login("canary-user", "canary-word"))
    country = Country(ip)
    lease = country.lease(0)
    assert lease is not None
    assert "canary" not in f"{ip!r}{lease!r}{lease.login!r}{lease.proxy()!r}{country.pool!r}"
