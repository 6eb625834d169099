"""How many processes, and what each of them is started with."""

import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import daemon
from daemon.host import child
from daemon.host.state_dir import directory_of, retired_directories
from daemon.settings.model import ENV_PREFIX, Settings

NAME_CHARACTERS_MAX = 64
CONNECTIONS_MAX = 4  # of a process's pool, unless database.connections_max is set: N processes share the statements
FURTHER_CONNECTIONS = 3  # of a process, beside its pool
OF_A_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def count_of(settings: Settings) -> int:
    """With "auto" one process for each CPU that this process may use."""
    return len(os.sched_getaffinity(0)) if settings.processes == "auto" else settings.processes


def needs_parent(settings: Settings) -> bool:
    """With one process only if the node of a further process of an earlier run has not ended yet."""
    count = count_of(settings)
    return count > 1 or bool(retired_directories(settings.state_dir, count))


def connections_of(settings: Settings, count: int) -> int:
    """How many connections to PostgreSQL all processes may open."""
    return count * (_pool_size(settings) + FURTHER_CONNECTIONS)


def _pool_size(settings: Settings) -> int:
    is_set = "connections_max" in settings.database.model_fields_set
    return settings.database.connections_max if is_set else CONNECTIONS_MAX


@dataclass(frozen=True, slots=True)
class Plan:
    """What all children are started with. `url`: of the embedded PostgreSQL; None with database.url.

    `passed`: the descriptors of the listeners and their names. `watchdog_s`: after so long without a report a child is
    killed.
    """

    settings: Settings
    config_file: Path | None
    count: int
    url: str | None
    passed: Sequence[tuple[int, str]]
    notify: str
    watchdog_s: float

    def name_of(self, number: int) -> str:
        """The node's name. One process alone keeps the name."""
        suffix = f"-{number}" if self.count > 1 or number > 1 else ""
        return self.settings.node.shown_name()[: NAME_CHARACTERS_MAX - len(suffix)] + suffix

    def command(self, *, is_retired: bool = False) -> list[str]:
        program = [sys.executable, "-P", "-m", "daemon", "serve"]
        if self.config_file is not None:
            program += ["--config", str(self.config_file)]
        return child.command_of([] if is_retired else [fd for fd, _ in self.passed], program)

    def environment(self, number: int, environ: Mapping[str, str], *, is_retired: bool = False) -> dict[str, str]:
        """Of process `number`: this process's environment, in which the child's own settings override all others."""
        found = {name: value for name, value in environ.items() if name not in OF_A_MANAGER}
        package = str(Path(daemon.__file__).parents[1])
        if package not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
            found["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environ.get("PYTHONPATH"))))
        found[f"{ENV_PREFIX}STATE_DIR"] = str(directory_of(self.settings.state_dir, number))
        found[f"{ENV_PREFIX}NODE__NAME"] = self.name_of(number)
        found[f"{ENV_PREFIX}DATABASE__CONNECTIONS_MAX"] = str(_pool_size(self.settings))
        if self.url is not None:
            found[f"{ENV_PREFIX}DATABASE__URL"] = self.url
        if is_retired:
            return found | {child.ROLE: child.RETIRE}
        found["NOTIFY_SOCKET"] = self.notify
        found["WATCHDOG_USEC"] = str(round(self.watchdog_s * 1e6))
        found["LISTEN_FDS"] = str(len(self.passed))
        found["LISTEN_FDNAMES"] = ":".join(name for _, name in self.passed)
        return found | {child.ROLE: child.SERVE}
