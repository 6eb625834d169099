"""The GRANT statements for a role that reads or edits the tables by SQL."""

from daemon.database.queries import QUERIES
from daemon.database.schema import RECORD, migrations, relations_of
from daemon.database.sessions import Connection
from daemon.database.sql import identifier

SECRET_COLUMNS = {"ip_rotation_pool": ("password",)}
"""A read-only role, such as that of a dashboard, does not get these."""


async def grants(conn: Connection, schema: str, role: str, *, read_only: bool) -> list[str]:
    """A unit of work: the statements, for the tables and sequences that exist and those of later versions."""
    names = [RECORD, *relations_of(migrations())]
    relations = await conn.fetch(QUERIES["relations"], schema, names)
    owner = next(row["owner"] for row in relations if row["name"] == RECORD)
    columns = await conn.fetch(QUERIES["relation_columns"], schema, list(SECRET_COLUMNS))
    named, to = identifier(schema), identifier(role)
    rights = "select" if read_only else "select, insert, update, delete"
    statements = [f"grant usage on schema {named} to {to};"]
    for row in relations:
        name = f"{named}.{identifier(row['name'])}"
        secret = SECRET_COLUMNS.get(row["name"], ()) if read_only else ()
        if row["kind"] == "S":
            if not read_only:
                statements.append(f"grant usage on sequence {name} to {to};")
        elif row["name"] == RECORD:
            statements.append(f"grant select on {name} to {to};")
        elif secret:
            open_ones = [c["name"] for c in columns if c["relation"] == row["name"] and c["name"] not in secret]
            statements.append(f"grant select ({', '.join(map(identifier, open_ones))}) on {name} to {to};")
        else:
            statements.append(f"grant {rights} on {name} to {to};")
    later = f"alter default privileges for role {identifier(owner)} in schema {named} grant"
    statements.append(f"{later} {rights} on tables to {to};")
    if not read_only:
        statements.append(f"{later} usage on sequences to {to};")
    return statements
