"""Metrics of all nodes together. Each node exports the same values, so they are not added up over nodes: use max."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from daemon.maintenance.node_report import NodeReport, counts_of
from daemon.nodes.cluster import STALE_S
from daemon.nodes.listing import entries_of
from daemon.pool.messages import NO_COUNTS

STATES = ("active", "draining", "not seen", "left", "removed")
IP_STATES = ("available", "locked", "cooldown", "failed")
EACH = "of all nodes together, the same on each node: use max, not sum"


def cluster_metrics(report: NodeReport, offers: Mapping[str, Sequence[str]]) -> Iterator[Metric]:
    """`offers`: the active ones by country. A country of an offer has its series without IPs too."""
    cluster = report.cluster()
    # A node that cannot reach PostgreSQL does not know whether the others renew.
    knows = report.nodes_read_s_ago <= STALE_S
    states = Counter(entry.shown_state for entry in entries_of(cluster.nodes) if knows or not entry.stale)
    nodes = GaugeMetricFamily("tracepool_cluster_nodes", f"Nodes by state, {EACH}", labels=("state",))
    for state in STATES:
        nodes.add_metric((state,), states[state])
    ips = GaugeMetricFamily(
        "tracepool_cluster_pool_ips", f"IPs by country and state, {EACH}", labels=("country", "state")
    )
    used = GaugeMetricFamily(
        "tracepool_cluster_pool_utilisation_ratio", f"(locked + cooldown) / healthy IPs, {EACH}", labels=("country",)
    )
    waiting = GaugeMetricFamily(
        "tracepool_cluster_pool_waiting", f"Traces that wait for an IP, {EACH}", labels=("country",)
    )
    active = GaugeMetricFamily(
        "tracepool_cluster_active_offers", f"Active offers by country, {EACH}", labels=("country",)
    )
    for country, names in offers.items():
        active.add_metric((country,), len(names))
    all_counts = dict.fromkeys(offers, NO_COUNTS) | counts_of(cluster.countries)
    for country, counts in all_counts.items():
        for state in IP_STATES:
            ips.add_metric((country, state), getattr(counts, state))
        used.add_metric((country,), counts.utilisation_percent / 100)
        waiting.add_metric((country,), counts.waiting)
    yield from (nodes, ips, used, waiting, active)
    yield GaugeMetricFamily("tracepool_cluster_active_traces", f"Traces that have an IP, {EACH}", cluster.active_traces)
