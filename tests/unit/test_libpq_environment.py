"""libpq's environment variables for a URL, so that no password is on a command line."""

import pytest

from daemon.database.libpq import environment_of


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        (
            "postgresql://tracepool@/tracepool?host=/var/lib/tracepool/postgres/run",
            {"PGUSER": "tracepool", "PGDATABASE": "tracepool", "PGHOST": "/var/lib/tracepool/postgres/run"},
        ),
        (
            "postgres://me:p%40ss%3Aw@db.example:5433/clicks?sslmode=require",
            {"PGUSER": "me", "PGPASSWORD": "p@ss:w", "PGHOST": "db.example", "PGPORT": "5433", "PGDATABASE": "clicks",
             "PGSSLMODE": "require"},
        ),
        ("postgresql://[2001:db8::1]:5432/x", {"PGHOST": "2001:db8::1", "PGPORT": "5432", "PGDATABASE": "x"}),
        ("postgresql://[2001:db8::1]/x", {"PGHOST": "2001:db8::1", "PGDATABASE": "x"}),
        ("postgresql://a.example:1,b.example:2/x", {"PGHOST": "a.example,b.example", "PGPORT": "1,2",
                                                   "PGDATABASE": "x"}),
        ("postgresql://db.example", {"PGHOST": "db.example"}),
        ("postgresql:///x?search_path=a%20b", {"PGDATABASE": "x", "PGOPTIONS": r"-c search_path=a\ b"}),
        ("postgresql:///x?password=secret", {"PGDATABASE": "x", "PGPASSWORD": "secret"}),
    ],
)  # fmt: skip
def test_an_address_becomes_libpq_variables(url: str, environment: dict[str, str]) -> None:
    assert environment_of(url) == environment
