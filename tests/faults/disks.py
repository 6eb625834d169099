"""The spool's disk refuses I/O: clicks are still answered, and entries wait in memory; the log and `status` say so."""

import contextlib
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import trio

from tests.faults.scene import until
from tests.faults.stage import REPORT, Fault, Stage
from tests.faults.use_of_ips import stopped, used

WRITES_NTH_MAX = 30
REFUSED_FOR_S = 1.5
RECOVERS_WITHIN_S = 5.0
"""Beyond a cooldown: clicks that waited for the disk may have used every IP, and been too late for its answer."""
ANSWERS_WITHIN_S = 15.0
TMPFS_MB = 48
TMPFS_INODES = 1_000
BALLAST_PIECE_BYTES = 64 * 1024


async def writes_refused(stage: Stage) -> str:
    """In one round the disk refuses the 1st write, the 2nd write after that, and so on to WRITES_NTH_MAX."""
    return f"refused the nth write, {await stage.sweep(WRITES_NTH_MAX)}"


async def disk_refuses(stage: Stage) -> str:
    """The disk refuses all writes and reads for a while."""
    flag = stage.scene.directory / "refuse"
    await trio.sleep(stage.rng.uniform(0.2, 0.8))
    flag.touch()
    await trio.sleep(REFUSED_FOR_S)
    shown = (await stage.scene.status())["queues"]["entries_waiting_for_the_disk"]["length"]
    stage.expect(shown > 0, "not counted", "while the disk refuses, `status` shows no waiting entry")
    flag.unlink()
    return f"every write refused for {REFUSED_FOR_S} s; {await _recovered(stage)}"


async def disk_full(stage: Stage) -> str:
    """A real file system is full."""
    ballast = stage.scene.state_dir / "ballast"
    await trio.sleep(stage.rng.uniform(0.2, 0.8))
    await trio.to_thread.run_sync(_fill, ballast)
    await trio.sleep(REFUSED_FOR_S)
    ballast.unlink()
    return f"no byte left for {REFUSED_FOR_S} s; {await _recovered(stage)}"


async def full_at_start(stage: Stage) -> str:
    """The file system has no byte, or in the next round no inode, left when the daemon starts."""
    scene = stage.scene
    ballast, inodes = scene.state_dir / "ballast", stage.turn() % 2 == 1
    await used(stage)
    await stopped(stage)
    ballast.mkdir()
    if inodes:
        await trio.to_thread.run_sync(_take_inodes, ballast)
    else:
        await trio.to_thread.run_sync(_fill, ballast / "bytes")
    began_s = time.monotonic()
    await scene.spawn()
    await until(lambda: _answered_since(stage, began_s), "a click is answered", ANSWERS_WITHIN_S)
    took_s = time.monotonic() - began_s
    stage.measured("answering without disk", took_s)
    scene.up()
    await trio.sleep(REFUSED_FOR_S)
    await trio.to_thread.run_sync(shutil.rmtree, ballast)
    what = "inode" if inodes else "byte"
    return f"no {what} left at the start; the first click answered after {took_s:.2f} s; {await _recovered(stage)}"


def _answered_since(stage: Stage, from_s: float) -> bool:
    return any(visit.sent_s > from_s and visit.answered for visit in stage.scene.visitors.visits[-100:])


def _take_inodes(directory: Path) -> None:
    with contextlib.suppress(OSError):  # no inode left
        for number in itertools.count():
            (directory / str(number)).touch()


async def _recovered(stage: Stage) -> str:
    """Wait until a trace that began after now is completed. Its click may have fallen back: IPs are scarce."""
    now_s, wall_s = time.monotonic(), time.time()

    def completed() -> bool:
        traces = [trace for trace in stage.scene.log("trace") if trace["status"] == "completed"]
        return any(_moment_s(trace["ts"]) - trace["trace_ms"] / 1000 > wall_s for trace in traces)

    await until(completed, "traces are completed again", stage.cooldown_s + RECOVERS_WITHIN_S)
    took_s = time.monotonic() - now_s
    stage.measured("first completed trace after the disk's return", took_s)
    return f"a trace was completed {took_s:.2f} s after its return"


def _moment_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # no space left on device: it is full
        while True:
            file.write(b"\0" * BALLAST_PIECE_BYTES)
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0")


async def counted_and_shown(stage: Stage) -> None:
    """The log says that the disk refused entries; none is lost."""
    scene = stage.scene
    dropped = (await scene.status())["journal"]["dropped"]
    stage.expect(dropped == 0, "dropped", f"{dropped} entries were dropped, although they fit into memory")
    stage.expect(bool(scene.log("journal_refused")), "not logged", "the disk refused and the log does not say so")
    if refused := stage.reported():
        stage.memory["unleasable"] = frozenset(lease for line in refused for lease in line["leases"])


def tmpfs_refused() -> str | None:
    """The reason why no file system can be mounted here, or None."""
    with tempfile.TemporaryDirectory(prefix="tracepool-faults-") as probe:
        try:
            with mounted(Path(probe)):
                return None
        except (OSError, subprocess.CalledProcessError) as e:
            return f"a file system cannot be mounted: {e}"


@contextlib.contextmanager
def mounted(directory: Path) -> Iterator[None]:
    """Mount a small file system at the directory."""
    options = f"size={TMPFS_MB}m,nr_inodes={TMPFS_INODES},mode=0711"
    command = ["mount", "-t", "tmpfs", "-o", options, "tracepool-faults", str(directory)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True, capture_output=True)


IPS, CLICKS_PER_S = 12, 20.0
"""More of both than elsewhere, for the number of writes."""
REFUSED = frozenset({"journal_refused", "journal_unreadable"})
FAULTS = (
    Fault(
        "nth-write-refused",
        "the disk refuses the spool's nth write, for every n",
        writes_refused,
        rounds=1,
        errors=REFUSED,
        ips=IPS,
        clicks_per_s=CLICKS_PER_S,
        faulty=(f"writes={WRITES_NTH_MAX}", REPORT),
        finish=counted_and_shown,
    ),
    Fault(
        "disk-refuses",
        "the disk refuses every write and read for a while",
        disk_refuses,
        rounds=1,
        errors=REFUSED,
        faulty=("held={directory}/refuse", REPORT),
        finish=counted_and_shown,
    ),
    Fault(
        "disk-full",
        "a file system without a byte left under the spool; needs mount",
        disk_full,
        rounds=1,
        errors=REFUSED,
        on_tmpfs=True,
        finish=counted_and_shown,
    ),
    Fault(
        "disk-full-at-start",
        "no byte, or no inode, left under the spool when the daemon starts; needs mount",
        full_at_start,
        rounds=2,
        errors=REFUSED | {"disk_refuses", "control_socket_refused"},
        restarts=True,
        on_tmpfs=True,
        settings={"pool": {"cooldown_s": 8}, "click": {"deadline_s": 1.0}},
    ),
)
