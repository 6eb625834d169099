"""Connection strings of PostgreSQL: read as libpq reads them, or refused by the name of the parameter."""

import pytest

from daemon.database.libpq import environment_of
from daemon.settings.connection_string import hosts_of, parameters_of, url_of

CANARY = "c4n4ry"
HEAD = "postgresql://u:pw@db.example/x"


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("postgresql://", {}),
        ("postgres://db.example", {"host": "db.example"}),
        ("postgresql://me:p%40ss%3Aw@db.example:5433/clicks?sslmode=require",
         {"user": "me", "password": "p@ss:w", "host": "db.example", "port": "5433", "dbname": "clicks",
          "sslmode": "require"}),
        ("postgresql://[2001:db8::1]:5432/x", {"host": "2001:db8::1", "port": "5432", "dbname": "x"}),
        ("postgresql://[2001:db8::1]/x", {"host": "2001:db8::1", "dbname": "x"}),
        ("postgresql://a.example:1,b.example/x", {"host": "a.example,b.example", "port": "1,", "dbname": "x"}),
        ("postgresql://u@%2Frun%2Fpostgresql/x", {"user": "u", "host": "/run/postgresql", "dbname": "x"}),
        ("postgresql://u:pw@/x?host=/cloudsql/project:region:name",
         {"user": "u", "password": "pw", "dbname": "x", "host": "/cloudsql/project:region:name"}),
        ("postgresql://db.example/x?host=other.example&port=6432",
         {"host": "other.example", "port": "6432", "dbname": "x"}),
        ("postgresql:///x?options=-c%20statement_timeout=5s", {"dbname": "x", "options": "-c statement_timeout=5s"}),
        ("postgresql:///x?password=a+b", {"dbname": "x", "password": "a+b"}),
        ("postgresql:///x?ssl=true", {"dbname": "x", "sslmode": "require"}),
        (f"{HEAD}?pgbouncer=true&connection_limit=1",
         {"user": "u", "password": "pw", "host": "db.example", "dbname": "x"}),
        ("postgresql:///?channel_binding=prefer&gssencmode=disable&client_encoding=UTF8", {}),
        ("  postgresql://db.example/x\n", {"host": "db.example", "dbname": "x"}),
        ("host=db.example port = 6432 dbname='my clicks' password='it\\'s' user=me",
         {"host": "db.example", "port": "6432", "dbname": "my clicks", "password": "it's", "user": "me"}),
        ("host=/run/pg password=a\\ b", {"host": "/run/pg", "password": "a b"}),
    ],
)  # fmt: skip
def test_a_connection_string_has_the_parameters_that_libpq_reads(text: str, parameters: dict[str, str]) -> None:
    assert parameters_of(text) == parameters


@pytest.mark.parametrize("raw", ["a:b", "a b", "[brackets]", "a=b&c", "a,b", "ü", "a+b", "it's"])
def test_a_password_may_be_pasted_where_only_one_reading_is_possible(raw: str) -> None:
    parameters = parameters_of(f"postgresql://user:{raw}@db.example:5432/x")
    assert parameters == {"user": "user", "password": raw, "host": "db.example", "port": "5432", "dbname": "x"}
    assert parameters_of(url_of(parameters)) == parameters


@pytest.mark.parametrize(
    "login",
    [
        "{}?{}",
        "{}#{}",
        "{}/{}",
        "12/{}",
        "{}?a={}",
        "{}?sslmode={}",
        "{}/?{}=1",
        "at@{}/{}",
        "at@{}?{}=5",
        "1/{}?{}&{}",
    ],
)
def test_a_password_with_a_delimiter_is_refused_without_a_part_of_it(login: str) -> None:
    text = f"postgresql://u:{login.replace('{}', CANARY)}@db.example:5432/x"
    with pytest.raises(ValueError, match=r"percent-encoded.*%3F") as refused:
        parameters_of(text)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mysql://db.example/x", "postgresql://"),
        ("postgresql+asyncpg://db.example/x", "postgresql://"),
        ("c4n4ry", "postgresql://"),
        ("postgresql://u:c4n4ry", "port"),
        ("postgresql://u:pw@db.example:99999/x", "port"),
        ("postgresql://a,b:1,c:2/x?port=1,2", "ports"),
        ("postgresql://u:c4n4ry@[::1/x", "brackets"),
        ("postgresql://u:c4n4ry@2001:db8::1/x", "brackets"),
        (f"{HEAD}?sslmode=no-verify", "sslmode must be one of disable, .*verify-full"),
        (f"{HEAD}?sslmode=verify-ca&sslrootcert=system", "sslrootcert=system"),
        (f"{HEAD}?sslnegotiation=direct", "sslnegotiation"),
        (f"{HEAD}?channel_binding=require", "channel_binding"),
        (f"{HEAD}?gssencmode=require", "gssencmode"),
        (f"{HEAD}?client_encoding=LATIN1", "client_encoding"),
        (f"{HEAD}?target_session_attrs=master", "target_session_attrs .*read-write"),
        (f"{HEAD}?connect_timeout=soon", "connect_timeout"),
        (f"{HEAD}?keepalives_idle=c4n4ry", "keepalives_idle"),
        (f"{HEAD}?service=main", "service"),
        (f"{HEAD}?require_auth=none", "require_auth"),
        (f"{HEAD}?hostaddr=192.0.2.1&host=db.example", "hostaddr"),
        (f"{HEAD}?schema=clicks", "database.schema"),
        (f"{HEAD}?ssl=no", "sslmode"),
        (f"{HEAD}?statement_timeout=5s", "statement_timeout.*options"),
        (f"{HEAD}?sslmode", "name=value"),
        ("postgresql:///x?password=a&c4n4ry=b", "a parameter, .*%26"),
        ("host=db.example password=a c4n4ry", "pairs"),
        ("host=db.example password='c4n4ry", "quote"),
        ("password=a 'c4n4ry=1", "a parameter"),
        ("postgresql://u:c4n4ry%00@db.example/x", "%00"),
        ("postgresql://u:c4n4ry%ff@db.example/x", "UTF-8"),
        ("postgresql://u:c4n4ry\n@db.example/x", "one line"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_and_without_a_value(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        parameters_of(text)
    assert CANARY not in str(refused.value)
    assert "pw" not in str(refused.value)


def test_each_host_has_its_port() -> None:
    assert hosts_of(parameters_of("postgresql://a:1,b/x")) == [("a", 1), ("b", None)]
    assert hosts_of(parameters_of("host=a,b port=7")) == [("a", 7), ("b", 7)]
    assert hosts_of({}) == [(None, None)]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:p%2Fw@a.example:1,b.example:2/x?target_session_attrs=read-write",
        "postgresql://u@/x?host=/run/postgresql&port=6432",
        "postgresql://u:%5Bx%5D@[2001:db8::1]:5432/x",
    ],
)
def test_a_connection_string_is_given_to_other_programs_with_the_same_meaning(text: str) -> None:
    assert url_of(parameters_of(text)) == text


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("postgresql://me:p%40ss%3Aw@db.example:5433/clicks?sslmode=require",
         {"PGUSER": "me", "PGPASSWORD": "p@ss:w", "PGHOST": "db.example", "PGPORT": "5433", "PGDATABASE": "clicks",
          "PGSSLMODE": "require"}),
        ("postgresql://a.example:1,b.example:2/x", {"PGHOST": "a.example,b.example", "PGPORT": "1,2",
                                                   "PGDATABASE": "x"}),
        (r"host=a options='-c search_path=x\\ y'", {"PGHOST": "a", "PGOPTIONS": r"-c search_path=x\ y"}),
        ("postgresql:///x?keepalives=1&fallback_application_name=clicks", {"PGDATABASE": "x", "PGAPPNAME": "clicks"}),
    ],
)  # fmt: skip
def test_the_parameters_become_libpqs_variables(text: str, environment: dict[str, str]) -> None:
    assert environment_of(parameters_of(text)) == environment


def test_the_search_path_of_a_session_follows_other_options() -> None:
    environment = environment_of({"options": "-c geqo=off"}, '"my schema", public')
    assert environment == {"PGOPTIONS": r'-c geqo=off -c search_path="my\ schema",\ public'}
