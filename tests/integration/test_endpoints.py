"""One spelling for each endpoint: PostgreSQL and Python agree, a second spelling is refused, old rows are kept."""

import random
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from daemon.database.schema import migrate
from daemon.errors import BadInput
from daemon.host.clocks import read_clocks
from daemon.maintenance.evidence import read_evidence
from daemon.nodes.owned import read_all
from daemon.pool.store import Selection, reset_ips
from daemon.settings.model import Settings
from daemon.web.endpoints import canonical_host, canonical_port
from tests.integration.databases import PostgresServer, Rows, database_before, fresh_database
from tests.integration.journals import running_journal
from tests.integration.pools import joined

SPELLINGS = (
    *("192.0.2.7", " 192.0.2.7\t", "192.0.2.7.", "0xc0.0.2.0x7", "::ffff:192.0.2.7", "[::FFFF:c000:207]"),
    *("0:0:0:0:0:ffff:192.0.2.7", "2001:DB8:0:0:0::7", "[2001:db8::7]", "::1.2.3.4", "::2", "::1.2.0.0", "::0.1.0.0"),
    *("1:0:0:2:0:0:0:3", "1:2:0:3:4:5:6:7", "fe80::7%eth0", "fe80::7%1", "2001:db8::7%eth0", "FE80::7%Eth0"),
    *("Gate.Example.", "gate_1", "a-b", "-a", "a-", "a..b", "a.b..", ".a", "x" * 63, "x" * 64, "a." * 127, "dead.beef"),
    *("256.1.1.1", "1.2.3", "1.2.3.4.5", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "010.1.1.1", "8080"),
    *("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:0.0.0.1", "::ffff:300.1.1.1", "00001::"),
    *("::::", "", " ", "localhost:", "a:80", "[a]", "[192.0.2.7]", "[::1", "::1]", "[[::1]]", "[::1]:80", "1::2::3"),
    *("::ffff:010.0.0.1", "::1.2.3", "1:2:3:4:5:6:7:8:9", ":1", "1:", "http://a", "a/b", "a b", "a@b", "a%b", "é"),
    *("1.1.1.0x1F", "0x.1.1.1", "0x100.1.1.1", "1.2.3.x", "1e3.2", "\x0b10.0.0.1", "\u00a010.0.0.1", "Ⅷ.example"),
)  # fmt: skip
PORTS = ("80", " 80", "080", "00000000000080", "65535", "65536", "0", "", "-1", "+80", "8 0", "80.0", "٨", "1" * 40)


def by_python(text: str) -> str | None:
    try:
        return canonical_host(text)
    except BadInput:
        return None


def port_by_python(text: str) -> str | None:
    try:
        return canonical_port(text)
    except BadInput:
        return None


async def by_postgres(rows: Rows, function: str, texts: Sequence[str]) -> list[str | None]:
    asked = f"select {function}(text) as found from unnest($1::text[]) with ordinality as t(text, place) order by place"
    return [row["found"] for row in await rows.sql(asked, list(texts))]


async def assert_agreement(rows: Rows, hosts: Sequence[str], ports: Sequence[str]) -> None:
    """PostgreSQL refuses names of other scripts than ASCII, which Python converts."""
    expected = {text: by_python(text) if text.isascii() else None for text in hosts}
    assert dict(zip(hosts, await by_postgres(rows, "tracepool_canonical_host", hosts), strict=True)) == expected
    expected = {text: port_by_python(text) for text in ports}
    assert dict(zip(ports, await by_postgres(rows, "tracepool_canonical_port", ports), strict=True)) == expected


def random_hosts(count: int) -> list[str]:
    """Texts from the pieces of which hosts are spelled; most are nearly right."""
    chance = random.Random(4)
    pieces = [
        "0",
        "00",
        "1",
        "7",
        "10",
        "255",
        "256",
        "ffff",
        "FFFF",
        "0db8",
        "a",
        "B",
        "0x7f",
        "0x",
        "-",
        "_",
        "eth0",
        "%",
    ]
    joints = [".", ".", ".", ":", ":", ":", "::", "", "[", "]", " ", ".."]
    found = set[str]()
    while len(found) < count:
        joint = chance.choice(joints)
        text = joint.join(chance.choice(pieces) for _ in range(chance.randint(1, 8)))
        if chance.random() < 0.3:
            text = chance.choice(["::", "::ffff:", "[", "fe80::", " "]) + text
        if chance.random() < 0.3:
            text += chance.choice(["]", ".", ":80", "::", ":10.0.0.1", "%eth0", "%1", "\n"])
        found.add(text)
    return sorted(found)


async def test_postgresql_and_python_agree_on_every_spelling(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await assert_agreement(rows, SPELLINGS, PORTS)
        hosts = random_hosts(20_000)
        accepted = {text for text in hosts if by_python(text) is not None}
        assert 0.05 < len(accepted) / len(hosts) < 0.95
        await assert_agreement(
            rows, hosts, ["0" * zeros + str(port) for zeros in (0, 3) for port in range(65_530, 65_540)]
        )


async def test_a_canonical_text_stays_as_it_is() -> None:
    for text in (*SPELLINGS, *random_hosts(20_000)):
        found = by_python(text)
        assert found is None or canonical_host(found) == found


@pytest.mark.parametrize(
    ("address", "port", "second_address", "second_port"),
    [
        ("127.32.0.1", "55451", "127.32.0.1", "055451"),
        ("127.32.0.1", "55451", "127.32.0.1", " 55451"),
        ("127.32.0.1", "55451", "0x7f.32.0.1", "55451"),
        ("127.32.0.1", "55451", "::ffff:127.32.0.1", "55451"),
        ("127.32.0.1", "55451", "[::ffff:7f20:1]", "55451"),
        ("127.32.0.1", "55451", "127.32.0.1.\n", "55451"),
        ("gate.example", "7000", "GATE.example", "7000"),
        ("gate.example", "7000", "gate.example.", "7000"),
        ("2001:db8::7", "7000", "[2001:DB8:0:0:0:0:0:7]", "7000"),
    ],
)
async def test_a_second_spelling_of_an_endpoint_is_refused(
    postgres: PostgresServer, address: str, port: str, second_address: str, second_port: str
) -> None:
    async with fresh_database(postgres) as rows:
        first = await rows.add_ip(second_address, ip_port=second_port)
        [row] = await rows.sql("select ip_address, ip_port from ip_rotation_pool")
        assert (row["ip_address"], row["ip_port"]) == (address, port)
        with pytest.raises(asyncpg.UniqueViolationError):
            await rows.add_ip(address, ip_port=port)
        second = await rows.add_ip("192.0.2.9")
        with pytest.raises(asyncpg.UniqueViolationError):
            await rows.sql("update ip_rotation_pool set ip_address = $1, ip_port = $2 where id = $3",
                           second_address, second_port, second)  # fmt: skip
        await rows.sql("update ip_rotation_pool set ip_address = $1, ip_port = $2 where id = $3", address, port, first)


async def test_rows_with_other_usernames_are_sessions_of_one_gateway(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("gate.example", username="session-1", password="a")
        await rows.add_ip("gate.example", username="session-2", password="a")
        with pytest.raises(asyncpg.UniqueViolationError):
            await rows.add_ip("Gate.Example", username="session-2", password="b")
        await rows.add_ip("gate.example", username="")
        with pytest.raises(asyncpg.UniqueViolationError):
            await rows.add_ip("gate.example")
        with pytest.raises(asyncpg.CheckViolationError):
            await rows.add_ip("other.example", password="b")


@pytest.mark.parametrize(
    ("address", "port", "message", "hint"),
    [
        ("192.0.2.7:3128", "7000", "'192.0.2.7:3128' is neither", "Write the port into ip_port"),
        ("256.1.1.1", "7000", "'256.1.1.1' is neither", "four numbers from 0 to 255"),
        ("1.2.3", "7000", "'1.2.3' is neither", "four numbers from 0 to 255"),
        ("127.1", "7000", "'127.1' is neither", "four numbers from 0 to 255"),
        ("2130706433", "7000", "'2130706433' is neither", "four numbers from 0 to 255"),
        ("::::", "7000", "'::::' is neither", "Write an address such as"),
        ("", "7000", "'' is neither", "Write an address such as"),
        ("localhost:", "7000", "'localhost:' is neither", "Write the port into ip_port"),
        ("http://gate.example", "7000", "'http://gate.example' is neither", "without a scheme"),
        ("gate .example", "7000", "'gate .example' is neither", "Write an address such as"),
        ("bücher.example", "7000", "'bücher.example' is neither", "xn--"),
        ("gate.example", "0", "ip_port '0' is not a port", "from 1 to 65535"),
        ("gate.example", "70000", "ip_port '70000' is not a port", "from 1 to 65535"),
        ("gate.example", "", "ip_port '' is not a port", "from 1 to 65535"),
    ],
)
async def test_sql_that_names_no_endpoint_is_refused_with_the_value_and_a_hint(
    postgres: PostgresServer, address: str, port: str, message: str, hint: str
) -> None:
    async with fresh_database(postgres) as rows:
        with pytest.raises(asyncpg.CheckViolationError) as raised:
            await rows.add_ip(address, ip_port=port)
        assert message in str(raised.value)
        assert hint in (raised.value.hint or "")
        await rows.add_ip("192.0.2.1")
        with pytest.raises(asyncpg.CheckViolationError):
            await rows.sql("update ip_rotation_pool set ip_address = $1, ip_port = $2", address, port)


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.7 3128 bob canary",
        "192.0.2.7:3128:bob:canary",
        "bob:canary@192.0.2.7:3128",
        "bob:canary",
        "http://bob:canary@gate.example",
    ],
)
async def test_a_refusal_repeats_no_login(postgres: PostgresServer, address: str) -> None:
    async with fresh_database(postgres) as rows:
        with pytest.raises(asyncpg.CheckViolationError) as raised:
            await rows.add_ip(address)
        assert "canary" not in f"{raised.value}{raised.value.detail}{raised.value.hint}"
    with pytest.raises(BadInput) as refused:
        canonical_host(address)
    assert "canary" not in str(refused.value)


OLD_ROWS = """
insert into ip_rotation_pool
    (id, ip_address, ip_port, country, status, locked_until, last_used_at, is_healthy, total_uses)
values
    ('00000000-0000-0000-0000-000000000001', '127.32.0.1', '8080', 'us', 'available', null, '2020-01-01', true, 5),
    ('00000000-0000-0000-0000-000000000002', '127.32.0.1', ' 8080', 'us', 'locked', '2100-01-01', now(), true, 7),
    ('00000000-0000-0000-0000-000000000003', '0x7f.32.0.1', '8080', 'us', 'cooldown', '2100-01-02', now(), true, 9),
    ('00000000-0000-0000-0000-000000000004', '::ffff:127.32.0.1', '08080', 'us', 'failed', null, null, false, 0),
    ('00000000-0000-0000-0000-000000000005', 'Gate.Example.', '7000', 'us', 'available', null, null, true, 0),
    ('00000000-0000-0000-0000-000000000006', '192.0.2.7:3128', '7000', 'us', 'available', null, null, true, 0),
    ('00000000-0000-0000-0000-000000000007', '4711', '7000', 'us', 'available', null, null, true, 0),
    ('00000000-0000-0000-0000-000000000008', '192.0.2.8', 'http', 'us', 'available', null, null, true, 0)
"""


async def test_old_rows_get_one_spelling_and_those_that_coincide_are_set_aside(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with database_before(postgres, "0011_endpoints.sql") as rows:
        await rows.sql(OLD_ROWS)
        edits = {row["id"].int: row["edit_no"] for row in await rows.sql("select id, edit_no from ip_rotation_pool")}
        await rows.database.work(migrate)
        found = {row["id"].int: row for row in await rows.sql("select * from ip_rotation_pool")}
        assert len(found) == 8, "no row is lost"
        pool = {
            number: (row["ip_address"], row["ip_port"]) for number, row in found.items() if row["set_aside"] is None
        }
        assert pool == {2: ("127.32.0.1", "8080"), 5: ("gate.example", "7000"), 7: ("4711", "7000")}
        assert all(found[number]["edit_no"] == edits[number] for number in pool), "a journal's entries still apply"
        assert found[2]["status"] == "locked"
        assert found[2]["locked_until"].isoformat().startswith("2100-01-02"), "the longest rest of all spellings"
        for number in (1, 3, 4, 6, 8):
            assert (found[number]["status"], found[number]["is_healthy"]) == ("failed", False)
        assert found[1]["set_aside"].endswith("is that of the row with the id 00000000-0000-0000-0000-000000000002")
        assert found[3]["total_uses"] == 9
        assert "are no endpoint" in found[6]["set_aside"]
        async with running_journal(tmp_path / "j", rows.database) as journal:
            tenure = await (await joined(rows, journal, "here")).tenure()
        reading = await rows.database.work(read_all, tenure, read_clocks(), own=True)
        assert {ip.address for ip in reading.ips} == {"127.32.0.1", "gate.example", "4711"}


async def test_a_row_that_was_set_aside_joins_once_its_endpoint_is_its_own(postgres: PostgresServer) -> None:
    async with fresh_database(postgres) as rows:
        await rows.add_ip("192.0.2.7")
        aside = await rows.add_ip("192.0.2.7.", set_aside="its endpoint is that of another row")
        await rows.sql("update ip_rotation_pool set is_healthy = true, status = 'available'")
        assert await rows.one("select status from ip_rotation_pool where id = $1", aside) == "failed"
        with pytest.raises(asyncpg.UniqueViolationError):
            await rows.sql("update ip_rotation_pool set set_aside = null where id = $1", aside)
        assert await rows.database.work(reset_ips, Selection()) == []
        assert (await rows.database.work(read_evidence, 0.0, Settings())).set_aside == 1
        assert [row["total"] for row in await rows.database.fetch("counts_by_country")] == [1]
        before = await rows.one("select edit_no from ip_rotation_pool where id = $1", aside)
        await rows.sql("update ip_rotation_pool set ip_address = '192.0.2.8' where id = $1", aside)
        [row] = await rows.sql("select * from ip_rotation_pool where id = $1", aside)
        assert (row["set_aside"], row["ip_address"]) == (None, "192.0.2.8")
        assert row["edit_no"] > before, "a running daemon adopts it"
