"""The action log: a row of `actions` for each change that a request or a command makes. Units of work.

A command writes its row in the transaction of its change. The control face writes the row after its handler has
succeeded (face.py). What operators change by SQL of their own is in no row.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple
from uuid import UUID

from daemon.control.listings import Listing, Order
from daemon.database.postgres import Connection

SUBJECT_CHARACTERS_MAX = 300
UNCHANGING = frozenset({"id", "created_at", "updated_at"})  # columns of offers that no change is about

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ACTIONS = Listing(
    source="actions a left join nodes n using (node_id)",
    columns="a.id, a.at, a.who, a.what, a.subject, a.detail, n.name as node",
    id="a.id",
    orders={"at": Order("a.at", "timestamptz")},
    filters={
        "since": "a.at >= {}::timestamptz",
        "until": "a.at < {}::timestamptz",
        "who": "a.who = {}::text",
        "what": "a.what = {}::text",
        "subject": "a.subject = {}::text",
    },
)


@dataclass(frozen=True, slots=True)
class Action:
    """`what`: the change in words, such as "change offer". `subject`: the name of what changed; empty: several.

    `detail`: figures and changed values, never a secret.
    """

    what: str
    subject: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


async def record_action(conn: Connection, who: str, action: Action, node_id: UUID | None = None) -> None:
    await conn.execute(
        "insert into actions (who, what, subject, detail, node_id) values ($1, $2, $3, $4::jsonb, $5)",
        who,
        action.what,
        action.subject[:SUBJECT_CHARACTERS_MAX],
        json.dumps(action.detail, default=str),
        node_id,
    )


async def recorded(
    conn: Connection,
    who: str,
    describe: Callable[[T], Action | None],
    unit: Callable[[Connection, *Ts], Awaitable[T]],
    *args: *Ts,
) -> T:
    """Runs a unit of work and records `describe(result)` in the same transaction. None: nothing has changed."""
    result = await unit(conn, *args)
    action = describe(result)
    if action is not None:
        await record_action(conn, who, action)
    return result


async def changer_of(conn: Connection, offer_name: str, changed_at: datetime) -> str | None:
    """Who changed the offer at that time, if the log has it: a change by SQL is in no row."""
    who = await conn.fetchval(
        "select who from actions where at between $1::timestamptz - interval '1 second' and $1 + interval '10 seconds'"
        " and what like '%offer%' and (subject = $2 or detail -> 'offers' ? $2) order by at desc limit 1",
        changed_at,
        offer_name,
    )
    return None if who is None else str(who)


def queued(urls: Sequence[str], country: str) -> Action:
    """URLs for the batch lane. A URL is named without its query, which may hold a person's click id."""
    subject = urls[0].partition("#")[0].partition("?")[0] if len(urls) == 1 else ""
    return Action("queue traces", subject, {"traces": len(urls), "country": country})


def changed_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The columns whose values differ: {"notes": {"from": None, "to": "autumn"}}."""
    return {
        name: {"from": before[name], "to": value}
        for name, value in after.items()
        if name not in UNCHANGING and before[name] != value
    }


def read_action(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its `detail`, which asyncpg gives as text, parsed."""
    return {**row, "detail": json.loads(row["detail"])}
