"""The named statements of the .sql files. `-- name: x` begins one; it ends at the next such line."""

from importlib.resources import files


def _read_queries() -> dict[str, str]:
    queries: dict[str, str] = {}
    for file in ("queries.sql", "evidence.sql", "retention.sql", "setup.sql"):
        for part in files("daemon.database").joinpath(file).read_text().split("-- name: ")[1:]:
            name, _, statement = part.partition("\n")
            queries[name.strip()] = statement.strip()
    return queries


QUERIES = _read_queries()
