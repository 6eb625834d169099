"""Passwords from a password file, as libpq reads it."""

from pathlib import Path

import pytest

from daemon.database.passfile import password_of

LINES = r"""# host:port:database:user:password
too:few
db.example:5432:*:ana:plain
db.example:*:shop:bob:p?a#s/w%d@\:x\\y
db.example:*:odd\:name:bob:a:b\!
[2001:db8::9]:1:x:y:not reached
2001\:db8\:\:9:5432:*:ana:six
/run/pg:*:*:ana:by directory
localhost:*:*:ana:by localhost
*:*:*:eve:
"""


@pytest.fixture
def passfile(tmp_path: Path) -> Path:
    path = tmp_path / "pgpass"
    path.write_text(LINES)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("host", "port", "database", "role", "password"),
    [
        ("db.example", None, "shop", "ana", "plain"),
        ("db.example", 5433, "shop", "ana", None),
        ("db.example", 5433, "shop", "bob", r"p?a#s/w%d@:x" + "\\y"),
        ("db.example", 1, "odd:name", "bob", "a:b!"),
        ("2001:db8::9", None, "shop", "ana", "six"),
        ("/run/pg", None, "shop", "ana", "by directory"),
        ("/run/other", None, "shop", "ana", "by localhost"),
        (None, None, "shop", "ana", "by localhost"),
        ("db.example", None, "shop", "eve", None),
    ],
)
def test_a_password_is_found_as_libpq_finds_it(
    passfile: Path, monkeypatch: pytest.MonkeyPatch, host: str, port: int, database: str, role: str, password: str
) -> None:
    for name in ("PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    assert password_of(str(passfile), host, port, database, role) == password
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    assert password_of(None, host, port, database, role) == password


def test_a_file_that_others_may_read_is_ignored(passfile: Path) -> None:
    passfile.chmod(0o640)
    assert password_of(str(passfile), "db.example", None, "shop", "ana") is None
    assert password_of(str(passfile / "none"), "db.example", None, "shop", "ana") is None
