"""`tracepool install-units`: the systemd units, with the paths of this installation."""

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from daemon.cli.output import say, warn
from daemon.cli.session import flag
from daemon.errors import BadInput, TheirFault
from daemon.host import unit_files

Prefix = Annotated[Path, Parameter(metavar="DIRECTORY", help="Where the units are written.")]
UnitConfig = Annotated[
    Path | None,
    Parameter(name="--config", metavar="FILE", help="The settings file of the units; else in /etc/tracepool/."),
]
Force = Annotated[bool, flag("Overwrite files that differ.")]
NEXT = (
    "Next:",
    "    systemctl daemon-reload",
    "    systemctl enable --now tracepool.socket tracepool.service",
    "    systemctl status tracepool",
)
MODE = 0o644


def install_units(
    *, prefix: Prefix = Path("/etc/systemd/system"), config: UnitConfig = None, force: Force = False
) -> None:
    """Write the systemd units: the service and its socket, and both as templates.

    They start the tracepool of this installation. The templates are for several
    daemons on one host: tracepool@shop has the settings file
    /etc/tracepool/shop/tracepool.toml. Secrets are files in
    /etc/tracepool/credentials, such as database__url, which systemd passes on.
    If a file exists and differs, the difference is shown and nothing is written.

        tracepool install-units
        tracepool install-units --prefix ./units
    """
    installation = unit_files.this_installation(_command(), config)
    version = _systemd_version()
    files = {prefix / name: text for name, text in unit_files.units(installation, version).items()}
    before = {path: _read(path) for path in files}
    differing = [path for path, text in files.items() if before[path] not in (None, text)]
    if differing and not force:
        for path in differing:
            old, new = (before[path] or "").splitlines(), files[path].splitlines()
            for line in difflib.unified_diff(old, new, str(path), "what would be written", lineterm=""):
                warn(line)
        names = ", ".join(path.name for path in differing)
        raise TheirFault(f"{prefix}: nothing is written: {names} would be changed as shown; --force overwrites")
    for path, text in files.items():
        if before[path] != text:
            _write(path, text)
        verb = "written" if before[path] is None else "unchanged" if before[path] == text else "overwritten"
        say(f"{verb} {path}")
    if version is None or version < unit_files.RELOAD_SYSTEMD:
        have = "no systemd" if version is None else f"systemd {version}"
        warn(
            f"tracepool: {unit_files.RELOAD} is left out: it needs systemd {unit_files.RELOAD_SYSTEMD}, this is {have}"
        )
    for closed in _closed(installation):
        warn(f"tracepool: the daemon runs as another user and may not enter {closed}: chmod o+rx {closed}")
    for line in NEXT:
        say(line)


def _command() -> Path:
    beside = Path(sys.prefix, "bin", "tracepool")
    if beside.exists():
        return beside
    if found := shutil.which("tracepool"):
        return Path(found)
    raise BadInput(f"there is no tracepool in {beside.parent} or on PATH for a unit to start: pip install it first")


def _systemd_version() -> int | None:
    if (systemctl := shutil.which("systemctl")) is None:
        return None
    try:
        done = subprocess.run([systemctl, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - a fixed program
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror}") from None


def _write(path: Path, text: str) -> None:
    """Replace the file atomically, readable by everybody."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text)
        unfinished.chmod(MODE)
        unfinished.replace(path)
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror}: run this as root, or name another directory with --prefix") from None


def _closed(installation: unit_files.Installation) -> list[Path]:
    """The directories of the code, and their parents, that other users may not enter.

    Parents do not matter where the unit binds a directory itself.
    """
    paths = set(installation.needs)
    for path in installation.needs:
        if not unit_files.is_below(path, unit_files.HIDDEN):
            paths.update(path.parents)
    return sorted(path for path in paths if path.exists() and not os.stat(path).st_mode & 0o001)
