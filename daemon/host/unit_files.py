"""The systemd units with the paths of this installation.

The unit files are in systemd/ of the sources; the wheel has them as daemon/units.
"""

import os
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import daemon
from daemon.errors import BadInput

UNITS = ("tracepool.service", "tracepool.socket", "tracepool@.service", "tracepool@.socket")
RELOAD = "notify-reload.conf"
RELOAD_SYSTEMD = 253
"""The first version with Type=notify-reload."""

# The parts of the shipped units that depend on the installation. Each occurs once.
SEARCHED = "Environment=PATH=/opt/tracepool/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
SHELL = """ExecStart=/bin/sh -c 'trap "" HUP; exec "$$0" "$$@"' """
START = f"{SHELL}/usr/bin/env tracepool serve"
INSTANCE_CONFIG = " --config /etc/tracepool/%i/tracepool.toml"
NO_HOME = "ProtectHome=yes\n"
ROOT_OPEN = "TemporaryFileSystem=/root:ro,mode=0755\n"  # with ProtectHome=tmpfs alone the daemon may not enter it

HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))  # hidden by ProtectHome=
HIDDEN = (*HOMES, Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - and by PrivateTmp=
_PLAIN = re.compile(r"[A-Za-z0-9/._+@~=,-]+")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\"'\\$:]+")


@dataclass(frozen=True, slots=True)
class Installation:
    """`command`: the `tracepool` program. `needs`: the directories of its code. `config`: None for the default path."""

    command: Path
    needs: tuple[Path, ...]
    config: Path | None = None


def this_installation(command: Path, config: Path | None) -> Installation:
    """The running interpreter, its packages, and the sources of this module."""
    places = [Path(sys.prefix), Path(sys.base_prefix), Path(daemon.__file__).parents[1], command.parent]
    # A virtual environment may refer to its interpreter by symbolic links: links and targets are needed.
    needs = {place.absolute() for place in places} | {Path(os.path.realpath(place)) for place in places}
    return Installation(command.absolute(), tuple(sorted(needs)), config and config.absolute())


def shipped(name: str) -> str:
    """The text of a unit file of the sources."""
    package = Path(daemon.__file__).parent
    packed = package / "units" / name
    return (packed if packed.exists() else package.parent / "systemd" / name).read_text()


def units(installation: Installation, systemd_version: int | None) -> dict[str, str]:
    """The texts of the units by their file names relative to the directory of units.

    Raises BadInput if a path has characters that a unit does not allow.
    """
    files = {name: _with_paths(shipped(name), installation) for name in UNITS}
    if systemd_version is not None and systemd_version >= RELOAD_SYSTEMD:
        files |= {f"{name}.d/{RELOAD}": shipped(RELOAD) for name in UNITS if name.endswith(".service")}
    return files


def _with_paths(text: str, installation: Installation) -> str:
    if START not in text:
        return text
    start, instance = f"{SHELL}{_word(installation.command)} serve", INSTANCE_CONFIG in text
    if installation.config is not None:
        folder, name = installation.config.parent, installation.config.name
        start += f" --config {_word(folder, '%i', name) if instance else _word(folder, name)}"
    elif instance:
        start += INSTANCE_CONFIG
    text = text.replace(SEARCHED, "").replace(START + (INSTANCE_CONFIG if instance else ""), start)
    config = (installation.config.parent,) if installation.config is not None else ()
    if hidden := outermost(path for path in (*installation.needs, *config) if is_below(path, HIDDEN)):
        lines = "ProtectHome=tmpfs\n" if any(is_below(path, HOMES) for path in hidden) else NO_HOME
        if any(is_below(path, (Path("/root"),)) for path in hidden):
            lines += ROOT_OPEN
        text = text.replace(NO_HOME, lines + "".join(f"BindReadOnlyPaths={_word(path)}\n" for path in hidden))
    return text


def is_below(path: Path, directories: Collection[Path]) -> bool:
    return any(path.is_relative_to(directory) for directory in directories)


def outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths that are not below another one of them."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not is_below(path, kept):
            kept.append(path)
    return kept


def _word(*parts: Path | str) -> str:
    """A path as one word of a unit. A part of type str is a specifier or a file name."""
    for part in parts:
        if isinstance(part, Path) and not _PRINTABLE.fullmatch(str(part)):
            raise BadInput(f"{part}: a path in a unit cannot have quotes, colons, $, backslashes or control characters")
    path = "/".join(str(part).replace("%", "%%") if part != "%i" else "%i" for part in parts)
    return path if _PLAIN.fullmatch(path.replace("%", "")) else f'"{path}"'
