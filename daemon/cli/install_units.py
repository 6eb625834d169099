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
from daemon.errors import BadInput, TheirFault
from daemon.host import unit_files

Prefix = Annotated[Path, Parameter(metavar="DIRECTORY", help="Where the units are written.")]
UnitConfig = Annotated[
    Path | None,
    Parameter(name="--config", metavar="FILE", help="The settings that the units name; else /etc/tracepool/."),
]
Force = Annotated[
    bool, Parameter(negative=(), show_default=False, help="Overwrite files that say something else by now.")
]
NEXT = """Next:
    systemctl daemon-reload
    systemctl enable --now tracepool.socket tracepool.service
    systemctl status tracepool"""
MODE = 0o644


def install_units(
    *, prefix: Prefix = Path("/etc/systemd/system"), config: UnitConfig = None, force: Force = False
) -> None:
    """Write the systemd units: the service, its socket, and both for several on one host.

    They name this installation's own tracepool. tracepool@shop is a second one,
    with the settings /etc/tracepool/shop/tracepool.toml. Secrets are files in
    /etc/tracepool/credentials, such as database__url: systemd hands them over.
    What stands in the directory already and differs stays, and is shown.

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
            _show(path, before[path] or "", files[path])
        names = ", ".join(path.name for path in differing)
        raise TheirFault(f"{prefix}: nothing is written: {names} would be changed as shown; --force overwrites")
    for path, text in files.items():
        if before[path] != text:
            _write(path, text)
        verb = "written" if before[path] is None else "unchanged" if before[path] == text else "overwritten"
        say(f"{verb} {path}")
    if version is None or version < unit_files.RELOAD_SYSTEMD:
        have = "no systemd" if version is None else f"systemd {version}"
        warn(f"tracepool: without {unit_files.RELOAD}, which needs systemd {unit_files.RELOAD_SYSTEMD}: {have} here")
    for closed in _closed(installation):
        warn(f"tracepool: {closed} is closed to other users, and the daemon is one: chmod o+rx {closed}")
    say(NEXT)


def _command() -> Path:
    beside = Path(sys.prefix, "bin", "tracepool")
    if beside.exists():
        return beside
    if found := shutil.which("tracepool"):
        return Path(found)
    raise BadInput(f"no tracepool in {beside.parent}, nor on PATH, that a unit could start: pip install it first")


def _systemd_version() -> int | None:
    if (systemctl := shutil.which("systemctl")) is None:
        return None
    try:
        asked = subprocess.run([systemctl, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - a fixed program
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d+)", asked.stdout)
    return int(found[1]) if found else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror}") from None


def _show(path: Path, before: str, after: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), "what would be written", lineterm=""
    )
    warn("\n".join(lines))


def _write(path: Path, text: str) -> None:
    """Whole or not at all, readable by everybody."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text)
        unfinished.chmod(MODE)
        unfinished.replace(path)
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror}: run this as root, or name another directory with --prefix") from None


def _closed(installation: unit_files.Installation) -> list[Path]:
    """The directories on the way to the code that other users may not enter, where the unit does not bind past them."""
    ways = {
        step
        for place in installation.needs
        if not unit_files.is_below(place, unit_files.HIDDEN)
        for step in (place, *place.parents)
    } | {place for place in installation.needs if unit_files.is_below(place, unit_files.HIDDEN)}
    return sorted(way for way in ways if way.exists() and not os.stat(way).st_mode & 0o001)
