"""Time series of all nodes: this node's own, and those of the others from the figures that each renewal reads. Pure.

A node's figures have its clicks since its start, so that what was added since the last renewal is exact, also after an
outage of PostgreSQL: that part is spread evenly over its time. The percentiles of a minute are those of the last minute
at the last renewal in it; those of all nodes together come from added counts, never from percentiles of nodes.

Memory is bounded: about 0.25 MB for each of NODES_MAX nodes.
"""

import math
from collections.abc import Mapping
from uuid import UUID

from daemon.control.history import (
    COLUMNS,
    DAY_MINUTES,
    MINUTE_S,
    MINUTES,
    PERCENTS,
    History,
    Minutes,
    Percentiles,
    Series,
    Span,
    hour_and_day,
    series_of,
)
from daemon.nodes.cluster import STALE_S
from daemon.nodes.peers import Peer, Peers
from daemon.nodes.waits import Waits, added

NODES_MAX = 64
FORGOTTEN_S = DAY_MINUTES * MINUTE_S
COUNT_MAX = 10**9  # of one renewal


class ClusterHistory:
    """`own`: the series of this node, which its observers record."""

    def __init__(self, own: History) -> None:
        self.own = own
        self._others = _Sampled(own.began_s)  # clicks of the other nodes; times of all nodes
        self._by_id: dict[UUID, _Sampled] = {}

    def sample(self, peers: Peers) -> None:
        """After each renewal."""
        now_s = peers.read_s
        fresh = [peer for peer in peers.leasing() if peer.seen_s_ago <= STALE_S]
        others = [peer for peer in fresh if peer.node_id != peers.me]
        for peer in others:
            node = self._by_id.get(peer.node_id)
            if node is None:
                node = self._by_id[peer.node_id] = _Sampled(now_s, peer.figures.curves.clicks)
            from_s, at_s = node.sampled_s, max(node.sampled_s, now_s - peer.seen_s_ago)
            for column, count in node.taken(peer, at_s).items():
                node.add(from_s, now_s, column, count)
                self._others.add(from_s, now_s, column, count)
            node.put(now_s, [peer])
        if others:
            self._others.put(now_s, fresh)
        self._forget(now_s)

    def began_s(self, node_id: UUID | None) -> float:
        """When recording of a node began; None: of all nodes, with those that this node knew then."""
        node = self._by_id.get(node_id) if node_id else None
        return self.own.began_s if node is None else node.began_s

    def series(self, span: Span, now_s: float, node_id: UUID | None = None) -> Series:
        """Of another node; None: of all nodes together."""
        if node_id is not None:
            return self._by_id.get(node_id, _Sampled(now_s)).series(span, now_s)
        own = self.own.series(span, now_s)
        if not self._by_id:
            return own
        others = self._others.series(span, now_s)
        return Series(
            own.step_s,
            own.from_s,
            {name: [a + b for a, b in zip(own.counts[name], others.counts[name], strict=True)] for name in COLUMNS},
            own.minutes_from_s,
            _either(others.wait_ms, own.wait_ms),
            _either(others.trace_ms, own.trace_ms),
        )

    def _forget(self, now_s: float) -> None:
        for node_id in [key for key, node in self._by_id.items() if node.sampled_s < now_s - FORGOTTEN_S]:
            del self._by_id[node_id]
        while len(self._by_id) > NODES_MAX:
            del self._by_id[min(self._by_id, key=lambda key: self._by_id[key].sampled_s)]


class _Sampled:
    """`sampled_s`: when the node had the figures that were read last."""

    def __init__(self, began_s: float, totals: Mapping[str, int] | None = None) -> None:
        self.began_s = self.sampled_s = began_s
        self._totals = totals or {}
        self._hour, self._day = hour_and_day()
        self._waits, self._traces = Minutes(), Minutes()

    def taken(self, peer: Peer, at_s: float) -> dict[str, int]:
        """The node's clicks since the last sample, by column; all of them if the node has started again since."""
        totals = peer.figures.curves.clicks
        before = self._totals if sum(totals.values()) >= sum(self._totals.values()) else {}
        self._totals, self.sampled_s = totals, at_s
        counts = {column: min(COUNT_MAX, totals.get(column, 0) - before.get(column, 0)) for column in COLUMNS}
        return {column: count for column, count in counts.items() if count > 0}

    def add(self, from_s: float, now_s: float, column: str, count: int) -> None:
        self._hour.spread(from_s, now_s, column, count)
        self._day.spread(from_s, now_s, column, count)

    def put(self, now_s: float, nodes: list[Peer]) -> None:
        _put(self._waits, now_s, [peer.figures.clicks.waits for peer in nodes])
        _put(self._traces, now_s, [peer.figures.curves.traces for peer in nodes])

    def series(self, span: Span, now_s: float) -> Series:
        counts, minutes = (self._hour if span == "hour" else self._day), MINUTES[span]
        return series_of(counts, self._waits.read(now_s, minutes), self._traces.read(now_s, minutes), span, now_s)


def _put(minutes: Minutes, now_s: float, several: list[Waits]) -> None:
    minutes.advance(now_s)
    together = added(several)
    found = [together.percentile(percent) for percent in PERCENTS]
    minutes.put([math.nan if ms is None else ms for ms in found])


def _either(first: Percentiles, second: Percentiles) -> Percentiles:
    """`second` in minutes without values in `first`: without renewals, only this node's times are known."""
    return {
        name: [b if a is None else a for a, b in zip(values, second[name], strict=True)]
        for name, values in first.items()
    }
