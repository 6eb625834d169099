"""The database schema is changed under load: tables renamed, triggers that raise, rights revoked, unexpected values.

Each round makes one change, waits until the daemon reports it, reverts it, and waits for all rows. The daemon's role
owns its tables and is not a superuser.
"""

import random
import string
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import trio

from daemon.database import cluster
from tests.faults.scene import Scene
from tests.faults.stage import Fault, Knobs, Stage
from tests.faults.visible import said, well_again

ROLE = "clerk"
LASTS_S = 1.0
PROVIDER_CHARACTERS = 6_400

OWNED_BY_ROLE = f"""
create role {ROLE} login;
grant usage, create on schema public to {ROLE};
do $$ declare found regclass; begin
    for found in
        select c.oid from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'S')
            and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))
    loop
        execute format('alter table %s owner to {ROLE}', found);
    end loop;
end $$;
"""
RAISES = """
create or replace function refuse_row() returns trigger language plpgsql as $$
begin
    raise exception 'no rows today';
end $$;
create trigger refuse_row before insert on {table} for each row execute function refuse_row();
"""


@dataclass(frozen=True, slots=True)
class Breakage:
    """A change of the schema and its reversal. `said`: PostgreSQL's words in the daemon's report; None: no report.

    `kick`: SQL that makes the daemon use the table, if clicks alone do not.
    """

    table: str
    do: str
    undo: str
    said: str | None = None
    kick: str = ""


def _away(table: str, kick: str = "") -> Breakage:
    return Breakage(
        table,
        f"alter table {table} rename to {table}_away",
        f"alter table {table}_away rename to {table}",
        f'relation "{table}" does not exist',
        kick,
    )


def _column_away(table: str, column: str, type_and_default: str) -> Breakage:
    return Breakage(
        table,
        f"alter table {table} drop column {column}",
        f"alter table {table} add column {column} {type_and_default}",
        f'column "{column}"',
    )


def _raising(table: str) -> Breakage:
    return Breakage(table, RAISES.format(table=table), f"drop trigger refuse_row on {table}", "no rows today")


def _revoked(table: str) -> Breakage:
    return Breakage(
        table,
        f"revoke all on {table} from {ROLE}",
        f"grant all on {table} to {ROLE}",
        f"permission denied for table {table}",
    )


def _retyped(table: str, column: str, there: str, back: str, kick: str = "") -> Breakage:
    """The result or parameter types of prepared statements change."""
    alter = f"alter table {table} alter column {column} type"
    return Breakage(table, f"{alter} {there}", f"{alter} {back}", kick=kick)


def _widened(table: str) -> Breakage:
    return Breakage(
        table, f"alter table {table} add column remark text", f"alter table {table} drop column remark", kick=LOOK
    )


LOOK = "select pg_notify('tracepool_ips', 'gone'), pg_notify('tracepool_offers', '')"
BREAKAGES = (
    _away("hits"),
    _revoked("active_trace_requests"),
    _away("journal_position"),
    _raising("hits"),
    _away("ip_rotation_pool"),
    _column_away("hits", "referrer", "text"),
    _away("offers", "select pg_notify('tracepool_offers', '')"),
    _retyped("hits", "user_agent", "varchar(4000)", "text"),
    _away("traffic"),
    _raising("active_trace_requests"),
    _away("control_tokens", "select pg_notify('tracepool_tokens', '')"),
    _away("active_trace_requests"),
    _revoked("hits"),
    _away("ip_pool_statistics"),
    _retyped("ip_rotation_pool", "avg_response_time_ms", "real", "double precision", LOOK),
    _column_away("active_trace_requests", "exit_ip", "text"),
    _away("nodes"),
    _widened("ip_rotation_pool"),
    _revoked("ip_rotation_pool"),
)


async def broken(stage: Stage) -> str:
    """Make the next of BREAKAGES; after the last one, a provider name that no index accepts."""
    scene = stage.scene
    turn = stage.turn() % (len(BREAKAGES) + 1)
    await trio.sleep(stage.rng.uniform(0.1, 0.4))
    breakage = BREAKAGES[turn] if turn < len(BREAKAGES) else _foreign_provider(stage.rng)
    began_s = time.monotonic()
    try:
        await scene.run_sql(breakage.do)
    except asyncpg.CheckViolationError as refused:
        return f"PostgreSQL itself refused it, by {refused.constraint_name}"
    if breakage.kick:
        await scene.sql(breakage.kick)
    if breakage.said is not None:
        await said(stage, breakage.said)
    await trio.sleep(max(0.0, began_s + LASTS_S - time.monotonic()))
    lasted_s = time.monotonic() - began_s
    await scene.run_sql(breakage.undo)
    rows_s = await well_again(stage)
    what = breakage.do.strip().replace("\n", " ")[-70:]
    return f"{what!r} for {lasted_s:.1f} s; rows there {rows_s:.2f} s after it was put right"


def _foreign_provider(rng: random.Random) -> Breakage:
    """A provider name that is too long for an index, and too random to be compressed."""
    letters = "".join(rng.choices(string.ascii_letters + string.digits, k=PROVIDER_CHARACTERS))
    update = "update ip_rotation_pool set provider = '{}' where ip_address like '%5'"
    return Breakage("ip_rotation_pool", update.format(letters), update.format("luna"))


@asynccontextmanager
async def as_a_role(scene: Scene, _: Knobs) -> AsyncIterator[None]:
    """The daemon connects as ROLE, which owns its tables."""
    await scene.run_sql(OWNED_BY_ROLE)
    assert scene.url is not None
    scene.url = scene.url.replace(f"{cluster.SUPERUSER}@", f"{ROLE}@")
    yield


FAULTS = (
    Fault(
        "foreign-schema",
        "tables and columns away, triggers that raise, rights revoked, values and types that are foreign",
        broken,
        rounds=len(BREAKAGES) + 1,
        errors=frozenset({"statement_refused"}),
        all_resolved=True,
        settings={"maintenance": {"interval_s": 1}},
        equip=as_a_role,
    ),
)
