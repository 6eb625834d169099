"""Builds the indexes of indexes.sql: in the background, beside clicks, by one node.

A migration that builds an index of a large table keeps a daemon from starting, and other nodes from writing rows. So
these indexes are built by CREATE INDEX CONCURRENTLY, after the start. The node that inserts the row of the present
minute in the table rounds builds them. A build that was killed leaves an invalid index: it is dropped and built anew.
"""

import re
from dataclasses import dataclass
from importlib.resources import files
from uuid import UUID

import structlog
import trio

from daemon.database.postgres import Database
from daemon.database.sql import identifier
from daemon.errors import DatabaseUnavailable
from daemon.troubles import Troubles

ROUND = "indexes"
"""The name in the table rounds."""
CLAIM_S = 60.0
LOOK_S = 10.0  # while indexes are missing; also between two lines on the progress
LOOK_SELDOM_S = 600.0
BUILDING = "building an index"
STATEMENT = re.compile(r"create index (\w+) on (\w+)\s+(.+)", re.DOTALL)

log = structlog.get_logger("daemon.database")


@dataclass(frozen=True, slots=True)
class Index:
    """`what`: the rest of the statement, after the name of the table."""

    name: str
    table: str
    what: str

    def create(self, schema: str) -> str:
        return f"create index concurrently if not exists {self.name} on {identifier(schema)}.{self.table} {self.what}"


def indexes_of(script: str) -> tuple[Index, ...]:
    code = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    return tuple(
        Index(*found.groups())
        for statement in code.split(";")
        if (found := STATEMENT.fullmatch(statement.strip())) is not None
    )


def wanted_indexes() -> tuple[Index, ...]:
    return indexes_of(files("daemon.database").joinpath("indexes.sql").read_text())


@dataclass(slots=True, eq=False)
class IndexBuilder:
    database: Database
    troubles: Troubles
    node_id: UUID
    indexes: tuple[Index, ...]

    async def run(self) -> None:
        while True:
            try:
                is_complete = await self.build_missing()
            except DatabaseUnavailable as e:
                self.troubles.note(BUILDING, e, effect="it is built later; clicks go on, some lists are slower")
                is_complete = False
            else:
                self.troubles.over(BUILDING)
            await trio.sleep(LOOK_SELDOM_S if is_complete else LOOK_S)

    async def build_missing(self) -> bool:
        """Builds the missing indexes, if this node is the one that does. Raises DatabaseUnavailable.

        Whether nothing is to be done: none was missing, or this role may not build them.
        """
        names, tables = [index.name for index in self.indexes], [index.table for index in self.indexes]
        states = {row["name"]: row for row in await self.database.fetch("index_states", names, tables)}
        missing = [index for index in self.indexes if not states[index.name]["is_valid"]]
        if not missing or any(states[index.name]["is_being_built"] for index in missing):
            return not missing
        if not all(states[index.name]["is_owned"] for index in missing):
            remedy = " ".join(f"{index.create(self.database.schema)};" for index in missing)
            log.warning("indexes_missing", indexes=[index.name for index in missing],
                        why="only the owner of the tables may build them", next=f"as the owner: {remedy}")  # fmt: skip
            return True
        [claim] = await self.database.fetch("claim_round", ROUND, CLAIM_S, self.node_id, False)
        if claim["is_mine"]:
            for index in missing:
                await self._build(index, is_invalid=states[index.name]["exists"])
        return False

    async def _build(self, index: Index, *, is_invalid: bool) -> None:
        began_s = trio.current_time()
        log.info("index_begins", index=index.name, table=index.table, effect="clicks go on", again=is_invalid)
        fault: DatabaseUnavailable | None = None
        async with self.database.own_connection(None) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(self._report, index, began_s)
            try:
                await connection.execute("set statement_timeout = 0")  # a role's own limit
                if is_invalid:
                    schema = identifier(self.database.schema)
                    await connection.execute(f"drop index concurrently if exists {schema}.{index.name}")
                await connection.execute(index.create(self.database.schema))
            except DatabaseUnavailable as e:  # the nursery would raise a group of it
                fault = e
            nursery.cancel_scope.cancel()
        if fault is not None:
            raise fault
        log.info("index_built", index=index.name, after_s=round(trio.current_time() - began_s, 1))

    async def _report(self, index: Index, began_s: float) -> None:
        while True:
            await trio.sleep(LOOK_S)
            try:
                rows = await self.database.fetch("indexes_being_built")
            except DatabaseUnavailable:
                continue
            for row in rows:
                if row["name"] == index.name:
                    log.info("index_being_built", index=index.name, phase=row["phase"], percent=row["percent"] or 0,
                             for_s=round(trio.current_time() - began_s))  # fmt: skip
