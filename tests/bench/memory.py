"""Memory and start time of a daemon with 100,000 IPs, beyond those of a daemon without IPs."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.figures import Figure, quantile, shown
from tests.bench.scene import Scene, add_idle_ips

IPS = 100_000
SETTLE_S = 2.0
STARTS = 3
TARGET_MB, TARGET_S = 120.0, 4.0


@dataclass(frozen=True, slots=True)
class _Start:
    ready_s: float
    resident_mb: float


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    starts = 1 if quick else STARTS
    say(f"{starts} starts without IPs")
    empty = _starts(scene, scene.database(), starts)
    say(f"{starts} starts with {IPS:,} IPs")
    url = scene.database()
    add_idle_ips(url, IPS)
    full = _starts(scene, url, starts)
    empty_mb, full_mb = (quantile([s.resident_mb for s in found], 0.5) for found in (empty, full))
    empty_s, full_s = (quantile([s.ready_s for s in found], 0.5) for found in (empty, full))
    return [
        Figure(
            f"memory of {IPS:,} IPs",
            full_mb - empty_mb,
            "MB",
            TARGET_MB,
            reference=empty_mb,
            beside="resident, no IPs",
            note=f"{shown(full_mb, 'MB')} with them",
        ),
        Figure(
            f"loading {IPS:,} IPs",
            full_s - empty_s,
            "s",
            TARGET_S,
            reference=empty_s,
            beside="process start to ready, no IPs",
            note=f"{shown(full_s, 's')} with them; the database runs already",
        ),
    ]


def _starts(scene: Scene, url: str, starts: int) -> list[_Start]:
    found = []
    for _ in range(starts):
        with scene.daemon(url) as daemon:
            time.sleep(SETTLE_S)
            found.append(_Start(daemon.ready_s, daemon.resident_mb()))
    return found
