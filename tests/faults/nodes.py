"""Two daemons on one database: the second daemon leases no IP until no trace of the first can still run.

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
from tests.support.exchange import page
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
"""Both daemons run for this time in each step; it is longer than the trust without a renewal."""
SAID_WITHIN_S = 10.0
TAKES_OVER_WITHIN_S = 10.0
STOPPED_WITHIN_S = 20.0
ADOPTED_WITHIN_S = 5.0


async def stopped(stage: Stage) -> str:
    """The second daemon waits while the first runs; when the first stops, the second owns the IPs at once."""
    second = await _waits(stage)
    await trio.sleep(BESIDE_S)
    _nothing_resolved(stage, second)
    taken_s = await _handed_over(stage, stage.scene, second)
    await _waits_again(stage, stage.scene)
    back_s = await _handed_over(stage, second, stage.scene)
    return f"the second served {taken_s:.1f} s after the first's SIGTERM, the first {back_s:.1f} s after the second's"


async def paused(stage: Stage) -> str:
    """The first daemon is paused beyond trust and quiet, with clicks in flight, until the second owns its IPs."""
    scene, second = stage.scene, await _waits(stage)
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
    return f"the second served {taken_s:.1f} s after the first's SIGSTOP; the first went on without IPs"


async def cut_off(stage: Stage) -> str:
    """The first daemon loses PostgreSQL, and leases IPs until its trust ends."""
    scene, second = stage.scene, await _waits(stage)
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
    return f"the second served {taken_s:.1f} s after the first was cut off; the first's rows came {rows_s:.1f} s late"


async def removed(stage: Stage) -> str:
    """The first daemon is killed, and `nodes remove` skips its long trust, but not its quiet."""
    scene, second = stage.scene, await _waits(stage)
    await scene.end(signal.SIGKILL, STOPPED_WITHIN_S)
    began_s = time.monotonic()
    done = await run_command("nodes", "remove", FIRST, "--yes", "--config", str(second.config))
    stage.expect(done.returncode == 0, "refused", f"`nodes remove` ended with {done.returncode}: {done.stderr}")
    taken_s = await _takes_over(stage, second, began_s, trust_s=0.0)
    await _waits_again(stage, scene)
    await _handed_over(stage, second, scene)
    return f"the second served {taken_s:.1f} s after the first was removed"


async def pooled(stage: Stage) -> str:
    """Both daemons use PgBouncer: an SQL edit is adopted, a kill and a restart keep the IPs, a stop gives them up."""
    scene, second = stage.scene, await _waits(stage)
    adopted, began_s = len(scene.log("offers_adopted")), time.monotonic()
    await scene.run_sql(
        f"insert into offers (offer_name, final_url) values ('new-{stage.turn()}', 'http://new.example/')"
    )
    heard = await comes(scene, lambda: len(scene.log("offers_adopted")) > adopted, ADOPTED_WITHIN_S)
    stage.expect(heard, "not adopted", f"an edit was not adopted within {ADOPTED_WITHIN_S:g} s")
    stage.measured("edit adopted", time.monotonic() - began_s)
    await scene.end(signal.SIGKILL, STOPPED_WITHIN_S)
    again_s = await scene.restart()
    stage.measured("serving again after SIGKILL", again_s, stage.knobs.serving_within_s)
    _nothing_resolved(stage, second)
    taken_s = await _handed_over(stage, scene, second)
    await _waits_again(stage, scene)
    await _handed_over(stage, second, scene)
    return f"served again {again_s:.1f} s after SIGKILL; the second served {taken_s:.1f} s after the first's SIGTERM"


async def _waits(stage: Stage) -> Scene:
    """Start the second daemon, with the first daemon's cache of the offers, and return it once it waits."""
    (second,) = stage.scene.beside
    shutil.copy(stage.scene.state_dir / REMEMBERED_OFFERS, second.state_dir)
    await trio.sleep(stage.rng.uniform(0.3, 1.0))
    await _waits_again(stage, second)
    return second


async def _waits_again(stage: Stage, daemon: Scene) -> None:
    """Start a daemon that must wait; expect that its log and /readyz name the other node."""
    (other,) = (node for node in stage.scene.daemons if node is not daemon)
    name = other.settings["node"]["name"]
    told = len(daemon.log("node_waits"))
    await daemon.spawn()
    said = await comes(daemon, lambda: len(daemon.log("node_waits")) > told, SERVING_WAIT_S)
    lines = daemon.log("node_waits")[told:]
    stage.expect(said, "not said", "another node has the database, and the log has no `node_waits`")
    for line in lines:
        good = str(name) in str(line) and bool(line.get("remedy"))
        stage.expect(good, "not said", f"`node_waits` lacks the node's name, {name}, or a remedy: {line}")
    status, body = await page(daemon.visitors.port, "/readyz") or (0, "")
    stage.expect(status == 503 and str(name) in body, "not said", f"/readyz of a node that waits says {status}: {body}")
    daemon.up()


def _nothing_resolved(stage: Stage, waiting: Scene) -> None:
    """Expect that the waiting daemon has leased nothing."""
    resolved = [visit.number for visit in waiting.visitors.visits if visit.answered and cid_of(visit.location)]
    stage.expect(not resolved, "leased", f"the node that waits has resolved clicks: {resolved}")
    stage.expect(not waiting.log("node_joined"), "leased", "the node that should wait has joined")


async def _serves(daemon: Scene, within_s: float) -> None:
    """Wait until a click sent from now on is resolved."""
    from_s = time.monotonic()

    def resolved() -> bool:
        late = (visit for visit in daemon.visitors.visits[-100:] if visit.sent_s >= from_s)
        return any(visit.answered and cid_of(visit.location) for visit in late)

    await until(resolved, f"clicks at {daemon.directory.name} are resolved", within_s)


async def _handed_over(stage: Stage, leaving: Scene, waiting: Scene) -> float:
    """Stop one daemon. Returns the seconds until the other resolves a click."""
    began_s = time.monotonic()
    status, _ = await leaving.end(signal.SIGTERM, STOPPED_WITHIN_S)
    stage.expect(status == 0, "status", f"it ended with {status} after SIGTERM")
    await _serves(waiting, TAKES_OVER_WITHIN_S)
    took_s = time.monotonic() - began_s
    stage.measured("handed over", took_s)
    return took_s


async def _takes_over(stage: Stage, waiting: Scene, began_s: float, trust_s: float = TRUST_S) -> float:
    """Expect that the waiting daemon joins after trust and quiet, not before. Returns the seconds until it resolves."""
    quiet_s = QUIET_BEYOND_COOLDOWN_S + stage.cooldown_s
    latest_s = trust_s + quiet_s + TAKES_OVER_WITHIN_S
    await until(lambda: bool(waiting.log("node_joined")), "the node that waited has joined", latest_s)
    joined_s = time.monotonic() - began_s
    earliest_s = max(0.0, trust_s - RENEWED_EVERY_S) + quiet_s - CLOCKS_APART_S
    stage.expect(joined_s >= earliest_s, "too early", f"it joined after {joined_s:.1f} s; {earliest_s:g} s at least")
    await _serves(waiting, TAKES_OVER_WITHIN_S)
    took_s = time.monotonic() - began_s
    stage.measured("taken over", took_s)
    return took_s


async def _lost_its_claim(stage: Stage, daemon: Scene, lost: int) -> None:
    """Expect that a daemon reports the loss of its claim and does not lease beside the other daemon."""
    said = await comes(daemon, lambda: len(daemon.log("node_claim_lost")) > lost, SAID_WITHIN_S)
    stage.expect(said, "not said", "its IPs are another node's, and the log has no `node_claim_lost`")
    await trio.sleep(BESIDE_S)
    leasing = (await trio.to_thread.run_sync(status_of, daemon)).get("node", {}).get("leasing")
    stage.expect(leasing is False, "not said", f"its IPs are another node's, and `status` says leasing: {leasing}")


CLAIM = frozenset({"node_claim_lost", "node_trust_ended", "database_unavailable", "loop_exception"})
FAULTS = (
    Fault(
        "second-daemon",
        "a second daemon on the same database waits for the first, and has its IPs once the first stops",
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
