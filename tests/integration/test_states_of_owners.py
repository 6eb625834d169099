"""An IP's state is applied only where the writer owns the IP; what a step adds to its counters is applied anyway."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from daemon.clock import Moment
from daemon.errors import DatabaseOccupied
from daemon.journal import shipper
from daemon.journal.entries import IpGiven, IpTraffic, Traffic, encode
from daemon.journal.lane import FACTS, OF_IPS, apply_batch
from daemon.pool.rows import ip_changed
from daemon.pool.states import Event
from tests.fakes.ips import an_ip
from tests.integration.databases import PostgresServer, Rows, fresh_database
from tests.integration.journals import edit_no_of, running_journal, spooled
from tests.support.entries import AT, finished, hit, leased, pending
from tests.support.logged_errors import LoggedErrors
from tests.support.waiting import until

ME, OTHER = uuid4(), uuid4()
NODE = (
    "insert into nodes (node_id, name, epoch, claim, state, trusted_until, quiet_s, version)"
    " values ($1, 'n', 1, $2, $3, now() + interval '1 hour', 160, '1')"
)
COUNTERS = "total_uses, success_count, failure_count"


async def owned_by(rows: Rows, node: UUID | None, address: str = "198.51.100.1") -> UUID:
    return await rows.add_ip(address, node_id=node, total_uses=100, success_count=50, failure_count=10, lease_no=7)


async def the_row(rows: Rows, ip: UUID) -> dict[str, Any]:
    [row] = await rows.sql(
        f"select status, lease_no, node_id, edit_no, {COUNTERS} from ip_rotation_pool where id = $1", ip
    )
    return row


def counters(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["total_uses"], row["success_count"], row["failure_count"]


async def apply(rows: Rows, seq: int, *entries: Any, node: UUID = ME, claim: UUID | None = None) -> bool:
    batch = spooled(seq + 1, *entries)
    return await rows.database.work(apply_batch, node, 1, OF_IPS, seq, batch, claim, own=True)


async def test_another_nodes_ip_gets_the_additions_and_not_the_state(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        mine, its = await owned_by(rows, ME), await owned_by(rows, OTHER, "198.51.100.2")
        for ip in (mine, its):
            edit = await edit_no_of(rows, ip)
            steps = (
                leased(ip, edit, lease_no=8),
                leased(ip, edit, lease_no=8, status="cooldown", uses=0, successes=1),
                leased(ip, edit, lease_no=9),
                leased(ip, edit, lease_no=9, status="cooldown", uses=0, failures=1),
            )
            seq = 0 if ip == mine else 4
            assert await apply(rows, seq, *steps)
            assert not await apply(rows, seq, *steps), "a batch is applied once"
        found, others = await the_row(rows, mine), await the_row(rows, its)
        assert (found["status"], found["lease_no"], counters(found)) == ("cooldown", 9, (102, 51, 11))
        assert (others["status"], others["lease_no"], counters(others)) == ("available", 7, (102, 51, 11))


async def test_entries_of_the_version_before_have_the_values_of_the_counters(postgres: PostgresServer) -> None:
    """They are in the spool of a node that was upgraded while PostgreSQL was away."""
    async with fresh_database(postgres) as rows:
        mine, its = await owned_by(rows, ME), await owned_by(rows, OTHER, "198.51.100.2")
        for at, ip in enumerate((mine, its)):
            edit = await edit_no_of(rows, ip)
            old = encode(leased(ip, edit, lease_no=8))[1].replace(
                '"uses":1,"successes":0,"failures":0', '"total_uses":105,"success_count":55,"failure_count":9'
            )
            batch = spooled(10 * at + 1, hit(), leased(ip, edit, lease_no=9))
            batch[0] = type(batch[0])(batch[0].seq, "ip_changed", old)
            assert "total_uses" in old
            assert await rows.database.work(apply_batch, ME, 1, OF_IPS, 2 * bool(at) and 2, batch, None, own=True)
        assert counters(await the_row(rows, mine)) == (106, 55, 10)
        assert counters(await the_row(rows, its)) == (101, 50, 10)


async def test_a_given_ip_changes_its_owner_and_is_announced(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(NODE, OTHER, uuid4(), "active")
        ip = await owned_by(rows, ME)
        edit = await edit_no_of(rows, ip)
        given = (leased(ip, edit, status="failed", is_healthy=False, lease_no=8), IpGiven(ip, OTHER, 8))
        async with rows.database.listen("tracepool_ips") as announced:
            await apply(rows, 0, *given)
            channel, payload = await announced.received.receive()
        row = await the_row(rows, ip)
        assert (row["node_id"], row["status"], row["edit_no"] > edit, row["lease_no"]) == (OTHER, "failed", True, 9)
        assert (channel, payload) == ("tracepool_ips", f"{row['edit_no']} {row['edit_no']} {OTHER}")
        assert await rows.one("select locked_until from ip_rotation_pool") is None
        await apply(rows, 2, leased(ip, edit, lease_no=10))
        assert (await the_row(rows, ip))["lease_no"] == 9, "the giver's later states are refused"


@pytest.mark.parametrize("state", ["left", "removed", "lost", None])
async def test_an_ip_that_is_given_to_a_node_that_is_gone_is_nobodys(
    state: str | None, postgres: PostgresServer
) -> None:
    async with fresh_database(postgres) as rows:
        if state:
            await rows.sql(NODE, OTHER, None, state)
        ip = await owned_by(rows, ME)
        await apply(rows, 0, IpGiven(ip, OTHER, 7))
        assert (await the_row(rows, ip))["node_id"] is None


async def test_an_ip_that_is_not_the_givers_any_more_is_not_given(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        third = uuid4()
        await rows.sql(NODE, OTHER, uuid4(), "active")
        foreign, back = await owned_by(rows, third), await owned_by(rows, ME, "198.51.100.2")
        await apply(rows, 0, IpGiven(foreign, OTHER, 7), IpGiven(back, OTHER, 6))  # which came back as lease 7
        assert [(await the_row(rows, ip))["node_id"] for ip in (foreign, back)] == [third, ME]


async def test_a_given_ip_keeps_what_an_operator_wrote_meanwhile(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(NODE, OTHER, uuid4(), "active")
        ip = await owned_by(rows, ME)
        await rows.sql("update ip_rotation_pool set status = 'failed', country = 'de'")
        await apply(rows, 0, IpGiven(ip, OTHER, 7))
        [row] = await rows.sql("select node_id, status, country from ip_rotation_pool")
        assert row == {"node_id": OTHER, "status": "failed", "country": "de"}


async def test_a_state_of_an_earlier_time_as_owner_is_refused(postgres: PostgresServer) -> None:
    """The node gave the IP away, or lost it, and owns it again with a later lease number."""
    async with fresh_database(postgres) as rows:
        ip = await owned_by(rows, ME)
        await apply(rows, 0, leased(ip, await edit_no_of(rows, ip), lease_no=6))
        row = await the_row(rows, ip)
        assert (row["status"], row["lease_no"], counters(row)) == ("available", 7, (101, 50, 10))


async def test_states_wait_for_a_claim_and_facts_do_not(postgres: PostgresServer, tmp_path: Path) -> None:
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        node, claim = journal.spool.node_id, uuid4()
        await rows.sql(NODE, node, claim, "active")
        ip = await owned_by(rows, node)
        claims: list[UUID | None] = [None]
        journal.shipper.claim = lambda: claims[0]
        journal.writer.record(leased(ip, await edit_no_of(rows, ip), lease_no=8), hit())
        await until(lambda: journal.shipper.facts.seq == 2)
        await until(journal.troubles.lines)
        assert journal.shipper.states.seq == 0
        claims[0] = uuid4()  # which the row in `nodes` does not have
        journal.writer.record(hit())
        await until(lambda: journal.shipper.facts.seq == 3)
        assert ((await the_row(rows, ip))["lease_no"], journal.shipper.states.seq) == (7, 0)
        claims[0] = claim
        await journal.flush()
        assert (await the_row(rows, ip))["lease_no"] == 8


async def test_a_batch_of_a_claim_that_is_lost_is_rolled_back(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.sql(NODE, ME, uuid4(), "active")
        ip = await owned_by(rows, ME)
        with pytest.raises(DatabaseOccupied):
            await apply(rows, 0, leased(ip, await edit_no_of(rows, ip), lease_no=8), claim=uuid4())
        assert counters(await the_row(rows, ip)) == (100, 50, 10)
        assert await rows.sql("select from journal_position") == []


async def test_of_states_that_are_out_of_date_only_the_additions_are_applied(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """A node was away for so long that its IPs were freed, and owns them again."""
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        node, claim = journal.spool.node_id, uuid4()
        await rows.sql(NODE, node, claim, "active")
        ip, nobodys = await owned_by(rows, node), await owned_by(rows, None, "198.51.100.2")
        claims: list[UUID | None] = [None]
        journal.shipper.claim = lambda: claims[0]
        for each in (ip, nobodys):
            edit = await edit_no_of(rows, each)
            journal.writer.record(leased(each, edit, lease_no=8), IpGiven(each, OTHER, 8), IpTraffic(each, 300, 20))
        await journal.writer.durable()
        await journal.shipper.discard_states()
        assert journal.spool.bodies("ip_changed") == []
        claims[0] = claim
        await journal.flush()
        for each in (ip, nobodys):
            row = await the_row(rows, each)
            assert (row["status"], row["lease_no"], counters(row)) == ("available", 7, (101, 50, 10))
        assert (await the_row(rows, ip))["node_id"] == node
        assert await rows.one("select distinct bytes_received from ip_rotation_pool") == 300


async def test_a_gift_does_not_wait_for_more_entries_of_a_busy_lane(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "GATHER_EACH_S", 3600.0)
    monkeypatch.setattr(shipper, "GATHER_MAX_S", 3600.0)
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database) as journal:
        await rows.sql(NODE, OTHER, uuid4(), "active")
        ip = await owned_by(rows, journal.spool.node_id)
        journal.writer.record(leased(ip, await edit_no_of(rows, ip), lease_no=8))
        await journal.flush()
        journal.writer.record(IpGiven(ip, OTHER, 8))

        async def is_given() -> bool:
            return bool((await the_row(rows, ip))["node_id"] == OTHER)

        await until(is_given)


async def test_after_the_database_has_lost_rows_an_ip_is_not_given_again(
    postgres: PostgresServer, tmp_path: Path, expected_errors: LoggedErrors
) -> None:
    """The receiver may have given it back since, and this node may have leased it again."""
    expected_errors.expect("database_is_older")
    async with fresh_database(postgres) as rows, running_journal(tmp_path / "j", rows.database, keep_s=300) as journal:
        node = journal.spool.node_id
        await rows.sql(NODE, OTHER, uuid4(), "active")
        ip = await owned_by(rows, node)
        edit = await edit_no_of(rows, ip)
        backup = "select * from ip_rotation_pool"
        [before] = await rows.sql(backup)
        journal.writer.record(leased(ip, edit, lease_no=8), IpGiven(ip, OTHER, 8))
        await journal.flush()
        assert (await the_row(rows, ip))["node_id"] == OTHER
        back = await edit_no_of(rows, ip) + 1
        await rows.sql("update ip_rotation_pool set node_id = $1", node, own=True)  # as the receiver does
        journal.writer.record(leased(ip, back, lease_no=10))
        await journal.flush()
        await rows.sql(
            "update ip_rotation_pool set (node_id, edit_no, lease_no, total_uses) = ($1, $2, $3, 100)",
            node, edit, before["lease_no"], own=True,
        )  # fmt: skip
        await rows.sql("delete from journal_position")
        journal.writer.record(hit())
        await journal.flush()
        row = await the_row(rows, ip)
        assert (row["node_id"], row["lease_no"], counters(row)) == (node, 10, (102, 50, 10))


async def test_the_traffic_of_a_trace_whose_row_has_its_end_already_is_not_counted_again(
    postgres: PostgresServer,
) -> None:
    request = uuid4()
    moved = (Traffic("lum", 1_000, 10, 0.5),)
    done = type(end := finished(request))(**{f: getattr(end, f) for f in end.__struct_fields__} | {"traffic": moved})
    async with fresh_database(postgres) as rows:
        entries = spooled(1, pending(request), done)
        for node in (ME, OTHER):  # a copied journal: the same entries of another node
            assert await rows.database.work(apply_batch, node, 1, FACTS, 0, entries, None, own=True)
        assert await rows.sql("select traces, bytes_received from traffic") == [{"traces": 1, "bytes_received": 1_000}]
        assert await rows.one("select count(*) from active_trace_requests") == 1
        timed_out = uuid4()
        late = type(end)(**{f: getattr(done, f) for f in end.__struct_fields__} | {"request_id": timed_out})
        await rows.database.work(apply_batch, ME, 1, FACTS, 2, spooled(3, pending(timed_out)), None, own=True)
        ended = "update active_trace_requests set status = 'timeout', completed_at = now() where request_id = $1"
        await rows.sql(ended, timed_out)
        await rows.database.work(apply_batch, ME, 1, FACTS, 3, spooled(4, late), None, own=True)
        assert await rows.one("select bytes_received from traffic") == 2_000, "a time-out counts no traffic"


@pytest.mark.parametrize(
    ("event", "added"),
    [
        (Event.LEASE, (1, 0, 0)),
        (Event.RELEASED_OK, (0, 1, 0)),
        (Event.RELEASED_IP_AT_FAULT, (0, 0, 1)),
        (Event.RELEASED_TARGET_AT_FAULT, (0, 0, 0)),
        (Event.CHECKED, (0, 0, 0)),
        (Event.COOLDOWN_OVER, (0, 0, 0)),
        ("joined", (0, 0, 0)),
        ("edited", (0, 0, 0)),
    ],
)
def test_each_step_says_what_it_adds(event: str, added: tuple[int, int, int]) -> None:
    entry = ip_changed(an_ip("192.0.2.1"), event, Moment(0.0, AT))
    assert (entry.uses, entry.successes, entry.failures) == added
