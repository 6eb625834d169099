"""One node at a time has a database, by its row's trust: through lost sessions, pauses and removals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from daemon.database.queries import QUERIES
from daemon.errors import DatabaseOccupied
from daemon.host.clocks import read_boot_clock
from daemon.nodes.member import Identity, Member, NodeListener, nodes_kept_out
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


async def test_a_second_node_waits_and_joins_once_the_first_has_left(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        first, second = member_of(rows, "first"), member_of(rows, "second")
        async with running(first):
            assert first.may_lease()
            with trio.move_on_after(0.5) as waiting:
                await second.join()
            assert waiting.cancelled_caught
            assert not second.may_lease()
            assert second.claim() is None, "it may write facts"
        await first.leave()
        await second.join()
        assert second.may_lease()
        assert await states(rows) == {"first": "lost", "second": "active"}


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
async def test_a_node_that_is_not_heard_stops_by_itself_and_another_one_joins_after_the_quiet(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    """Two nodes communicate only through the rows."""
    async with fresh_database(postgres) as rows:
        first, second = member_of(rows, "first", trust_s=2.0, quiet_s=1.0), member_of(rows, "second")
        await first.join()  # it does not renew
        assert first.may_lease()
        await until(lambda: not first.may_lease())
        assert await rows.one("select trusted_until > clock_timestamp() from nodes"), "it stops before its row says so"
        await second.join()
        assert await rows.one(
            "select clock_timestamp() > trusted_until + make_interval(secs => quiet_s) from nodes where name = 'first'"
        )
        assert second.may_lease()


@pytest.mark.slow
async def test_a_node_whose_row_was_taken_leases_nothing_until_it_has_joined_anew_and_its_pools_started_over(
    postgres: PostgresServer, expected_errors: LoggedErrors
) -> None:
    expected_errors.expect("node_claim_lost")
    async with fresh_database(postgres) as rows:
        first, second, seen = member_of(rows, "first"), member_of(rows, "second"), Seen()
        async with running(first, seen.listener):
            await rows.sql(
                "update nodes set state = 'removed', claim = null, trusted_until = now() - interval '1 hour'"
            )
            await second.join()
            await until(lambda: seen.events)
            assert seen.events[0] == "leasing ended"
            assert not first.may_lease()
            await until(lambda: "ips lost" in seen.events)
            assert first.claim() is None
            await second.leave()
            await until(first.may_lease)
            assert seen.events == ["leasing ended", "ips lost", "rejoined"]
            assert await states(rows) == {"first": "active", "second": "lost"}


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
            await until(lambda: not killed.may_lease())
            await wait_all_tasks_blocked(0.1)
            assert await rows.sql(QUERIES["hold_claim"], node_id, again.claim())
            nursery.cancel_scope.cancel()


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
