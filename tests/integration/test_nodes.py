"""A node and its row: trust, claim and beat, through lost sessions, pauses, removals and restored databases."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
import trio

from daemon.database.queries import QUERIES
from daemon.errors import DatabaseOccupied
from daemon.host.clocks import read_boot_clock
from daemon.nodes.figures import ENCODER, NO_FIGURES, CountryFigures, NodeFigures
from daemon.nodes.freeing import Freeing
from daemon.nodes.identity import Identity, NodeListener
from daemon.nodes.kept_out import nodes_kept_out
from daemon.nodes.member import BEFORE_S, RENEW_S, Member
from daemon.nodes.membership import LEFT_QUIET_MIN_S, Sighting
from daemon.nodes.peers import RENEW_MIN_S
from daemon.troubles import Troubles
from tests.integration.databases import PostgresServer, Rows, fresh_database, opened
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until

TRUST_S, QUIET_S = 900.0, 160.0


class Seen:
    """Records what a listener is notified of, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.listener = NodeListener(self.leasing_ended, self.ips_lost, self.rejoined)

    async def leasing_ended(self) -> None:
        self.events.append("leasing ended")

    async def ips_lost(self) -> None:
        self.events.append("ips lost")

    async def rejoined(self) -> None:
        self.events.append("rejoined")


def member_of(
    rows: Rows, name: str, *, node_id: UUID | None = None, trust_s: float = TRUST_S, quiet_s: float = QUIET_S
) -> Member:
    identity = Identity(node_id or uuid4(), name, 1, trust_s, lambda: quiet_s)
    return Member(rows.database, identity, Troubles(), read_boot_clock)


@asynccontextmanager
async def running(member: Member, *listeners: NodeListener) -> AsyncIterator[None]:
    await member.join()
    for listener in listeners:
        member.subscribe(listener)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(member.run)
        yield
        nursery.cancel_scope.cancel()


async def states(rows: Rows) -> dict[str, str]:
    return {row["name"]: row["state"] for row in await rows.sql("select name, state from nodes")}


async def renewed(rows: Rows, name: str) -> None:
    """Returns after a renewal that began after the call."""
    [before] = await rows.sql("select trusted_until from nodes where name = $1", name)

    async def later() -> bool:
        return bool(await rows.one("select trusted_until > $2 from nodes where name = $1", name, *before.values()))

    await until(later)


async def test_nodes_join_beside_each_other_and_see_each_other(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        first, second = member_of(rows, "first"), member_of(rows, "second")
        second.report(lambda: NodeFigures({"us": CountryFigures(available=3)}, backlog=5), lambda: 0.0)
        async with running(first), running(second):
            await until(lambda: [peer.name for peer in first.peers.others()] == ["second"])
            assert first.may_lease()
            assert second.may_lease()
            [peer] = first.peers.others()
            assert (peer.figures.countries["us"].available, peer.figures.backlog) == (3, 5)
        await second.leave()
        assert await states(rows) == {"first": "active", "second": "left"}
        assert await rows.one("select figures->>'backlog' from nodes where name = 'second'") == "0", "all is shipped"


async def test_a_run_knows_the_last_figures_of_the_run_before_if_these_are_recent(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        first = member_of(rows, "node", node_id=(me := uuid4()))
        figures = NodeFigures({"us": CountryFigures(wanted_per_s=3.0)})
        first.report(lambda: figures, lambda: 0.0)
        await first.join()
        second = member_of(rows, "node", node_id=me)
        await second.join()
        assert (first.before, second.before) == (NO_FIGURES, figures)
        older = "update nodes set figures = $1, trusted_until = trusted_until - make_interval(secs => $2)"
        await rows.sql(older, ENCODER.encode(figures).decode(), BEFORE_S + 1)
        late = member_of(rows, "node", node_id=me)
        await late.join()
        assert late.before == NO_FIGURES


async def test_an_earlier_version_is_waited_for_until_it_has_left(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await member_of(rows, "old").join()
        await rows.sql("update nodes set protocol = 0")
        late = member_of(rows, "late")
        with trio.move_on_after(0.5) as waiting:
            await late.join()
        assert waiting.cancelled_caught
        assert not late.may_lease()
        assert late.claim() is None, "it may write facts"
        await rows.sql("update nodes set state = 'left', trusted_until = now()")
        await late.join()
        assert late.may_lease()


async def test_renewals_keep_their_distance_and_an_urgent_one_comes_sooner(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        member, read_s = member_of(rows, "here"), list[float]()
        async with running(member, NodeListener(renewed=lambda peers: read_s.append(peers.read_s))):
            for count in range(1, 5):
                member.hurry()
                await until(lambda: len(read_s) >= count)  # noqa: B023 - awaited in the loop
        assert all(later - earlier >= RENEW_MIN_S for earlier, later in pairwise(read_s))
        assert read_s[-1] - read_s[0] < len(read_s) * RENEW_S


async def test_a_draining_node_leases_nothing_and_takes_nothing(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        member, seen = member_of(rows, "here"), Seen()
        async with running(member, seen.listener):
            await rows.sql("update nodes set draining = true")
            await until(lambda: not member.may_lease())
            await until(lambda: seen.events == ["leasing ended"])
            assert not (await member.tenure()).takes
            await rows.sql("update nodes set draining = false")
            await until(member.may_lease)


async def test_a_database_that_lost_renewals_ends_the_claim(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    async with fresh_database(postgres) as rows:
        member, other, seen = member_of(rows, "here"), member_of(rows, "there"), Seen()
        async with running(member, seen.listener), running(other):
            await until(lambda: any(member.peers.others()))
            before = await member.tenure()
            assert before.rests_s == 0
            await rows.sql("update nodes set beat = beat - 5 where name = 'here'")
            await until(lambda: "rejoined" in seen.events)
            assert seen.events == ["leasing ended", "rejoined"]
            after = await member.tenure()
            assert after.term > before.term
            assert after.rests_s == QUIET_S, "what is in no node's memory may be in use"


@pytest.mark.slow
async def test_a_lost_session_loses_nothing_and_the_trust_is_renewed_on_another(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("database_unavailable")
    async with fresh_database(postgres) as rows:
        member = member_of(rows, "first")
        async with running(member):
            await renewed(rows, "first")
            postgres.end_sessions(rows.url)
            async with opened(rows.url) as looker:
                await renewed(looker, "first")
            assert member.may_lease()


@pytest.mark.slow
async def test_a_node_that_is_not_heard_stops_by_itself_and_is_lost_after_the_quiet(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    """Two nodes communicate only through the rows."""
    async with fresh_database(postgres) as rows:
        first, second = member_of(rows, "first", trust_s=4.0, quiet_s=2.0), member_of(rows, "second")
        await first.join()  # it does not renew
        await rows.add_ip("192.0.2.1", status="cooldown", locked_until=datetime.now(UTC), lease_no=7)
        await rows.sql("update ip_rotation_pool set node_id = (select node_id from nodes)", own=True)
        async with running(second):
            assert first.may_lease()
            await until(lambda: not first.may_lease())
            assert await states(rows) == {"first": "active", "second": "active"}, "it stops before it is lost"
            await until(partial(is_nobodys, rows))
            assert await states(rows) == {"first": "lost", "second": "active"}
            [row] = await rows.sql("select status, locked_until, lease_no from ip_rotation_pool")
            assert row == {"status": "available", "locked_until": None, "lease_no": 8}


async def is_nobodys(rows: Rows) -> bool:
    return bool(await rows.one("select node_id is null from ip_rotation_pool"))


@pytest.mark.slow
async def test_a_node_that_left_is_lost_after_its_rests(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        first, second = member_of(rows, "first"), member_of(rows, "second")
        await first.join()
        await first.leave()
        assert await rows.one("select quiet_s from nodes") == LEFT_QUIET_MIN_S
        async with running(second):
            await until(partial(has_states, rows, {"first": "lost", "second": "active"}))


async def has_states(rows: Rows, expected: dict[str, str]) -> bool:
    return await states(rows) == expected


async def test_an_owner_whose_row_was_deleted_has_its_trust_and_quiet(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("192.0.2.1")
        await rows.sql("update ip_rotation_pool set node_id = gen_random_uuid()", own=True)
        freeing = Freeing(rows.database, TRUST_S, lambda: QUIET_S)
        assert await freeing.run_once() == 0
        [row] = await rows.sql("select state, trusted_until > now() as trusted, quiet_s from nodes")
        assert row == {"state": "removed", "trusted": True, "quiet_s": QUIET_S}
        await rows.sql("update nodes set state = 'lost'")
        assert await freeing.run_once() == 1
        assert await freeing.run_once() == 0


async def test_a_node_that_renewed_meanwhile_is_not_lost(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await member_of(rows, "there").join()
        [row] = await rows.sql("select node_id, beat, epoch from nodes")
        freeing = Freeing(rows.database, TRUST_S, lambda: QUIET_S)
        for state, beat in (("active", row["beat"] - 1), ("removed", row["beat"])):
            freeing.found_lost([Sighting(row["node_id"], "there", beat, row["epoch"], state, 0.0, 0.0)])
            await freeing.run_once()
            assert await states(rows) == {"there": "active"}


@pytest.mark.slow
async def test_a_node_that_was_lost_leases_nothing_until_it_has_joined_anew_and_its_pools_started_over(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    async with fresh_database(postgres) as rows:
        member, seen = member_of(rows, "first"), Seen()
        async with running(member, seen.listener):
            await rows.sql("update nodes set state = 'lost', claim = null, epoch = epoch + 1")
            await until(lambda: "rejoined" in seen.events)
            assert seen.events == ["leasing ended", "ips lost", "rejoined"]
            await until(member.may_lease)
            assert await states(rows) == {"first": "active"}


async def test_a_node_that_was_removed_while_nobody_else_came_keeps_what_it_knows(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    async with fresh_database(postgres) as rows:
        member, seen = member_of(rows, "first"), Seen()
        async with running(member, seen.listener):
            await rows.sql("delete from nodes")
            await until(lambda: "rejoined" in seen.events)
            assert seen.events == ["leasing ended", "rejoined"]
            await until(member.may_lease)


async def test_a_restart_in_place_joins_at_once_with_a_claim_of_its_own(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    node_id = uuid4()
    async with fresh_database(postgres) as rows:
        killed, again = member_of(rows, "here", node_id=node_id), member_of(rows, "here", node_id=node_id)
        with pytest.raises(DatabaseOccupied):
            again.claim()
        await killed.join()
        await again.join()
        assert again.claim() != killed.claim()
        assert await rows.one("select epoch from nodes") == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(killed.run)  # a copy of the state directory may not take the row back
            await until(lambda: killed.is_displaced)
        assert not killed.may_lease()
        assert await rows.sql(QUERIES["hold_claim"], node_id, again.claim())


async def test_an_earlier_quiet_holds_while_something_of_that_run_may_go_on(postgres: PostgresServer) -> None:
    node_id = uuid4()
    async with fresh_database(postgres) as rows:
        await member_of(rows, "here", node_id=node_id, quiet_s=500.0).join()
        again = member_of(rows, "here", node_id=node_id, quiet_s=20.0)
        async with running(again):
            await renewed(rows, "here")
            assert await rows.one("select quiet_s from nodes") == 500.0


async def test_nobody_joins_while_a_command_keeps_nodes_out(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        member = member_of(rows, "late")
        async with nodes_kept_out(rows.database, None):
            with trio.move_on_after(0.5) as waiting:
                await member.join()
            assert waiting.cancelled_caught
        await member.join()
        with pytest.RaisesGroup(DatabaseOccupied, flatten_subgroups=True, allow_unwrapped=True):
            async with nodes_kept_out(rows.database, None):
                pytest.fail("a node may lease")


async def test_with_a_database_of_its_own_the_trust_never_ends(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await member_of(rows, "of a spool that is gone").join()
        identity = Identity(uuid4(), "here", 1, 2.0, lambda: 1.0)
        member = Member(rows.database, identity, Troubles(), lambda: 1e12, alone=True)
        await member.join()
        assert member.may_lease()
        assert member.status().trusted_for_s is None
