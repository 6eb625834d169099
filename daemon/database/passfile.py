"""The password file of libpq (the manual's 34.16): lines of host:port:database:user:password.

asyncpg's own reading leaves the backslashes in a password, and fails at a line with fewer fields.
"""

import os
import re
import stat
from pathlib import Path

LINE = re.compile(r"((?:\\.|[^:\\])*):" * 4 + "(.*)")
ESCAPED = re.compile(r"\\(.)")


def password_of(passfile: str | None, host: str | None, port: int | None, database: str, role: str) -> str | None:
    """The password of the first line that matches; None if no line does, or other accounts may read the file.

    `passfile`: as in the connection string; None is $PGPASSFILE, else ~/.pgpass. `host` and `port`: None is libpq's
    default. A Unix socket is found under its directory and under localhost.
    """
    at = host or os.environ.get("PGHOST") or "localhost"
    hosts = {at, "localhost"} if at.startswith("/") else {at}
    wanted = (hosts, {str(port or os.environ.get("PGPORT") or 5432)}, {database}, {role})
    for line in _lines(passfile or os.environ.get("PGPASSFILE")):
        if line.startswith("#") or not (found := LINE.fullmatch(line)):
            continue
        *fields, password = found.groups()
        if all(field == "*" or _plain(field) in allowed for field, allowed in zip(fields, wanted, strict=True)):
            return _plain(password) or None
    return None


def _lines(named: str | None) -> list[str]:
    try:
        path = Path(named) if named else Path("~/.pgpass").expanduser()
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
            return []
        return path.read_text("utf-8", errors="replace").replace("\r\n", "\n").split("\n")
    except (OSError, RuntimeError):  # no file, or no home directory
        return []


def _plain(field: str) -> str:
    return ESCAPED.sub(r"\1", field)
