"""An asynchronous failover: PostgreSQL comes back as it was some seconds before, while the daemon runs.

The rows of those seconds were committed once and are lost. The daemon applies their entries again, exactly once.
"""

import shutil
import subprocess
from pathlib import Path

import trio

from tests.faults.outages import claim_held
from tests.faults.stage import Fault, Stage
from tests.faults.visible import comes, well_again

AWAY_S = 0.5
LOST_S = 4.0
"""The rows of this time are lost; it is longer than the shipper's pause between batches."""
SAID_WITHIN_S = 10.0


async def failed_over(stage: Stage) -> str:
    """The server is killed and copied; some seconds later it is killed again and replaced by the copy."""
    scene, rng = stage.scene, stage.rng
    data = Path(scene.postgres.server.data_dir)
    copy = data.with_name("copy")
    await trio.sleep(rng.uniform(0.2, 1.0))
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.to_thread.run_sync(copied, data, copy)
    await trio.to_thread.run_sync(scene.postgres.start)
    await well_again(stage)
    await trio.sleep(LOST_S + rng.uniform(0.0, 1.0))
    said = len(scene.log("database_is_older"))
    had = (await scene.sql("select count(*) as hits from hits"))[0]["hits"]
    await trio.to_thread.run_sync(lambda: scene.postgres.kill(whole=True))
    await trio.to_thread.run_sync(replaced, data, copy)
    await trio.sleep(rng.uniform(0.0, AWAY_S))
    await trio.to_thread.run_sync(scene.postgres.start)
    lost = had - (await scene.sql("select count(*) as hits from hits"))[0]["hits"]
    heard = await comes(scene, lambda: len(scene.log("database_is_older")) > said, SAID_WITHIN_S)
    stage.expect(heard, "not said", f"{lost} hits were lost, and the log has no `database_is_older`")
    entries = sum(int(line["entries"]) for line in scene.log("database_is_older")[said:])
    stage.expect(entries > 0, "not said", f"{lost} hits were lost; `database_is_older` counts {entries} entries")
    rows_s = await well_again(stage)
    return f"about {lost} hits were lost, {entries} entries applied again; rows there {rows_s:.2f} s later"


def copied(data: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", str(data), str(copy)], check=True)  # it keeps the owner


def replaced(data: Path, copy: Path) -> None:
    shutil.rmtree(data)
    copy.rename(data)


FAULTS = (
    Fault(
        "failover",
        "PostgreSQL replaced by its state of some seconds before while the daemon runs; each row is there once",
        failed_over,
        rounds=1,
        errors=frozenset({"database_unavailable", "database_is_older", "node_claim_lost"}),
        all_resolved=True,
        finish=claim_held,
    ),
)
