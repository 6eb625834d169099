"""CPU of the daemon's process for a click along a five-hop chain, plain and https.

Only what the daemon's own process takes is counted, user and system time of all its threads; PostgreSQL, the network
and the load have processes of their own. The https hops go to one host: one tunnel and one handshake for each click.

Another service can be measured in turns with it, through the same proxies at the same rate:

    python -m tests.bench cpu --peer "/path/to/its/venv/bin/python service.py"

Its command gets PEER_DSN (an empty database), PEER_PORT (where on 127.0.0.1 it is to listen), PEER_COOLDOWN_S and, for
https, SSL_CERT_FILE. It creates `ip_rotation_pool` (ip_address, ip_port, country) and `offers` (offer_name, final_url,
target_country) there before it listens, and answers /track-hit?offer=plain&gclid=… as the daemon does. Its processes
count with their children's.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.figures import Figure, shown
from tests.bench.scene import Network, Scene, add_ips, add_offer, loaded, start_load

REQUESTS, DELAY_MS = 5, 200
RATE = 50.0
PROXIES = 200
COOLDOWN_S = 1
WARM_S = 4.0
SETTLE_S = 2.0  # the last rests end, the last rows are shipped
IDLE_S = 10.0
TARGET_MS = 3.0


@dataclass(slots=True)
class _Measured:
    """A service that answers clicks at `url`, and what each turn found."""

    url: str
    cpu_s: Callable[[], float]
    spent_s: list[float] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    clicks: int = 0

    def turn(self, length_s: float) -> None:
        began_s = self.cpu_s()
        found = loaded(start_load("clicks", self.url, str(RATE), str(length_s)))
        time.sleep(SETTLE_S)
        self.spent_s.append(self.cpu_s() - began_s)
        self.resolved.append(found["outcomes"].get("resolved", 0))
        self.clicks += len(found["waits_ms"])

    @property
    def per_click_ms(self) -> float:
        return 1000 * sum(self.spent_s) / max(1, sum(self.resolved))

    def __str__(self) -> str:
        turns_ms = [1000 * spent_s / max(1, count) for spent_s, count in zip(self.spent_s, self.resolved, strict=True)]
        return (
            f"{sum(self.resolved)} resolved of {self.clicks} clicks, {shown(sum(self.spent_s), 's')} of CPU, "
            f"turns from {min(turns_ms):.2f} to {max(turns_ms):.2f} ms"
        )


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    turns, turn_s = (1, 6.0) if quick else (3, 10.0)
    figures = []
    for secure in (False, True):
        with scene.network(PROXIES, secure=secure) as network, ExitStack() as running:
            figures.append(_figure(scene, network, running, turns, turn_s, say))
    return figures


def _figure(
    scene: Scene, network: Network, running: ExitStack, turns: int, turn_s: float, say: Callable[[str], None]
) -> Figure:
    kind = "plain" if network.authority is None else "https"
    url = scene.database()
    add_ips(url, network)
    add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
    sections = {"pool": {"cooldown_s": COOLDOWN_S}}
    daemon = running.enter_context(scene.daemon(url, sections, authority=network.authority))
    ours = _Measured(daemon.click_url("plain"), daemon.cpu_s)
    measured = [ours]
    if scene.peer_command:
        measured.append(_peer(scene, network, running))
    for one in measured:
        loaded(start_load("clicks", one.url, str(RATE), str(WARM_S)))
    time.sleep(SETTLE_S)
    say(f"{kind}: idle")
    idle_s = -daemon.cpu_s()
    time.sleep(IDLE_S)
    idle_s += daemon.cpu_s()
    for turn in range(1, turns + 1):
        say(f"{kind}: turn {turn} of {turns}, {RATE:g} clicks/s for {turn_s:g} s")
        for one in measured:
            one.turn(turn_s)
    idle_share = idle_s / IDLE_S
    reference, beside = idle_share * 1000 / RATE, "of it the daemon's idle CPU"
    note = f"{ours}; idle {100 * idle_share:.2f}% of a core; {os.cpu_count()} cores"
    if scene.peer_command:
        peer = measured[1]
        reference, beside = peer.per_click_ms, f"the peer: {peer}"
        note = f"{ours.per_click_ms / reference:.2f} of the peer's; {note}"
    return Figure(
        f"CPU per click, {REQUESTS} {kind} hops at {RATE:g} clicks/s",
        ours.per_click_ms,
        "ms",
        TARGET_MS if kind == "plain" else None,
        reference=reference,
        beside=beside,
        note=note,
    )


def _peer(scene: Scene, network: Network, running: ExitStack) -> _Measured:
    url = scene.database(migrated=False)
    environment = {"PEER_DSN": url, "PEER_COOLDOWN_S": str(COOLDOWN_S)}
    if network.authority is not None:
        environment["SSL_CERT_FILE"] = str(network.authority)
    peer = running.enter_context(scene.peer(environment))
    add_ips(url, network)
    add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
    return _Measured(peer.click_url("plain"), peer.cpu_s)
