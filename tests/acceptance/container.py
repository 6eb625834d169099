"""Debian's systemd, booted in a container: the root file system by debootstrap, the processes by systemd-nspawn.

The container has its own network, /tmp, /run, processes and control groups. Its writes go to memory, above the root
file system, which is kept for the next run. It uses this run's interpreter, packages and sources, read-only.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.needs import need
from tests.support.processes import REPOSITORY
from tests.support.waiting import wait_until

CACHE = Path("/var/cache/tracepool-tests")
# libnss-systemd: the embedded PostgreSQL asks for the name of its account, which DynamicUser= makes up. The rest of
# Python brings the libraries that every Python links to.
PACKAGES = ("systemd", "systemd-sysv", "libnss-systemd", "python3-minimal", "libpython3-stdlib")
MAKE_S, BOOT_S, PATIENCE_S = 900.0, 60.0, 30.0
CGROUPS = Path("/sys/fs/cgroup")
INSTALLED = Path("/opt/tracepool")
PATH = f"{INSTALLED}/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# In a mount namespace of its own: without systemd on this machine, nspawn's files in /run would remain.
LAUNCH = """set -e
for group in $GROUPS_OF_OURS; do echo $$ > $group/cgroup.procs; done
[ -d /run/systemd/system ] || mount -t tmpfs run /run
mount -t tmpfs scratch "$SCRATCH"
mkdir "$SCRATCH/over" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay root -o "lowerdir=$FILES:$BASE,upperdir=$SCRATCH/over,workdir=$SCRATCH/work" "$SCRATCH/root"
exec systemd-nspawn --directory="$SCRATCH/root" --machine=tracepool --boot --private-network --register=no \
    --link-journal=no --resolv-conf=off --timezone=off --console=read-only "$@"
"""
START = """#!{bin}/python3 -I
import sys
sys.path.insert(0, {source!r})
from daemon.__main__ import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Container:
    """A booted system. `leader`: the number of its process 1 on this machine."""

    leader: int

    def run(
        self, *command: str, check: bool = True, stdin: str = "", timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as root."""
        inside = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        done = subprocess.run(
            [*inside, "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    @contextmanager
    def visitor(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program of this machine in the container's network."""
        process = subprocess.Popen(
            ["nsenter", f"--target={self.leader}", "--net", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text)

    def show(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def log(self, unit: str, event: str | None = None) -> list[dict[str, Any]]:
        """The daemon's lines of JSON in systemd's journal, or those of one event."""
        text = self.run("journalctl", "--quiet", "--no-pager", "--output=cat", f"--unit={unit}").stdout
        lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"')]
        return [line for line in lines if event is None or line["event"] == event]

    def until(self, holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        try:
            return wait_until(holds, what, patience_s)
        except AssertionError as error:
            units = self.run("systemctl", "status", "--no-pager", "--full", "tracepool*", check=False).stdout
            raise AssertionError(f"{error}\n{units}") from None


@contextmanager
def booted(files: Path) -> Iterator[Container]:
    """Run a container with `files` on its file system and tracepool in /opt/tracepool, until the block ends.

    Skips the test if no container can be booted on this machine.
    """
    need("systemd-container", "systemd-nspawn")
    base = root_file_system()
    binds = _install(files)
    with _control_groups() as groups, (files.parent / "boot.log").open("w+") as boot_log:
        scratch = files.parent / "scratch"
        scratch.mkdir()
        keep = [] if Path("/run/systemd/system").exists() else ["--keep-unit"]
        nspawn = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-c", LAUNCH, "sh", *keep, *binds],
            stdin=subprocess.DEVNULL,
            stdout=boot_log,
            stderr=subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "GROUPS_OF_OURS": " ".join(map(str, groups)),
                "SCRATCH": str(scratch),
                "FILES": str(files),
                "BASE": str(base),
            },
            start_new_session=True,
        )
        leader = None
        try:
            leader = _process_1(nspawn)
            if leader is None or not _is_up(container := Container(leader), nspawn):
                boot_log.seek(0)
                last = (boot_log.read().strip().splitlines() or ["nothing"])[-1]
                pytest.skip(f"Debian's systemd cannot be booted in a container here; systemd-nspawn said: {last}")
            yield container
        finally:
            with suppress(ProcessLookupError):
                os.kill(leader or nspawn.pid, signal.SIGKILL)  # the end of its process 1 ends the container
            try:
                nspawn.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()


def root_file_system() -> Path:
    """Debian of this machine's release, from debootstrap; it is made once, in one to two minutes, and kept."""
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME", "") if release.get("ID") == "debian" else ""
    if not Path("/usr/share/debootstrap/scripts", suite or "none").exists():
        suite = "bookworm"
    made = CACHE / f"{suite}-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:8]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if made.exists():
            return made
        debootstrap, unfinished = need("debootstrap"), made.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [debootstrap, "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(unfinished)]
        making = subprocess.run(
            ["unshare", "--mount", "--propagation=private", *command],
            capture_output=True,
            text=True,
            timeout=MAKE_S,
            check=False,
        )
        if making.returncode:
            last = (making.stdout + making.stderr).strip().splitlines()[-1]
            pytest.skip(f"debootstrap cannot make a root file system here; it said: {last}")
        for archive in (unfinished / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        unfinished.rename(made)
    return made


def _install(files: Path) -> list[str]:
    """Make a virtual environment like this run's in /opt/tracepool. Returns the paths that nspawn binds for it."""
    python, packages = Path(os.path.realpath(sys.executable)), Path(sysconfig.get_path("purelib"))
    home = files / INSTALLED.relative_to("/")
    inside = INSTALLED / "lib" / packages.parent.name / "site-packages"
    for directory in (home / "bin", home / "source", files / inside.relative_to("/")):
        directory.mkdir(parents=True)
    (home / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    (home / "bin" / "python3").symlink_to(python)
    start = home / "bin" / "tracepool"
    start.write_text(START.format(bin=INSTALLED / "bin", source=str(INSTALLED / "source")))
    start.chmod(0o755)
    bound = {packages: inside}
    for part in ("daemon", "systemd", "config"):
        bound[REPOSITORY / part] = INSTALLED / "source" / part
    if sys.base_prefix != "/usr":
        bound[Path(os.path.realpath(sys.base_prefix))] = Path(os.path.realpath(sys.base_prefix))
    return [f"--bind-ro={outer}:{inner}" for outer, inner in bound.items()]


@contextmanager
def _control_groups() -> Iterator[list[Path]]:
    """Make a control group in each hierarchy that systemd uses; nspawn works below them."""
    hierarchies = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else [CGROUPS / "unified", CGROUPS / "systemd"]
    groups = [hierarchy / f"tracepool-tests-{os.getpid()}" for hierarchy in hierarchies if hierarchy.exists()]
    if Path("/run/systemd/system").exists():
        groups = []  # the machine's systemd puts nspawn into a scope
    try:
        for group in groups:
            group.mkdir()
    except OSError as e:
        pytest.skip(f"no control group can be made here, so that no systemd can be booted: {e}")
    try:
        yield groups
    finally:
        for group in groups:
            for inner in sorted(group.rglob("*/"), reverse=True):
                with suppress(OSError):
                    inner.rmdir()
            with suppress(OSError):
                group.rmdir()


def _process_1(nspawn: subprocess.Popen[bytes]) -> int | None:
    end_s = time.monotonic() + BOOT_S
    while nspawn.poll() is None and time.monotonic() < end_s:
        for child in psutil.Process(nspawn.pid).children():
            with suppress(OSError):
                status = Path(f"/proc/{child.pid}/status").read_text()
                if "NSpid:" in status and status.split("NSpid:")[1].splitlines()[0].split()[1:] == ["1"]:
                    return child.pid
        time.sleep(0.02)
    return None


def _is_up(container: Container, nspawn: subprocess.Popen[bytes]) -> bool:
    end_s = time.monotonic() + BOOT_S
    while nspawn.poll() is None and time.monotonic() < end_s:
        done = container.run("systemctl", "is-system-running", "--wait", check=False, timeout_s=BOOT_S)
        if done.stdout.strip() in ("running", "degraded"):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    root_file_system()
