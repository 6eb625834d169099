"""The statements of the .sql files, by name: `-- name: x` begins one, which goes to the next such line."""

from importlib.resources import files


def _read_queries() -> dict[str, str]:
    queries: dict[str, str] = {}
    for file in ("queries.sql", "evidence.sql"):
        for part in files("daemon.database").joinpath(file).read_text().split("-- name: ")[1:]:
            name, _, statement = part.partition("\n")
            queries[name.strip()] = statement.strip()
    return queries


QUERIES = _read_queries()
