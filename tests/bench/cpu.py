"""CPU time of the daemon's process per click (slope) and without clicks (floor), for five-hop chains, plain and https.

The slope is the difference in CPU time between two rates, divided by the difference in clicks: it leaves out costs that
are per second.

CPU time is user and system time of all threads of the daemon's process; PostgreSQL, the network and the load generator
are other processes. The https hops go to one host, so each click has one tunnel and one handshake.

Another service can be measured alternately with the daemon, through the same proxies at the same rate:

    python -m tests.bench cpu --peer "/path/to/its/venv/bin/python service.py"

The command's environment has PEER_DSN (an empty database), PEER_PORT (the port to listen on at 127.0.0.1),
PEER_COOLDOWN_S and, for https, SSL_CERT_FILE. The service must create `ip_rotation_pool` (ip_address, ip_port, country)
and `offers` (offer_name, final_url, target_country) before it listens, and answer /track-hit?offer=plain&gclid=… as the
daemon does. The CPU time of its child processes is included.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.figures import Figure
from tests.bench.scene import Network, Scene, add_ips, add_offer, loaded, start_load

REQUESTS, DELAY_MS = 5, 200
LOW_RATE, HIGH_RATE = 50.0, 150.0
PROXIES = 500
COOLDOWN_S = 1
WARM_S = 4.0
SETTLE_S = 2.0  # the last cooldowns end, the last rows are shipped
IDLE_S = 10.0
TARGET_MS = 3.0


@dataclass(frozen=True, slots=True)
class _Turn:
    """A measurement of one period of load at one rate."""

    cpu_s: float
    resolved: int
    clicks: int


@dataclass(slots=True)
class Measured:
    """A service that answers clicks at `url`, and its measurements by rate, of which there are two."""

    url: str
    cpu_s: Callable[[], float]
    idle_share: float = 0.0
    turns: dict[float, list[_Turn]] = field(default_factory=lambda: defaultdict(list))

    def rest(self) -> None:
        """Measure the CPU time without clicks, as a share of one core."""
        before_s = self.cpu_s()
        time.sleep(IDLE_S)
        self.idle_share = (self.cpu_s() - before_s) / IDLE_S

    def turn(self, rate: float, length_s: float) -> None:
        before_s = self.cpu_s()
        found = loaded(start_load("clicks", self.url, str(rate), str(length_s)))
        time.sleep(SETTLE_S)
        resolved = found["outcomes"].get("resolved", 0)
        self.turns[rate].append(_Turn(self.cpu_s() - before_s, resolved, len(found["waits_ms"])))

    def per_click_ms(self, rate: float) -> float:
        """CPU time at that rate, divided by the resolved clicks."""
        return 1000 * self._cpu_s(rate) / max(1, self._resolved(rate))

    @property
    def slope_ms(self) -> float:
        """CPU time per additional click. The periods at both rates are equally long."""
        low, high = sorted(self.turns)
        clicks = self._resolved(high) - self._resolved(low)
        return 1000 * (self._cpu_s(high) - self._cpu_s(low)) / max(1, clicks)

    def _cpu_s(self, rate: float) -> float:
        return sum(turn.cpu_s for turn in self.turns[rate])

    def _resolved(self, rate: float) -> int:
        return sum(turn.resolved for turn in self.turns[rate])

    def __str__(self) -> str:
        clicks = sum(turn.clicks for turns in self.turns.values() for turn in turns)
        rates = ", ".join(f"{self.per_click_ms(rate):.2f} ms a click at {rate:g}/s" for rate in self.turns)
        return f"{rates}; {sum(map(self._resolved, self.turns))} of {clicks} clicks resolved"


def run(scene: Scene, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    turns, turn_s = (1, 6.0) if quick else (3, 10.0)
    figures = []
    for secure in (False, True):
        with scene.network(PROXIES, secure=secure) as network, ExitStack() as running:
            figures += _figures(scene, network, running, turns, turn_s, say)
    return figures


def _figures(
    scene: Scene, network: Network, running: ExitStack, turns: int, turn_s: float, say: Callable[[str], None]
) -> list[Figure]:
    kind = "plain" if network.authority is None else "https"
    url = scene.database()
    add_ips(url, network)
    add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
    sections = {"pool": {"cooldown_s": COOLDOWN_S}}
    daemon = running.enter_context(scene.daemon(url, sections, authority=network.authority))
    ours = Measured(daemon.click_url("plain"), daemon.cpu_s)
    measured = [ours]
    if scene.peer_command:
        measured.append(_peer(scene, network, running))
    for one in measured:
        loaded(start_load("clicks", one.url, str(LOW_RATE), str(WARM_S)))
    time.sleep(SETTLE_S)
    say(f"{kind}: idle")
    for one in measured:
        one.rest()
    for turn in range(1, turns + 1):
        for rate in (LOW_RATE, HIGH_RATE):
            say(f"{kind}: turn {turn} of {turns}, {rate:g} clicks/s for {turn_s:g} s")
            for one in measured:
                one.turn(rate, turn_s)
    peer = measured[1] if scene.peer_command else None
    return [
        Figure(
            f"CPU per click, {REQUESTS} {kind} hops: slope between {LOW_RATE:g} and {HIGH_RATE:g} clicks/s",
            ours.slope_ms,
            "ms",
            TARGET_MS if kind == "plain" else None,
            reference=peer.slope_ms if peer else None,
            beside=f"the peer: {peer}" if peer else "",
            note=(f"{ours.slope_ms / peer.slope_ms:.2f} of the peer's; " if peer else "") + str(ours),
        ),
        Figure(
            f"CPU without clicks, after {kind} ones: floor",
            1000 * ours.idle_share,
            "ms/s",
            reference=1000 * peer.idle_share if peer else None,
            beside="the peer" if peer else "",
            note=f"{os.cpu_count()} cores",
        ),
    ]


def _peer(scene: Scene, network: Network, running: ExitStack) -> Measured:
    url = scene.database(migrated=False)
    environment = {"PEER_DSN": url, "PEER_COOLDOWN_S": str(COOLDOWN_S)}
    if network.authority is not None:
        environment["SSL_CERT_FILE"] = str(network.authority)
    peer = running.enter_context(scene.peer(environment))
    add_ips(url, network)
    add_offer(url, "plain", network.chain_url(REQUESTS, DELAY_MS))
    return Measured(peer.click_url("plain"), peer.cpu_s)
