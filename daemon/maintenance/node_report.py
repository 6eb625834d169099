"""This node's figures, which it writes to its row with each renewal, and the figures of all nodes together.

All from memory: while PostgreSQL is away, the own figures are the present ones, and those of other nodes the last that
were read.
"""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

import trio

from daemon import __version__
from daemon.clock import Moment
from daemon.maintenance.provider_figures import provider_figures
from daemon.maintenance.tally import LastMinute, Tally, together
from daemon.nodes.cluster import Cluster, Counted, cluster_of, counted, known
from daemon.nodes.figures import AttemptFigures, CountryFigures, CurveFigures, Hindered, NodeFigures
from daemon.nodes.identity import NodeStatus
from daemon.nodes.peers import Peer, Peers
from daemon.pool.messages import Counts
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.provider_health import ProviderHealth
from daemon.troubles import Troubles

BACKLOG_S = 2.0  # between two counts of the spool's entries
EXTRA_CONNECTIONS = 3  # beside database.connections_max: for renewals, notifications, and a free one for an operator
SENTENCE_MAX = 300
HINDERED_MAX = 5
AGREED = (
    "click.deadline_s",
    "trace.timeout_s",
    "pool.lock_s",
    "pool.cooldown_s",
    "pool.failures_max",
    "retention.hits_days",
    "retention.traces_days",
    "retention.statistics_days",
)
"""Settings that must be the same on all nodes."""

Queues = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Load:
    """What the node does now. `queues`: length and limit by name."""

    clicks_waiting: int = 0
    queued: int = 0
    active_traces: int = 0
    entries_refused: int = 0
    queues: Queues = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class NodeReport:
    """`own_node`: this node as its member knows it; `peers`: the rows of all nodes that were read last.

    `count_backlog` counts the spool's entries that PostgreSQL does not have, in a thread; it raises sqlite3.Error.
    """

    live: LiveSettings
    tally: Tally
    providers: ProviderHealth
    troubles: Troubles
    now: Callable[[], Moment]
    own_node: Callable[[], NodeStatus]
    peers: Callable[[], Peers]
    countries: Callable[[], dict[str, CountryFigures]]
    _: KW_ONLY
    load: Callable[[], Load] = Load
    count_backlog: Callable[[], int] = int
    curves: Callable[[], CurveFigures] = CurveFigures
    attempts: Callable[[], tuple[AttemptFigures, ...]] = tuple
    started_s: float = field(default_factory=trio.current_time)
    _backlog: int = field(default=0, init=False)

    async def run(self) -> None:
        """Keeps the backlog up to date until cancelled."""
        while True:
            await self.backlog()
            await trio.sleep(BACKLOG_S)

    async def backlog(self) -> int | None:
        """Entries to be shipped; None while the disk cannot be read, so that the rest of the status is still shown."""
        try:
            self._backlog = await trio.to_thread.run_sync(self.count_backlog)
        except sqlite3.Error:
            self._backlog = -1
            return None
        return self._backlog

    def figures(self) -> NodeFigures:
        now, load, settings = self.now(), self.load(), self.live.current
        return NodeFigures(
            countries=self.countries(),
            pools_s=trio.current_time() - self.started_s,
            clicks=self.tally.figures(now.tick_s),
            clicks_waiting=load.clicks_waiting,
            queued=load.queued,
            active_traces=load.active_traces,
            uptime_s=int(max(0.0, trio.current_time() - self.started_s)),
            backlog=self._backlog,
            refused=load.entries_refused,
            filling={name: (length, most) for name, (length, most) in load.queues.items() if length * 2 >= most > 0},
            providers=provider_figures(self.providers, now.tick_s),
            hindered=tuple(
                Hindered(held.activity, held.sentence[:SENTENCE_MAX], held.remedy[:SENTENCE_MAX])
                for held in list(self.troubles)[:HINDERED_MAX]
            ),
            settings=agreed_settings(settings),
            connections=settings.database.connections_max + EXTRA_CONNECTIONS,
            curves=self.curves(),
            attempts=self.attempts(),
        )

    def own_peer(self) -> Peer:
        """This node with its present figures."""
        me, peers = self.own_node(), self.peers()
        row = peers.by_id.get(peers.me)
        left_s = float("inf") if me.trusted_for_s is None else me.trusted_for_s
        return Peer(
            node_id=peers.me,
            name=me.name,
            epoch=me.epoch,
            state="active",
            draining=row is not None and row.draining,
            version=__version__,
            trusted_for_s=left_s,
            free_in_s=left_s + (row.quiet_s if row else 1.0),
            figures=self.figures(),
            quiet_s=row.quiet_s if row else 0.0,
            started_s=row.started_s if row else 0.0,
        )

    def nodes(self) -> tuple[Counted, ...]:
        """All nodes, this one first, also those that no longer count."""
        return known(self.peers(), self.own_peer(), self.now().tick_s)

    def cluster(self) -> Cluster:
        return cluster_of(counted(self.peers(), self.own_peer(), self.now().tick_s))

    @property
    def nodes_read_s_ago(self) -> float:
        """How old the knowledge of the other nodes is; infinite before it was read."""
        return max(0.0, self.now().tick_s - self.peers().read_s)

    def queued(self) -> int:
        """Requests of all nodes without an IP."""
        return self.cluster().queued

    def last_minute(self, cluster: Cluster) -> LastMinute:
        """All nodes' clicks. If this node had all of them, the waits are exact."""
        own, clicks = self.tally.last_minute(self.now().tick_s), cluster.clicks
        is_all = (own.clicks, own.background) == (clicks.clicks, clicks.background)
        return own if is_all else together(clicks)


def counts_of(figures: Mapping[str, CountryFigures]) -> dict[str, Counts]:
    return {
        country: Counts(ips.total, ips.available, ips.locked, ips.cooldown, ips.failed, ips.waiting)
        for country, ips in sorted(figures.items())
    }


def agreed_settings(settings: Settings) -> dict[str, float]:
    found = {}
    for key in AGREED:
        section, name = key.split(".")
        found[key] = getattr(getattr(settings, section), name)
    return found
