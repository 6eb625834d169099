"""Two daemons on one database: each leases its own IPs, and those of the other only when it cannot use them any more.

There are few IPs, so that each daemon uses every IP that it may: the network's log would show one used by both.
"""

import shutil
import signal
import time
from dataclasses import replace

import trio

from daemon.offers.cache_file import NAME as REMEMBERED_OFFERS
from tests.fakes.pooler import PACKAGE, Mode
from tests.faults.evidence import rows_came
from tests.faults.outages import claim_held
from tests.faults.pairs import FIRST, beside_a_second
from tests.faults.records import Down, cid_of
from tests.faults.scene import SERVING_WAIT_S, Scene, until
from tests.faults.stage import Fault, Stage
from tests.faults.visible import comes, status_of
from tests.support.processes import run_command

MODES: tuple[Mode, ...] = ("transaction", "session")
TRUST_S, LOCK_S, COOLDOWN_S = 3.0, 2.0, 3.0
QUIET_BEYOND_COOLDOWN_S = LOCK_S + 10
RENEWED_EVERY_S = 1.0
CLOCKS_APART_S = 0.5
SETTINGS = {
    "node": {"trust_s": TRUST_S},
    "pool": {"lock_s": LOCK_S, "cooldown_s": COOLDOWN_S},
    "trace": {"timeout_s": 1.5, "hop_timeout_s": 1.5},
}
IPS = 8
BESIDE_S = 3.0
"""Both daemons run for this time in a step."""
SAID_WITHIN_S = 10.0
TAKES_OVER_WITHIN_S = 10.0
STOPPED_WITHIN_S = 20.0
ADOPTED_WITHIN_S = 5.0


async def stopped(stage: Stage) -> str:
    """One daemon stops, and the other has its IPs once they have rested; and the other way round."""
    second = await _beside(stage)
    await trio.sleep(BESIDE_S)
    taken_s = await _handed_over(stage, stage.scene, second)
    await _starts(stage, stage.scene)
    back_s = await _handed_over(stage, second, stage.scene)
    return (
        f"the second had all IPs {taken_s:.1f} s after the first's SIGTERM, the first {back_s:.1f} s after the other's"
    )


async def paused(stage: Stage) -> str:
    """The first daemon is paused beyond trust and quiet, with clicks in flight, until the second owns its IPs."""
    scene, second = stage.scene, await _beside(stage)
    assert scene.process is not None
    began_s = time.monotonic()
    scene.process.send_signal(signal.SIGSTOP)
    scene.downs.append(Down(began_s, began_s, float("inf"), time.time(), False, scene.visitors.port, paused=True))
    taken_s = await _takes_over(stage, second, began_s)
    lost = len(scene.log("node_claim_lost"))
    scene.process.send_signal(signal.SIGCONT)
    scene.downs[-1] = replace(scene.downs[-1], ended_s=time.monotonic())
    await _lost_its_claim(stage, scene, lost)
    await _handed_over(stage, second, scene)
    return f"the second had all IPs {taken_s:.1f} s after the first's SIGSTOP; the first came back without IPs"


async def cut_off(stage: Stage) -> str:
    """The first daemon loses PostgreSQL, and leases its IPs until its trust ends."""
    scene, second = stage.scene, await _beside(stage)
    assert scene.relay is not None
    ended, lost = len(scene.log("node_trust_ended")), len(scene.log("node_claim_lost"))
    began_s = time.monotonic()
    scene.relay.silence()
    said = await comes(scene, lambda: len(scene.log("node_trust_ended")) > ended, TRUST_S + SAID_WITHIN_S)
    stage.expect(said, "not said", "cut off beyond its trust, and no `node_trust_ended`")
    leasing = (await trio.to_thread.run_sync(status_of, scene)).get("node", {}).get("leasing")
    stage.expect(leasing is False, "not said", f"cut off beyond its trust, and `status` says leasing: {leasing}")
    taken_s = await _takes_over(stage, second, began_s)
    await scene.relay.open()
    await _lost_its_claim(stage, scene, lost)
    rows_s, breaches = await rows_came(scene)
    stage.measured("rows there", rows_s)
    stage.breaches += breaches
    await _handed_over(stage, second, scene)
    return f"the second had all IPs {taken_s:.1f} s after the cut; the first's rows came {rows_s:.1f} s late"


async def removed(stage: Stage) -> str:
    """The first daemon is killed, and `nodes remove` skips its long trust, but not its quiet."""
    scene, second = stage.scene, await _beside(stage)
    await scene.end(signal.SIGKILL, STOPPED_WITHIN_S)
    began_s = time.monotonic()
    done = await run_command("nodes", "remove", FIRST, "--yes", "--config", str(second.config))
    stage.expect(done.returncode == 0, "refused", f"`nodes remove` ended with {done.returncode}: {done.stderr}")
    taken_s = await _takes_over(stage, second, began_s, trust_s=0.0)
    await _starts(stage, scene)
    await _handed_over(stage, second, scene)
    return f"the second had all IPs {taken_s:.1f} s after the first was removed"


async def pooled(stage: Stage) -> str:
    """Both daemons use PgBouncer: an SQL edit is adopted, a kill and a restart keep the IPs, a stop gives them up."""
    scene, second = stage.scene, await _beside(stage)
    adopted, began_s = len(scene.log("offers_adopted")), time.monotonic()
    await scene.run_sql(
        f"insert into offers (offer_name, final_url) values ('new-{stage.turn()}', 'http://new.example/')"
    )
    heard = await comes(scene, lambda: len(scene.log("offers_adopted")) > adopted, ADOPTED_WITHIN_S)
    stage.expect(heard, "not adopted", f"an edit was not adopted within {ADOPTED_WITHIN_S:g} s")
    stage.measured("edit adopted", time.monotonic() - began_s)
    had = await _owned(scene)
    await scene.end(signal.SIGKILL, STOPPED_WITHIN_S)
    again_s = await scene.restart()
    stage.measured("serving again after SIGKILL", again_s, stage.knobs.serving_within_s)
    has = await _owned(scene)
    stage.expect(bool(had) == bool(has), "lost IPs", f"a restart in place had {had} IPs before, and {has} after")
    taken_s = await _handed_over(stage, scene, second)
    await _starts(stage, scene)
    await _handed_over(stage, second, scene)
    return (
        f"served again {again_s:.1f} s after SIGKILL; the second had all IPs {taken_s:.1f} s after the first's SIGTERM"
    )


async def _beside(stage: Stage) -> Scene:
    """Start the second daemon, with the first daemon's cache of the offers, and return it once it has joined."""
    (second,) = stage.scene.beside
    shutil.copy(stage.scene.state_dir / REMEMBERED_OFFERS, second.state_dir)
    await trio.sleep(stage.rng.uniform(0.3, 1.0))
    await _starts(stage, second)
    return second


async def _starts(stage: Stage, daemon: Scene) -> None:
    """Start a daemon beside the other one; it joins without a wait."""
    joined, waited = len(daemon.log("node_joined")), len(daemon.log("node_waits"))
    await daemon.spawn()
    said = await comes(daemon, lambda: len(daemon.log("node_joined")) > joined, SERVING_WAIT_S)
    stage.expect(said, "waits", "a node that starts beside another one has not joined")
    stage.expect(len(daemon.log("node_waits")) == waited, "waits", "a node waits for another one that knows owners")
    daemon.up()


async def _owned(daemon: Scene) -> int:
    """How many IPs the daemon owns."""
    name = daemon.settings["node"]["name"]
    query = f"select count(*) as ips from ip_rotation_pool join nodes using (node_id) where name = '{name}'"
    return int((await daemon.sql(query))[0]["ips"])


async def _owns_all(daemon: Scene, within_s: float) -> None:
    async def owns_all() -> bool:
        return await _owned(daemon) == IPS

    await until(owns_all, f"{daemon.directory.name} owns all IPs", within_s)


async def _serves(daemon: Scene, within_s: float) -> None:
    """Wait until a click sent from now on is resolved."""
    from_s = time.monotonic()

    def resolved() -> bool:
        late = (visit for visit in daemon.visitors.visits[-100:] if visit.sent_s >= from_s)
        return any(visit.answered and cid_of(visit.location) for visit in late)

    await until(resolved, f"clicks at {daemon.directory.name} are resolved", within_s)


async def _handed_over(stage: Stage, leaving: Scene, staying: Scene) -> float:
    """Stop one daemon. Returns the seconds until the other owns all IPs; it then resolves a click."""
    began_s = time.monotonic()
    status, _ = await leaving.end(signal.SIGTERM, STOPPED_WITHIN_S)
    stage.expect(status == 0, "status", f"it ended with {status} after SIGTERM")
    await _owns_all(staying, LOCK_S + stage.cooldown_s + TAKES_OVER_WITHIN_S)
    took_s = time.monotonic() - began_s
    await _serves(staying, TAKES_OVER_WITHIN_S)
    stage.measured("handed over", took_s)
    return took_s


async def _takes_over(stage: Stage, staying: Scene, began_s: float, trust_s: float = TRUST_S) -> float:
    """Expect that the other node is lost after trust and quiet, not before. Returns the seconds until all IPs moved."""
    quiet_s = QUIET_BEYOND_COOLDOWN_S + stage.cooldown_s
    latest_s = trust_s + quiet_s + TAKES_OVER_WITHIN_S
    lost = len(staying.log("node_lost"))
    await until(lambda: len(staying.log("node_lost")) > lost, "the other node is lost", latest_s)
    lost_s = time.monotonic() - began_s
    earliest_s = max(0.0, trust_s - RENEWED_EVERY_S) + quiet_s - CLOCKS_APART_S
    stage.expect(lost_s >= earliest_s, "too early", f"it was lost after {lost_s:.1f} s; {earliest_s:g} s at least")
    await _owns_all(staying, TAKES_OVER_WITHIN_S)
    took_s = time.monotonic() - began_s
    await _serves(staying, TAKES_OVER_WITHIN_S)
    stage.measured("taken over", took_s)
    return took_s


async def _lost_its_claim(stage: Stage, daemon: Scene, lost: int) -> None:
    """Expect that a daemon reports the loss of its claim and joins again."""
    said = await comes(daemon, lambda: len(daemon.log("node_claim_lost")) > lost, SAID_WITHIN_S)
    stage.expect(said, "not said", "its IPs were freed, and the log has no `node_claim_lost`")
    await trio.sleep(BESIDE_S)
    leasing = (await trio.to_thread.run_sync(status_of, daemon)).get("node", {}).get("leasing")
    stage.expect(
        leasing is True, "not back", f"it has lost its claim and joined again; `status` says leasing: {leasing}"
    )


CLAIM = frozenset({"node_claim_lost", "node_trust_ended", "database_unavailable", "loop_exception"})
FAULTS = (
    Fault(
        "second-daemon",
        "two daemons share a database, and each has all IPs once the other has stopped",
        stopped,
        rounds=1,
        ips=IPS,
        restarts=True,
        settings=SETTINGS,
        equip=beside_a_second(),
        finish=claim_held,
    ),
    Fault(
        "second-daemon-after-a-pause",
        "the first of two daemons is stopped by SIGSTOP beyond its trust and quiet, and goes on then",
        paused,
        rounds=1,
        errors=CLAIM,
        ips=IPS,
        restarts=True,
        settings=SETTINGS,
        equip=beside_a_second(),
        finish=claim_held,
    ),
    Fault(
        "second-daemon-cut-off",
        "the first of two daemons does not reach PostgreSQL any more",
        cut_off,
        rounds=1,
        errors=CLAIM,
        ips=IPS,
        restarts=True,
        settings=SETTINGS,
        equip=beside_a_second(relayed=True),
        finish=claim_held,
    ),
    Fault(
        "second-daemon-removes-the-first",
        "the first of two daemons is killed, and an operator removes it, whose trust would last for long",
        removed,
        rounds=1,
        ips=IPS,
        restarts=True,
        settings=SETTINGS | {"node": {"trust_s": 600}},
        equip=beside_a_second(),
        finish=claim_held,
    ),
    *(
        Fault(
            f"second-daemon-pooled-by-{mode}",
            f"two daemons behind PgBouncer in {mode} mode; needs pgbouncer",
            pooled,
            rounds=1,
            ips=IPS,
            restarts=True,
            settings=SETTINGS,
            equip=beside_a_second(mode=mode),
            finish=claim_held,
            needs=(PACKAGE,),
        )
        for mode in MODES
    ),
)
